#include "common/config.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "version.h"

enum {
    NAME_SIZE = 64,
    SECRET_MAX = 500,
    KEY_FIRST = 0x1000, /* argp's key of the first option; of the first file option: */
    KEY_FIRST_FILE = 0x2000
};

/* Where each option's text came from, before it is understood. */
struct reading {
    const struct config *config;
    const char **texts; /* by option */
    const char **files; /* by option; of secrets */
    struct bw_error *error;
    enum bw_code code;
};

/* --poll-wait as BROADWAY_POLL_WAIT, with an ending. */
static const char *environment_name(const struct config_option *option, const char *ending, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "BROADWAY_%s%s", option->name, ending);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    return name;
}

static enum bw_code refuse_value(const struct config_option *option, const char *text, const char *wanted,
                                 struct bw_error *error)
{
    char shown[80];
    bool is_secret = option->kind == CONFIG_SECRET;
    return bw_fail(error, BW_BAD_REQUEST, "--%s %s: %s", option->name,
                   is_secret ? "(not shown)" : text_show(text, shown, sizeof shown), wanted);
}

static void *member(void *values, const struct config_option *option)
{
    return (char *)values + option->offset;
}

static enum bw_code take_text(const struct config_option *option, const char *text, void *values, struct bw_error *error)
{
    if (text[0] == '\0')
        return refuse_value(option, text, "must not be empty", error);
    if (option->kind == CONFIG_SECRET && (strlen(text) > SECRET_MAX || strpbrk(text, " \t\r\n") != NULL))
        return refuse_value(option, text, "must be at most 500 characters without white space", error);
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    *(const char **)member(values, option) = copy;
    return BW_OK;
}

static enum bw_code take_number(const struct config_option *option, const char *text, void *values, struct bw_error *error)
{
    char *end, wanted[160];
    errno = 0;
    double number = strtod(text, &end);
    bool is_number = end != text && *end == '\0' && errno == 0 && isfinite(number) && strpbrk(text, "xXpP") == NULL;
    bool is_whole = option->kind == CONFIG_MILLISECONDS || (is_number && floor(number) == number);
    if (!is_number || !is_whole || number < option->minimum || number > option->maximum) {
        snprintf(wanted, sizeof wanted, "must be %s from %.15g to %.15g",
                 option->kind == CONFIG_INTEGER ? "a whole number" : "a number of seconds", option->minimum, option->maximum);
        return refuse_value(option, text, wanted, error);
    }
    *(int64_t *)member(values, option) =
        option->kind == CONFIG_MILLISECONDS ? (int64_t)llround(number * 1000) : (int64_t)number;
    return BW_OK;
}

static enum bw_code take_switch(const struct config_option *option, const char *text, void *values, struct bw_error *error)
{
    bool is_on = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!is_on && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return refuse_value(option, text, "must be true or false", error);
    *(bool *)member(values, option) = is_on;
    return BW_OK;
}

static enum bw_code take_choice(const struct config_option *option, const char *text, void *values, struct bw_error *error)
{
    char wanted[200] = "must be one of";
    for (int i = 0; option->choices[i] != NULL; i++) {
        if (strcmp(option->choices[i], text) == 0) {
            *(int *)member(values, option) = i;
            return BW_OK;
        }
        size_t length = strlen(wanted);
        snprintf(wanted + length, sizeof wanted - length, "%s %s", i > 0 ? "," : "", option->choices[i]);
    }
    return refuse_value(option, text, wanted, error);
}

static enum bw_code take_value(const struct config_option *option, const char *text, void *values, struct bw_error *error)
{
    typedef enum bw_code taker(const struct config_option *, const char *, void *, struct bw_error *);
    static taker *const takers[] = {
        [CONFIG_TEXT] = take_text,           [CONFIG_SECRET] = take_text,   [CONFIG_INTEGER] = take_number,
        [CONFIG_MILLISECONDS] = take_number, [CONFIG_SWITCH] = take_switch, [CONFIG_CHOICE] = take_choice,
    };
    return takers[option->kind](option, text, values, error);
}

/* Reads a secret's file; the line's end goes. */
static enum bw_code take_file(const struct config_option *option, const char *path, void *values, struct bw_error *error)
{
    char text[SECRET_MAX + 16], shown[120];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "--%s-file %s: %s", option->name, text_show(path, shown, sizeof shown),
                       strerror(errno));
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    text[length] = '\0';
    return take_text(option, text, values, error);
}

static error_t take_argument(int key, char *text, struct argp_state *state)
{
    struct reading *reading = state->input;
    if (key >= KEY_FIRST_FILE && key < KEY_FIRST_FILE + (int)reading->config->count) {
        reading->files[key - KEY_FIRST_FILE] = text;
        return 0;
    }
    if (key >= KEY_FIRST && key < KEY_FIRST + (int)reading->config->count) {
        reading->texts[key - KEY_FIRST] = text != NULL ? text : "true";
        return 0;
    }
    if (key == ARGP_KEY_ARG) {
        char shown[80];
        reading->code = bw_fail(reading->error, BW_BAD_REQUEST, "'%s' is not a flag", text_show(text, shown, sizeof shown));
        return EINVAL;
    }
    return ARGP_ERR_UNKNOWN;
}

/* The environment speaks where the command line did not. */
static void take_environment(struct reading *reading)
{
    for (size_t i = 0; i < reading->config->count; i++) {
        const struct config_option *option = &reading->config->options[i];
        char name[NAME_SIZE];
        if (reading->texts[i] != NULL || reading->files[i] != NULL)
            continue;
        reading->texts[i] = getenv(environment_name(option, "", name));
        if (option->kind == CONFIG_SECRET)
            reading->files[i] = getenv(environment_name(option, "_FILE", name));
    }
}

static enum bw_code take_all(struct reading *reading, void *values)
{
    enum bw_code code = BW_OK;
    for (size_t i = 0; code == BW_OK && i < reading->config->count; i++) {
        const struct config_option *option = &reading->config->options[i];
        const char *text = reading->texts[i], *file = reading->files[i];
        if (text != NULL && file != NULL)
            code = bw_fail(reading->error, BW_BAD_REQUEST, "--%s and --%s-file are both given: give one of them", option->name,
                           option->name);
        else if (file != NULL)
            code = take_file(option, file, values, reading->error);
        else if (text != NULL || option->standard != NULL)
            code = take_value(option, text != NULL ? text : option->standard, values, reading->error);
    }
    return code;
}

/* ---- What argp is given. ---- */

static const char *option_help(const struct config_option *option)
{
    char *text = NULL, name[NAME_SIZE];
    int length = asprintf(&text, "%s (%s%s%s; %s)", option->help, option->standard != NULL ? "default " : "no default",
                          option->standard != NULL ? option->standard : "", option->kind == CONFIG_SECRET ? "; secret" : "",
                          environment_name(option, "", name));
    if (length < 0)
        abort();
    return text;
}

static const char *file_name(const struct config_option *option)
{
    char *text = NULL;
    if (asprintf(&text, "%s-file", option->name) < 0)
        abort();
    return text;
}

/* The table in argp's form. It lives as long as the process. */
static struct argp_option *argp_table(const struct config *config)
{
    struct argp_option *table = calloc(2 * config->count + 1, sizeof *table), *row = table;
    if (table == NULL)
        abort();
    for (size_t i = 0; i < config->count; i++) {
        const struct config_option *option = &config->options[i];
        bool is_switch = option->kind == CONFIG_SWITCH;
        *row++ = (struct argp_option){.name = option->name,
                                      .key = KEY_FIRST + (int)i,
                                      .arg = is_switch ? "true|false" : option->value_name,
                                      .flags = is_switch ? OPTION_ARG_OPTIONAL : 0,
                                      .doc = option_help(option)};
        if (option->kind == CONFIG_SECRET)
            *row++ = (struct argp_option){.name = file_name(option),
                                          .key = KEY_FIRST_FILE + (int)i,
                                          .arg = "PATH",
                                          .doc = "The same, read from a file"};
    }
    return table;
}

/* argp says what was wrong on standard error and would end the process with its own status; one sentence of ours replaces that. */
static void check_flags(struct reading *reading, int count, char **arguments, const struct argp_option *table)
{
    for (int i = 1; i < count && reading->code == BW_OK; i++) {
        const char *argument = arguments[i];
        if (strncmp(argument, "--", 2) != 0 || argument[2] == '\0')
            continue;
        size_t length = strcspn(argument + 2, "=");
        const struct argp_option *row = table;
        while (row->name != NULL && (strlen(row->name) != length || strncmp(row->name, argument + 2, length) != 0))
            row++;
        bool is_argps = strcmp(argument, "--help") == 0 || strcmp(argument, "--version") == 0 || strcmp(argument, "--usage") == 0;
        char shown[80];
        if (row->name == NULL && !is_argps)
            reading->code = bw_fail(reading->error, BW_BAD_REQUEST, "there is no flag '%s' (see --help)",
                                    text_show(argument, shown, sizeof shown));
        else if (row->name != NULL && row->flags == 0 && argument[2 + length] == '\0') {
            if (++i >= count) /* the value is the next argument */
                reading->code = bw_fail(reading->error, BW_BAD_REQUEST, "--%s needs a value", row->name);
        }
    }
}

enum bw_code config_read(const struct config *config, int count, char **arguments, void *values, struct bw_error *error)
{
    argp_program_version = "broadway " BROADWAY_VERSION " (" BROADWAY_REVISION ")";
    struct reading reading = {.config = config, .error = error, .code = BW_OK};
    reading.texts = calloc(config->count, sizeof *reading.texts);
    reading.files = calloc(config->count, sizeof *reading.files);
    if (reading.texts == NULL || reading.files == NULL)
        abort();
    struct argp_option *table = argp_table(config);
    struct argp argp = {.options = table, .parser = take_argument, .doc = config->purpose};
    check_flags(&reading, count, arguments, table);
    if (reading.code == BW_OK && argp_parse(&argp, count, arguments, ARGP_NO_ERRS | ARGP_IN_ORDER, NULL, &reading) != 0 &&
        reading.code == BW_OK)
        reading.code = bw_fail(error, BW_BAD_REQUEST, "the flags can't be read (see --help)");
    if (reading.code == BW_OK) {
        take_environment(&reading);
        reading.code = take_all(&reading, values);
    }
    free(reading.texts);
    free(reading.files);
    return reading.code;
}
