#include "common/base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct values {
    const char *text, *name, *address, *secret, *url;
    int64_t number, wait_ms;
    bool is_on;
    int colour;
};

#define AT(member) offsetof(struct values, member)

static const char *const colours[] = {"red", "green", NULL};
static const char *const beginnings[] = {"http://", "https://", NULL};

static const struct config_option options[] = {
    {"some-text", CONFIG_TEXT, AT(text), NULL, 0, 0, NULL, "TEXT", "A text"},
    {"some-name", CONFIG_NAME, AT(name), "broadway", 0, 0, NULL, "NAME", "A name"},
    {"some-address", CONFIG_ADDRESS, AT(address), "127.0.0.1", 0, 0, NULL, "ADDRESS", "An address"},
    {"some-token", CONFIG_SECRET, AT(secret), NULL, 0, 0, NULL, "TOKEN", "A secret"},
    {"some-url", CONFIG_TEXT, AT(url), NULL, 0, 0, beginnings, "URL", "A URL"},
    {"some-number", CONFIG_INTEGER, AT(number), "7", 1, 100, NULL, "N", "A number"},
    {"some-wait", CONFIG_MILLISECONDS, AT(wait_ms), "2.5", 0.05, 60, NULL, "SECONDS", "A time"},
    {"some-switch", CONFIG_SWITCH, AT(is_on), "false", 0, 0, NULL, NULL, "A switch"},
    {"some-colour", CONFIG_CHOICE, AT(colour), "green", 0, 0, colours, "COLOUR", "A choice"},
};
static struct metrics *make_metrics(void)
{
    static const struct metric_row rows[] = {{"some_total", NULL, METRIC_COUNTER, "Counts"}};
    return metrics_new(rows, 1);
}

static const struct config config = {"broadway-test", "Tests.", options,
                                     sizeof options / sizeof *options, make_metrics};

static struct values values;
static struct bw_error error;

/* Reads up to four arguments. */
static enum bw_code read_flags(const char *a, const char *b, const char *c, const char *d)
{
    const char *const given[] = {"broadway-test", a, b, c, d, NULL};
    static char *arguments[6];
    int count = 0;
    for (; given[count] != NULL; count++) {
        free(arguments[count]); /* the options may borrow text from here until the next call */
        arguments[count] = strdup(given[count]);
    }
    memset(&values, 0, sizeof values);
    memset(&error, 0, sizeof error);
    return config_read(&config, count, arguments, &values, &error);
}

static int clear_environment(void **state)
{
    (void)state;
    unsetenv("BROADWAY_SOME_NUMBER");
    unsetenv("BROADWAY_SOME_TOKEN");
    unsetenv("BROADWAY_SOME_TOKEN_FILE");
    unsetenv("BROADWAY_SOME_SWITCH");
    return 0;
}

static void write_file(char path[32], const char *bytes, size_t length)
{
    snprintf(path, 32, "/tmp/broadway-config-XXXXXX");
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, bytes, length), length);
    close(file);
}

static void defaults_apply_without_flags(void **state)
{
    (void)state;
    assert_int_equal(read_flags(NULL, NULL, NULL, NULL), BW_OK);
    assert_null(values.text);
    assert_null(values.secret);
    assert_string_equal(values.name, "broadway");
    assert_string_equal(values.address, "127.0.0.1");
    assert_int_equal(values.number, 7);
    assert_int_equal(values.wait_ms, 2500);
    assert_false(values.is_on);
    assert_int_equal(values.colour, 1);
}

static void value_may_follow_the_flag_or_an_equals_sign(void **state)
{
    (void)state;
    assert_int_equal(read_flags("--some-number", "12", "--some-wait=0.05", "--some-switch"), BW_OK);
    assert_int_equal(values.number, 12);
    assert_int_equal(values.wait_ms, 50);
    assert_true(values.is_on);
    assert_int_equal(read_flags("--some-switch=false", "--some-text", "--looks-like-a-flag", NULL),
                     BW_OK);
    assert_false(values.is_on);
    assert_string_equal(values.text, "--looks-like-a-flag");
}

static void flag_precedes_environment_precedes_default(void **state)
{
    (void)state;
    setenv("BROADWAY_SOME_NUMBER", "20", 1);
    setenv("BROADWAY_SOME_SWITCH", "true", 1);
    assert_int_equal(read_flags(NULL, NULL, NULL, NULL), BW_OK);
    assert_int_equal(values.number, 20);
    assert_true(values.is_on);
    assert_int_equal(read_flags("--some-number=30", "--some-switch=false", NULL, NULL), BW_OK);
    assert_int_equal(values.number, 30);
    assert_false(values.is_on);
}

static void secret_may_come_from_a_file(void **state)
{
    (void)state;
    char path[32], flag[64];
    write_file(path, "from-a-file\r\n", 13);
    snprintf(flag, sizeof flag, "--some-token-file=%s", path);
    assert_int_equal(read_flags(flag, NULL, NULL, NULL), BW_OK);
    assert_string_equal(values.secret, "from-a-file");
    setenv("BROADWAY_SOME_TOKEN_FILE", path, 1);
    assert_int_equal(read_flags(NULL, NULL, NULL, NULL), BW_OK);
    assert_string_equal(values.secret, "from-a-file");
    assert_int_equal(read_flags("--some-token=from-the-flag", NULL, NULL, NULL), BW_OK);
    assert_string_equal(values.secret, "from-the-flag");
    unlink(path);
}

static void secret_may_contain_a_placeholder_word(void **state)
{
    (void)state;
    static const char *const fine[] = {"7f3a-change-me-not", "mongodb://u:p@db/?appName=x",
                                       "mongodb://u:exchange-me@my-placeholder/"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        assert_int_equal(read_flags("--some-token", fine[i], NULL, NULL), BW_OK);
        assert_string_equal(values.secret, fine[i]);
    }
}

static void assert_refused(const char *a, const char *b, const char *words)
{
    assert_int_equal(read_flags(a, b, NULL, NULL), BW_BAD_REQUEST);
    if (strstr(error.message, words) == NULL)
        fail_msg("'%s' is not in: %s", words, error.message);
    assert_null(strchr(error.message, '\n'));
    assert_null(strstr(error.message, "canary"));
}

static void error_names_the_flag(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"--some-number=0", "--some-number 0: must be a whole number from 1 to 100"},
        {"--some-number=101", "--some-number 101"},
        {"--some-number=1.5", "--some-number 1.5"},
        {"--some-number=", "--some-number"},
        {"--some-number= 5", "--some-number"},
        {"--some-number=5x", "--some-number"},
        {"--some-number=0x10", "--some-number"},
        {"--some-number=nan", "--some-number"},
        {"--some-number=1e999", "--some-number"},
        {"--some-wait=0.04", "--some-wait 0.04: must be a number of seconds from 0.05 to 60"},
        {"--some-wait=inf", "--some-wait"},
        {"--some-switch=perhaps", "--some-switch perhaps: must be true or false"},
        {"--some-colour=blue", "--some-colour blue: must be one of red, green"},
        {"--some-text=", "--some-text"},
        {"--some-name=bad/name", "--some-name"},
        {"--some-address=nowhere", "--some-address nowhere: must be a numeric address"},
        {"--some-address=127.0.0.256", "--some-address"},
        {"--some-url=ftp://x",
         "--some-url ftp://x: must begin, and go on, with one of http://, https://"},
        {"--some-url=http://", "--some-url"},
        {"--some-token=", "--some-token (not shown): must not be empty"},
        {"--some-token=canary secret", "--some-token (not shown)"},
        {"--some-token=REPLACE_ME", "--some-token (not shown): is the placeholder of a sample"},
        {"--some-token=change-me-cluster-token",
         "--some-token (not shown): is the placeholder of a sample"},
        {"--some-token=mongodb://broadway:change-me@db1,db2/broadway",
         "--some-token (not shown): is the placeholder of a sample"},
        {"--some-token=mongodb://broadway:canary@db1,placeholder/",
         "--some-token (not shown): is the placeholder of a sample"},
        {"--some-token-file=/nonexistent/token",
         "--some-token-file /nonexistent/token: No such file"},
        {"--some-token-file=/tmp", "--some-token-file /tmp: Is a directory"},
        {"--some-token-file=/dev/null", "--some-token-file /dev/null: the file is empty"},
        {"--some-numbers=1", "there is no flag '--some-numbers' (see --help)"},
        {"--some-numb=1", "there is no flag '--some-numb'"},
        {"--some-tokn=canary", "there is no flag '--some-tokn'"},
        {"-x", "there is no flag '-x'"},
        {"-", "there is no flag '-'"},
        {"--", "there is no flag '--'"},
        {"--help=yes", "there is no flag '--help'"},
        {"stray", "'stray' is not a flag"},
        {"--some-number", "--some-number needs a value"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_refused(wrong[i][0], NULL, wrong[i][1]);
    setenv("BROADWAY_SOME_NUMBER", "often", 1);
    assert_refused(NULL, NULL,
                   "BROADWAY_SOME_NUMBER: must be a whole number from 1 to 100, not 'often'");
}

static void secret_given_twice_or_with_a_nul_is_refused(void **state)
{
    (void)state;
    char path[32], flag[64];
    write_file(path, "canary\0more", 11);
    snprintf(flag, sizeof flag, "--some-token-file=%s", path);
    assert_refused(flag, NULL, "must not contain NUL");
    assert_refused(flag, "--some-token=canary-too",
                   "--some-token and --some-token-file are both given");
    setenv("BROADWAY_SOME_TOKEN", "canary", 1);
    setenv("BROADWAY_SOME_TOKEN_FILE", path, 1);
    assert_refused(NULL, NULL, "both given");
    unlink(path);
}

/* The output of a child process that reads `flag` and must exit with status 0. */
static const char *printed(const char *flag)
{
    static char text[8192];
    int ends[2], status = -1;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        if (read_flags(flag, NULL, NULL, NULL) != BW_PENDING)
            _exit(99); /* must not be reached */
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t got = 1; got > 0; length += (size_t)got) {
        got = read(ends[0], text + length, sizeof text - 1 - length);
        assert_true(got >= 0);
    }
    text[length] = '\0';
    close(ends[0]);
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    return text;
}

static void error_names_the_variable(void **state)
{
    (void)state;
    setenv("BROADWAY_SOME_TOKEN", "canary secret", 1);
    assert_refused(NULL, NULL, "BROADWAY_SOME_TOKEN: must be at most 500 characters");
    setenv("BROADWAY_SOME_TOKEN", "fine", 1);
    setenv("BROADWAY_SOME_TOKEN_FILE", "/nonexistent/token", 1);
    assert_refused(NULL, NULL, "BROADWAY_SOME_TOKEN and BROADWAY_SOME_TOKEN_FILE are both given");
    unsetenv("BROADWAY_SOME_TOKEN");
    assert_refused(NULL, NULL, "BROADWAY_SOME_TOKEN_FILE /nonexistent/token: No such file");
    assert_int_equal(read_flags("--some-token=fine", NULL, NULL, NULL), BW_OK);
    assert_string_equal(config_source("some-token"), "--some-token");
    unsetenv("BROADWAY_SOME_TOKEN_FILE");
    setenv("BROADWAY_SOME_NUMBER", "5", 1);
    assert_int_equal(read_flags(NULL, NULL, NULL, NULL), BW_OK);
    assert_string_equal(config_source("some-number"), "BROADWAY_SOME_NUMBER");
}

static void empty_variable_counts_as_not_set(void **state)
{
    (void)state;
    setenv("BROADWAY_SOME_NUMBER", "", 1);
    setenv("BROADWAY_SOME_SWITCH", "", 1);
    setenv("BROADWAY_SOME_TOKEN", "", 1);
    setenv("BROADWAY_SOME_TOKEN_FILE", "", 1);
    assert_int_equal(read_flags(NULL, NULL, NULL, NULL), BW_OK);
    assert_int_equal(values.number, 7);
    assert_false(values.is_on);
    assert_null(values.secret);
}

static void help_lists_the_table(void **state)
{
    (void)state;
    const char *text = printed("--help");
    for (size_t i = 0; i < config.count; i++)
        assert_non_null(strstr(text, options[i].name));
    assert_non_null(strstr(text, "--some-token-file"));
    assert_non_null(strstr(text, "BROADWAY_SOME_NUMBER"));
    assert_non_null(strstr(text, "default 2.5"));
}

static void version_names_the_program(void **state)
{
    (void)state;
    assert_int_equal(strncmp(printed("--version"), "broadway-test ", 14), 0);
}

static void metrics_are_listed(void **state)
{
    (void)state;
    const char *text = printed("--list-metrics");
    assert_int_equal(strncmp(text, "# HELP some_total Counts\n", 25), 0);
    assert_refused("--list-metrics=x", NULL, "there is no flag '--list-metrics'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_apply_without_flags),
        cmocka_unit_test(value_may_follow_the_flag_or_an_equals_sign),
        cmocka_unit_test_setup_teardown(flag_precedes_environment_precedes_default, NULL,
                                        clear_environment),
        cmocka_unit_test_setup_teardown(secret_may_come_from_a_file, NULL, clear_environment),
        cmocka_unit_test(secret_may_contain_a_placeholder_word),
        cmocka_unit_test_setup_teardown(error_names_the_flag, NULL, clear_environment),
        cmocka_unit_test_setup_teardown(error_names_the_variable, NULL, clear_environment),
        cmocka_unit_test_setup_teardown(empty_variable_counts_as_not_set, NULL, clear_environment),
        cmocka_unit_test_setup_teardown(secret_given_twice_or_with_a_nul_is_refused, NULL,
                                        clear_environment),
        cmocka_unit_test(help_lists_the_table),
        cmocka_unit_test(version_names_the_program),
        cmocka_unit_test(metrics_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
