/*
 * image_pin_store: collection image_pins: what an image's name stands for in a run, by the first
 * grader that reported it; _id is "<run id>/<digest of the name>". The API inserts it, the first
 * insert counts, and nothing changes it. It goes with its run. Safe from any thread; waits for the
 * database.
 */
#ifndef COMMON_STORE_IMAGE_PIN_STORE_H
#define COMMON_STORE_IMAGE_PIN_STORE_H

#include <jansson.h>

#include "common/db/database.h"
#include "common/domain/image_digest.h"

struct image_pin_store;

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code image_pin_store_open(struct database *database, struct image_pin_store **store,
                                  struct bw_error *error) BW_CHECKED;
void image_pin_store_close(struct image_pin_store *store);

/* Pins the images of `proposed`, an object of names and digests, IMAGES_MAX at most, that have no
 * pin in the run. BW_OK: all have one, durably; BW_UNAVAILABLE. May be repeated. */
enum bw_code image_pin_store_propose(struct image_pin_store *store, const char *run,
                                     const json_t *proposed, struct bw_error *error) BW_CHECKED;

/* Reads the pins of those names of the object `images` that have one, and sets them in `found`, an
 * object of names and digests. BW_UNAVAILABLE. */
enum bw_code image_pin_store_read(struct image_pin_store *store, const char *run,
                                  const json_t *images, json_t *found, struct bw_error *error)
    BW_CHECKED;

/* Deletes the pins of a run. May be repeated. */
enum bw_code image_pin_store_delete(struct image_pin_store *store, const char *run,
                                    struct bw_error *error) BW_CHECKED;

#endif
