/*
 * config: flags, environment and secret files, read by one table per binary. To add a flag, add a
 * row: its parsing, its limits, its environment variable, its --help and its errors follow from the
 * row.
 *
 * --flag VALUE or --flag=VALUE takes precedence over BROADWAY_FLAG in the environment, and both
 * over the default. A secret may also come from --flag-file PATH or BROADWAY_FLAG_FILE. An empty
 * variable counts as not set. An error is one sentence, which names the flag, the variable or the
 * file. Called once, before any thread. --list-metrics prints all metrics as /metrics shows them
 * before anything has happened.
 */
#ifndef COMMON_BASE_CONFIG_H
#define COMMON_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/metrics.h"

enum config_kind {
    CONFIG_TEXT,         /* const char *: any text that is not empty */
    CONFIG_NAME,         /* const char *: at most 60 letters, digits, _ and - */
    CONFIG_ADDRESS,      /* const char *: a numeric address, IPv4 or IPv6 */
    CONFIG_SECRET,       /* const char *: text without white space, never shown, also from a file */
    CONFIG_INTEGER,      /* int64_t within minimum..maximum */
    CONFIG_MILLISECONDS, /* int64_t, from a decimal number of seconds within minimum..maximum
                            (seconds) */
    CONFIG_SWITCH,       /* bool: given alone, or =true, =false */
    CONFIG_CHOICE        /* int: the place in .choices of the given word */
};

struct config_option {
    const char *name; /* "poll-wait": --poll-wait, BROADWAY_POLL_WAIT */
    enum config_kind kind;
    size_t offset;        /* of the member in the binary's options */
    const char *standard; /* the default, as it would be written; NULL: none (text is NULL then) */
    double minimum, maximum;    /* for numbers */
    const char *const *choices; /* for choices: the words; for text and secrets: what it begins
                                   with, or NULL; ends with NULL */
    const char *value_name;     /* in --help: "SECONDS" */
    const char *help;
};

struct config {
    const char *program; /* "broadway-api" */
    const char *purpose; /* one line for --help */
    const struct config_option *options;
    size_t count;
    struct metrics *(*metrics_new)(void); /* for --list-metrics; NULL: there is no such flag */
};

/* Fills `values`, the binary's struct of options. Text is valid until the process ends, as
 * `arguments` must be. --help, --version and --list-metrics print
 * and end the process. BW_BAD_REQUEST with a
 * sentence that names the flag: then the process ends with status 2. */
enum bw_code config_read(const struct config *config, int count, char **arguments, void *values,
                         struct bw_error *error) BW_CHECKED;

/* The source of an option's value, for later sentences about it: "--port", "BROADWAY_PORT",
 * "BROADWAY_CLIENT_TOKEN_FILE". Static. Any thread, after config_read. */
const char *config_source(const char *option);

/* Logs a warning for each variable BROADWAY_... that neither binary nor any script reads (its name
 * alone), with the known name that is most similar. After log_open. */
void config_warn_unknown(void);

#endif
