/*
 * clock_shim: sets a process's clocks apart from the machine's. Preloaded; the file that
 * FAULT_CLOCK_FILE names holds lines "realtime SECONDS" and "boottime SECONDS" and is read
 * again, at most every 20 ms, whenever a clock is read.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

enum { READ_EVERY_NS = 20000000 };

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct timespec read_at;
static long realtime_s, boottime_s;

static void find_real(void)
{
    if (real_clock_gettime == NULL)
        *(void **)&real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

static void read_offsets(void)
{
    const char *path = getenv("FAULT_CLOCK_FILE");
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    char name[32];
    long seconds;
    realtime_s = boottime_s = 0;
    while (file != NULL && fscanf(file, "%31s %ld", name, &seconds) == 2) {
        if (strcmp(name, "realtime") == 0)
            realtime_s = seconds;
        if (strcmp(name, "boottime") == 0)
            boottime_s = seconds;
    }
    if (file != NULL)
        fclose(file);
}

static long offset_of(clockid_t clock)
{
    struct timespec now;
    real_clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_mutex_lock(&mutex);
    long since_ns = (now.tv_sec - read_at.tv_sec) * 1000000000L + now.tv_nsec - read_at.tv_nsec;
    if (read_at.tv_sec == 0 || since_ns > READ_EVERY_NS) {
        read_at = now;
        read_offsets();
    }
    long offset_s = clock == CLOCK_BOOTTIME ? boottime_s : realtime_s;
    pthread_mutex_unlock(&mutex);
    return offset_s;
}

int clock_gettime(clockid_t clock, struct timespec *at)
{
    find_real();
    int result = real_clock_gettime(clock, at);
    if (result == 0 &&
        (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_BOOTTIME))
        at->tv_sec += offset_of(clock);
    return result;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at != NULL)
        *at = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
