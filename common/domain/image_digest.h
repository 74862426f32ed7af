/*
 * image_digest: the digests of images that graders report, and what they say about the pins of a
 * run (common/store/image_pin_store.h). Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_IMAGE_DIGEST_H
#define COMMON_DOMAIN_IMAGE_DIGEST_H

#include <jansson.h>
#include <stdbool.h>

#include "common/domain/run_definition.h"

enum {
    IMAGES_MAX = 64,       /* images of a run that are pinned, or of a result that are read */
    IMAGE_NAME_SIZE = 513, /* longer names are not pinned */
    IMAGE_DIGEST_SIZE = 72 /* "sha256:" and 64 hex digits */
};

/* Whether the text is "sha256:" and 64 lower-case hex digits. */
bool is_image_digest(const char *text);

/* The digest in an image's name "NAME@sha256:…", borrowed; NULL: it has none, and can be pinned. */
const char *image_own_digest(const char *image);

/* The images of a run's stages, or of the jobs of one kind, that can be pinned: an object of their
 * names, IMAGES_MAX at most. New reference. */
json_t *images_of_run(const struct definition *definition);
json_t *images_of_jobs(const struct definition *definition, enum job_kind kind);

/* What a result reports (receipt_images; NULL: nothing) of `images`, an object of names: an object
 * of names and digests; of several digests of a name the first. Anything that is no digest is left
 * out. New reference. */
json_t *images_reported(const json_t *reported, const json_t *images);

/* The reported images whose digest is not the pinned one: [{"image", "pinned", "reported"}].
 * `pins`: an object of names and digests. An image with a digest in its name is pinned by it. New
 * reference; NULL: there is none. */
json_t *images_drifted(const json_t *reported, const json_t *pins);

#endif
