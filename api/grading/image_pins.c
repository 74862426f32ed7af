#include "api/grading/image_pins.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/domain/image_digest.h"

/* The hash tables' order of insertion is the order of use: the first entry goes first. */
struct pinned_run {
    char id[RUN_ID_SIZE];
    json_t *digests; /* an object of images and digests: only ever gets more */
    json_t *others;  /* an object of reported images that the run does not pin */
    int64_t next_read_ms;
    bool is_drift_noted; /* the run's document has it */
    UT_hash_handle hh;
};

struct pin_worker {
    char id[WORKER_ID_SIZE];
    bool takes_digests;
    int64_t read_ms;
    UT_hash_handle hh;
};

struct image_pins {
    struct image_pins_stores stores;
    pthread_mutex_t mutex; /* guards what follows */
    struct pinned_run *runs;
    struct pin_worker *workers;
};

struct image_pins *image_pins_new(const struct image_pins_stores *stores)
{
    struct image_pins *pins = bw_alloc(sizeof *pins);
    pins->stores = *stores;
    pthread_mutex_init(&pins->mutex, NULL);
    return pins;
}

static void image_pins_forget_run(struct image_pins *pins, struct pinned_run *run)
{
    HASH_DEL(pins->runs, run);
    json_decref(run->digests);
    json_decref(run->others);
    free(run);
}

static void image_pins_forget_worker(struct image_pins *pins, struct pin_worker *worker)
{
    HASH_DEL(pins->workers, worker);
    free(worker);
}

void image_pins_free(struct image_pins *pins)
{
    if (pins == NULL)
        return;
    while (pins->runs != NULL)
        image_pins_forget_run(pins, pins->runs);
    while (pins->workers != NULL)
        image_pins_forget_worker(pins, pins->workers);
    pthread_mutex_destroy(&pins->mutex);
    free(pins);
}

/* ---- What is known of a run. Under the mutex ---- */

static struct pinned_run *image_pins_use_run(struct image_pins *pins, const char *id)
{
    struct pinned_run *run;
    HASH_FIND_STR(pins->runs, id, run);
    if (run != NULL) {
        HASH_DEL(pins->runs, run);
    } else {
        run = bw_alloc(sizeof *run);
        snprintf(run->id, sizeof run->id, "%s", id);
        run->digests = json_object();
        run->others = json_object();
    }
    HASH_ADD_STR(pins->runs, id, run);
    if (HASH_COUNT(pins->runs) > IMAGE_PINS_RUNS)
        image_pins_forget_run(pins, pins->runs);
    return run;
}

/* Whether all names of the object `images` are among the known ones. */
static bool image_pins_know_all(const struct pinned_run *run, const json_t *images)
{
    const char *image;
    json_t *unused;
    json_object_foreach ((json_t *)(uintptr_t)images, image, unused)
        if (json_object_get(run->digests, image) == NULL)
            return false;
    return true;
}

/* ---- What is known of a run ---- */

/* A copy of the pins that are known. New reference. *is_due: images of `images` have none yet, and
 * it is time to read them. */
static json_t *image_pins_known(struct image_pins *pins, const char *id, const json_t *images,
                                bool *is_due)
{
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&pins->mutex);
    struct pinned_run *run = image_pins_use_run(pins, id);
    *is_due = now_ms >= run->next_read_ms && !image_pins_know_all(run, images);
    if (*is_due)
        run->next_read_ms = now_ms + IMAGE_PINS_PAUSE_MS;
    json_t *known = json_deep_copy(run->digests);
    pthread_mutex_unlock(&pins->mutex);
    return known;
}

/* Reads the pins of the images, keeps them, and sets them in `known`. */
static enum bw_code image_pins_read(struct image_pins *pins, const char *id, const json_t *images,
                                    json_t *known, struct bw_error *error)
{
    enum bw_code code = image_pin_store_read(pins->stores.pins, id, images, known, error);
    if (code != BW_OK)
        return code;
    json_t *copy = json_deep_copy(known);
    pthread_mutex_lock(&pins->mutex);
    json_object_update(image_pins_use_run(pins, id)->digests, copy);
    pthread_mutex_unlock(&pins->mutex);
    json_decref(copy);
    return BW_OK;
}

/* ---- Jobs ---- */

/* Whether what the worker registered is known; then *takes_digests is written. */
static bool image_pins_know_worker(struct image_pins *pins, const char *id, bool *takes_digests)
{
    struct pin_worker *worker;
    pthread_mutex_lock(&pins->mutex);
    HASH_FIND_STR(pins->workers, id, worker);
    bool is_known = worker != NULL && clock_boot_ms() - worker->read_ms < IMAGE_PINS_WORKER_MS;
    if (is_known)
        *takes_digests = worker->takes_digests;
    pthread_mutex_unlock(&pins->mutex);
    return is_known;
}

static void image_pins_keep_worker(struct image_pins *pins, const char *id, bool takes_digests)
{
    struct pin_worker *worker;
    pthread_mutex_lock(&pins->mutex);
    HASH_FIND_STR(pins->workers, id, worker);
    if (worker != NULL)
        image_pins_forget_worker(pins, worker);
    worker = bw_alloc(sizeof *worker);
    snprintf(worker->id, sizeof worker->id, "%s", id);
    worker->takes_digests = takes_digests;
    worker->read_ms = clock_boot_ms();
    HASH_ADD_STR(pins->workers, id, worker);
    if (HASH_COUNT(pins->workers) > IMAGE_PINS_WORKERS)
        image_pins_forget_worker(pins, pins->workers);
    pthread_mutex_unlock(&pins->mutex);
}

static bool image_pins_worker_takes(struct image_pins *pins, const char *id)
{
    bool takes_digests = false;
    struct worker worker = {.takes_digests = false};
    struct bw_error unused;
    if (image_pins_know_worker(pins, id, &takes_digests))
        return takes_digests;
    enum bw_code code = worker_store_read(pins->stores.workers, id, &worker, &unused);
    if (code == BW_OK)
        image_pins_keep_worker(pins, id, worker.takes_digests);
    return code == BW_OK && worker.takes_digests;
}

/* Removes the pins of images that are not among `images`. */
static void image_pins_select(json_t *known, const json_t *images)
{
    const char *image;
    json_t *unused;
    void *next;
    json_object_foreach_safe (known, next, image, unused)
        if (json_object_get(images, image) == NULL)
            json_object_del(known, image);
}

json_t *image_pins_of_job(struct image_pins *pins, const struct definition *definition,
                          const struct job_id *job, const char *worker)
{
    bool is_due;
    struct bw_error unused;
    json_auto_t *images = images_of_jobs(definition, job->kind);
    if (json_object_size(images) == 0 || !image_pins_worker_takes(pins, worker))
        return NULL; /* the pins of the run are not read for nothing */
    json_t *known = image_pins_known(pins, job->run, images, &is_due);
    if (is_due)
        (void)!image_pins_read(pins, job->run, images, known, &unused);
    image_pins_select(known, images);
    if (json_object_size(known) > 0)
        return known;
    json_decref(known);
    return NULL;
}

/* ---- Results ---- */

/* The image of an entry of receipt_images, borrowed. NULL: it can't be pinned. */
static const char *image_to_pin(const json_t *entry)
{
    const char *image = json_string_value(json_object_get(entry, "image"));
    bool can_be_pinned = image_own_digest(image) == NULL &&
                         is_image_digest(json_string_value(json_object_get(entry, "digest")));
    return can_be_pinned ? image : NULL;
}

bool image_pins_must_wait(struct image_pins *pins, const char *id, const json_t *reported)
{
    size_t index;
    json_t *entry;
    bool must_wait = false;
    if (json_array_size(reported) == 0)
        return false;
    pthread_mutex_lock(&pins->mutex);
    const struct pinned_run *run = image_pins_use_run(pins, id);
    json_array_foreach (reported, index, entry) {
        const char *image = image_to_pin(entry);
        must_wait = must_wait || (image != NULL && json_object_get(run->digests, image) == NULL &&
                                  json_object_get(run->others, image) == NULL);
    }
    if (!must_wait && !run->is_drift_noted) {
        json_auto_t *drift = images_drifted(reported, run->digests);
        must_wait = drift != NULL;
    }
    pthread_mutex_unlock(&pins->mutex);
    return must_wait;
}

/* Keeps which reported images the run does not pin, since they are none of its own. */
static void image_pins_keep_others(struct image_pins *pins, const char *id, const json_t *reported,
                                   const json_t *known)
{
    size_t index;
    json_t *entry;
    pthread_mutex_lock(&pins->mutex);
    struct pinned_run *run = image_pins_use_run(pins, id);
    json_array_foreach (reported, index, entry) {
        const char *image = image_to_pin(entry);
        if (image != NULL && json_object_get(known, image) == NULL &&
            json_object_size(run->others) < IMAGES_MAX)
            json_object_set_new(run->others, image, json_true());
    }
    pthread_mutex_unlock(&pins->mutex);
}

static enum bw_code image_pins_note_drift(struct image_pins *pins, const char *id,
                                          struct bw_error *error)
{
    enum bw_code code = run_store_note_drift(pins->stores.runs, id, error);
    if (code != BW_OK)
        return code;
    pthread_mutex_lock(&pins->mutex);
    image_pins_use_run(pins, id)->is_drift_noted = true;
    pthread_mutex_unlock(&pins->mutex);
    return BW_OK;
}

enum bw_code image_pins_compare(struct image_pins *pins, const struct definition *definition,
                                const char *run, const json_t *reported, json_t **drift,
                                struct bw_error *error)
{
    bool unused;
    enum bw_code code = BW_OK;
    bool must_wait = definition != NULL && image_pins_must_wait(pins, run, reported);
    json_auto_t *images = must_wait ? images_of_run(definition) : json_object();
    json_auto_t *known = image_pins_known(pins, run, images, &unused);
    if (must_wait) {
        json_auto_t *proposed = images_reported(reported, images);
        code = image_pin_store_propose(pins->stores.pins, run, proposed, error);
        if (code == BW_OK)
            code = image_pins_read(pins, run, images, known, error);
        if (code == BW_OK)
            image_pins_keep_others(pins, run, reported, known);
    }
    if (code == BW_OK)
        *drift = images_drifted(reported, known);
    if (code == BW_OK && must_wait && *drift != NULL)
        code = image_pins_note_drift(pins, run, error);
    return code;
}
