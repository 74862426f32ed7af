#include "common/base/process_metrics.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "version.h"

enum { STAT_SIZE = 2048, STAT_STARTED = 22, STAT_STATE = 3 };

static void process_metrics_row(FILE *out, const char *name, const char *kind, const char *help,
                                double value)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", name, help, name, kind, name, value);
}

static bool process_metrics_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t length = fread(text, 1, size - 1, file);
    fclose(file);
    text[length] = '\0';
    return length > 0;
}

static void process_metrics_cpu(FILE *out)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return;
    process_metrics_row(out, "process_cpu_seconds_total", "counter",
                        "Time that the processors have spent on it, user and system",
                        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

static void process_metrics_memory(FILE *out)
{
    char text[STAT_SIZE], *end;
    if (!process_metrics_read("/proc/self/statm", text, sizeof text))
        return;
    double page = (double)sysconf(_SC_PAGESIZE);
    double all = strtod(text, &end) * page, resident = strtod(end, NULL) * page;
    process_metrics_row(out, "process_virtual_memory_bytes", "gauge",
                        "Virtual memory of the process", all);
    process_metrics_row(out, "process_resident_memory_bytes", "gauge",
                        "Resident memory of the process", resident);
}

/* The directory's own descriptor is not counted. */
static void process_metrics_descriptors(FILE *out)
{
    DIR *directory = opendir("/proc/self/fd");
    int count = -1;
    struct rlimit limit;
    /* cppcheck-suppress readdirCalled ; the stream is this call's own */
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL) {
        closedir(directory);
        process_metrics_row(out, "process_open_fds", "gauge", "Open descriptors of the process",
                            count - 2); /* . and .. */
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        process_metrics_row(out, "process_max_fds", "gauge", "Limit of open descriptors",
                            (double)limit.rlim_cur);
}

/* The date of the machine's start, in seconds; 0: unknown. */
static double process_metrics_booted(void)
{
    char line[256];
    double booted = 0;
    FILE *file = fopen("/proc/stat", "re");
    while (file != NULL && booted == 0 && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "btime ", 6) == 0)
            booted = strtod(line + 6, NULL);
    if (file != NULL)
        fclose(file);
    return booted;
}

/* Behind the program's name, which is in parentheses and may contain any character. */
static void process_metrics_started(FILE *out)
{
    char text[STAT_SIZE];
    double booted = process_metrics_booted();
    if (booted == 0 || !process_metrics_read("/proc/self/stat", text, sizeof text))
        return;
    const char *at = strrchr(text, ')');
    for (int field = STAT_STATE - 1; at != NULL && field < STAT_STARTED; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return;
    double ticks = strtod(at, NULL) / (double)sysconf(_SC_CLK_TCK);
    process_metrics_row(out, "process_start_time_seconds", "gauge",
                        "Date of its start, in seconds since 1970", booted + ticks);
}

void process_metrics_print(FILE *out)
{
    process_metrics_cpu(out);
    process_metrics_memory(out);
    process_metrics_descriptors(out);
    process_metrics_started(out);
    fprintf(out,
            "# HELP broadway_build_info 1; its labels say which build this is\n"
            "# TYPE broadway_build_info gauge\n"
            "broadway_build_info{version=\"%s\",revision=\"%s\"} 1\n",
            BROADWAY_VERSION, BROADWAY_REVISION);
}
