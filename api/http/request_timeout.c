#include "api/http/request_timeout.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <utlist.h>

#include "common/base/clock.h"
#include "common/base/log.h"

enum { SWEEP_MS = 1000 };

static const int64_t never = INT64_MAX;

struct patient {
    const struct patience *patience;
    int fd;
    atomic_bool has_begun;       /* a request, of which something came */
    _Atomic int64_t deadline_ms; /* never: nothing is waited for */
    uint64_t received;           /* of the body; for the thread that serves it */
    struct patient *prev, *next;
};

struct patience {
    struct patience_settings settings;
    pthread_t thread;
    pthread_cond_t stop;
    pthread_mutex_t mutex; /* guards what follows */
    struct patient *patients;
    bool is_stopping;
};

/* ---- One connection ---- */

static void wait_anew(struct patient *patient, int64_t more_ms)
{
    int64_t request_ms = patient->patience->settings.request_ms;
    atomic_store(&patient->deadline_ms, clock_boot_ms() + request_ms + more_ms);
}

void patient_begin(struct patient *patient)
{
    if (patient == NULL)
        return;
    atomic_store(&patient->has_begun, true);
    patient->received = 0;
    wait_anew(patient, 0);
}

int64_t patience_earned(uint64_t received, size_t bytes)
{
    uint64_t part = received / PATIENCE_PART;
    return (int64_t)(bytes * 1000 / (part > PATIENCE_BYTES ? part : PATIENCE_BYTES));
}

/* What comes fast earns no more than the time that is allowed, from now on. */
void patient_receive(struct patient *patient, size_t bytes)
{
    if (patient == NULL)
        return;
    int64_t deadline_ms = atomic_load(&patient->deadline_ms);
    if (deadline_ms == never)
        return;
    int64_t earned_ms = deadline_ms + patience_earned(patient->received, bytes);
    patient->received += bytes;
    int64_t most_ms = clock_boot_ms() + patient->patience->settings.request_ms;
    atomic_compare_exchange_strong(&patient->deadline_ms, &deadline_ms,
                                   earned_ms < most_ms ? earned_ms : most_ms);
}

void patient_finish(struct patient *patient)
{
    if (patient != NULL)
        atomic_store(&patient->deadline_ms, never);
}

void patient_rest(struct patient *patient)
{
    if (patient == NULL)
        return;
    atomic_store(&patient->has_begun, false);
    wait_anew(patient, PATIENCE_IDLE_MS);
}

/* ---- All of them ---- */

static bool is_unfinished(struct patient *patient)
{
    return atomic_load(&patient->has_begun) && atomic_load(&patient->deadline_ms) != never;
}

/* False: its request became whole just now. */
static bool end(const struct patience *patience, struct patient *patient, int64_t deadline_ms)
{
    if (!atomic_compare_exchange_strong(&patient->deadline_ms, &deadline_ms, never))
        return false;
    if (atomic_load(&patient->has_begun))
        patience->settings.refuse(patient->fd);
    shutdown(patient->fd, SHUT_RDWR);
    return true;
}

static bool is_due(struct patient *patient, int64_t deadline_ms, bool is_short, int64_t now_ms)
{
    int64_t begun_ms = deadline_ms - patient->patience->settings.request_ms;
    if (deadline_ms == never)
        return false;
    if (is_short && atomic_load(&patient->has_begun) && now_ms >= begun_ms + PATIENCE_SHORT_MS)
        return true;
    return now_ms >= deadline_ms;
}

size_t patience_sweep(struct patience *patience, int64_t now_ms)
{
    size_t unfinished = 0, ended = 0;
    struct patient *patient;
    pthread_mutex_lock(&patience->mutex);
    DL_FOREACH (patience->patients, patient)
        unfinished += is_unfinished(patient);
    bool is_short = unfinished > patience->settings.many;
    DL_FOREACH (patience->patients, patient) {
        int64_t deadline_ms = atomic_load(&patient->deadline_ms);
        if (is_due(patient, deadline_ms, is_short, now_ms))
            ended += end(patience, patient, deadline_ms);
    }
    pthread_mutex_unlock(&patience->mutex);
    return ended;
}

struct patient *patience_add(struct patience *patience, int fd)
{
    struct patient *patient = calloc(1, sizeof *patient);
    if (patient == NULL)
        return NULL;
    patient->patience = patience;
    patient->fd = fd;
    wait_anew(patient, 0);
    pthread_mutex_lock(&patience->mutex);
    DL_APPEND(patience->patients, patient);
    pthread_mutex_unlock(&patience->mutex);
    return patient;
}

void patience_remove(struct patience *patience, struct patient *patient)
{
    if (patient == NULL)
        return;
    pthread_mutex_lock(&patience->mutex);
    DL_DELETE(patience->patients, patient);
    pthread_mutex_unlock(&patience->mutex);
    free(patient);
}

/* True: it is time to stop. */
static bool sleep_a_round(struct patience *patience)
{
    struct timespec until = clock_deadline(SWEEP_MS);
    int result = 0;
    pthread_mutex_lock(&patience->mutex);
    while (!patience->is_stopping && result == 0)
        result = pthread_cond_timedwait(&patience->stop, &patience->mutex, &until);
    bool stops = patience->is_stopping;
    pthread_mutex_unlock(&patience->mutex);
    return stops;
}

static void *run(void *context)
{
    struct patience *patience = context;
    while (!sleep_a_round(patience)) {
        size_t ended = patience_sweep(patience, clock_boot_ms());
        if (ended > 0)
            log_info("connections ended: no whole request came in time",
                     log_text("front", patience->settings.name),
                     log_number("connections", (int64_t)ended));
    }
    return NULL;
}

static void patience_free(struct patience *patience)
{
    pthread_cond_destroy(&patience->stop);
    pthread_mutex_destroy(&patience->mutex);
    free(patience);
}

enum bw_code patience_open(const struct patience_settings *settings, struct patience **patience,
                           struct bw_error *error)
{
    struct patience *self = calloc(1, sizeof *self);
    if (self == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    self->settings = *settings;
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->stop);
    if (pthread_create(&self->thread, NULL, run, self) != 0) {
        patience_free(self);
        return bw_fail(error, BW_INTERNAL, "a thread can't be started");
    }
    *patience = self;
    return BW_OK;
}

void patience_close(struct patience *patience)
{
    if (patience == NULL)
        return;
    pthread_mutex_lock(&patience->mutex);
    patience->is_stopping = true;
    pthread_cond_signal(&patience->stop);
    pthread_mutex_unlock(&patience->mutex);
    pthread_join(patience->thread, NULL);
    patience_free(patience);
}
