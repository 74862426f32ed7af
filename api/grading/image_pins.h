/*
 * image_pins: what the images of a run stand for. The first grader that reports the digest of an
 * image pins it for the run (common/store/image_pin_store.h); later jobs carry the pins to graders
 * that registered with `digests=true`, and results by another digest are flagged.
 *
 * A replica keeps the pins of the runs that it used last. A pin never changes, so one that is known
 * is never read again; of a run with images that are not pinned yet, the pins are read at most once
 * in IMAGE_PINS_PAUSE_MS. Safe from any thread.
 */
#ifndef API_GRADING_IMAGE_PINS_H
#define API_GRADING_IMAGE_PINS_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/error.h"
#include "common/domain/run_definition.h"
#include "common/store/image_pin_store.h"
#include "common/store/run_store.h"
#include "common/store/worker_store.h"

struct image_pins;

enum {
    IMAGE_PINS_PAUSE_MS = 1000,
    IMAGE_PINS_RUNS = 500,       /* runs that are kept */
    IMAGE_PINS_WORKERS = 20000,  /* graders that are kept */
    IMAGE_PINS_WORKER_MS = 30000 /* how long what a grader registered is kept */
};

/* Borrowed until image_pins_free. */
struct image_pins_stores {
    struct image_pin_store *pins;
    struct run_store *runs;
    struct worker_store *workers;
};

/* Returns new pins, never NULL. */
struct image_pins *image_pins_new(const struct image_pins_stores *stores);
void image_pins_free(struct image_pins *pins); /* NULL is allowed */

/* The pins that a job carries to this worker: an object of images and digests. NULL: none is known,
 * or the worker did not register for them. New reference. May wait for the database; if that is
 * unavailable, the job goes without. */
json_t *image_pins_of_job(struct image_pins *pins, const struct definition *definition,
                          const struct job_id *job, const char *worker);

/* Whether image_pins_compare would wait. */
bool image_pins_must_wait(struct image_pins *pins, const char *run, const json_t *reported);

/* Pins what a result reports (receipt_images; NULL: nothing), where the run has no pin yet, and
 * says which reported digests differ from the pins: *drift is a new reference (images_drifted), or
 * NULL. The first drift of a run is noted in its document. `definition` may be NULL if the call
 * does not wait. BW_UNAVAILABLE: to be tried again. */
enum bw_code image_pins_compare(struct image_pins *pins, const struct definition *definition,
                                const char *run, const json_t *reported, json_t **drift,
                                struct bw_error *error) BW_CHECKED;

#endif
