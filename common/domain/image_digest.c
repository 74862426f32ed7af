#include "common/domain/image_digest.h"

#include <string.h>

static const char algorithm[] = "sha256:";

enum { ALGORITHM_LENGTH = sizeof algorithm - 1, DIGEST_DIGITS = 64 };

bool is_image_digest(const char *text)
{
    return strncmp(text, algorithm, ALGORITHM_LENGTH) == 0 &&
           is_hex_id(text + ALGORITHM_LENGTH, DIGEST_DIGITS);
}

const char *image_own_digest(const char *image)
{
    const char *at = strrchr(image, '@');
    return at != NULL ? at + 1 : NULL;
}

/* ---- The images of a run ---- */

static void images_add(const json_t *pipeline, json_t *images)
{
    size_t index;
    json_t *stage;
    json_array_foreach (pipeline, index, stage) {
        const char *image = json_string_value(json_object_get(stage, "image"));
        bool can_be_pinned = image != NULL && strlen(image) < IMAGE_NAME_SIZE &&
                             image_own_digest(image) == NULL;
        if (can_be_pinned && json_object_size(images) < IMAGES_MAX)
            json_object_set_new(images, image, json_true());
    }
}

json_t *images_of_run(const struct definition *definition)
{
    json_t *images = json_object();
    for (enum job_kind kind = JOB_PRE; kind <= JOB_POST; kind++)
        images_add(definition_stages(definition, kind), images);
    return images;
}

json_t *images_of_jobs(const struct definition *definition, enum job_kind kind)
{
    json_t *images = json_object();
    images_add(definition_stages(definition, kind), images);
    return images;
}

/* ---- What a result reports ---- */

json_t *images_reported(const json_t *reported, const json_t *images)
{
    size_t index;
    json_t *entry, *found = json_object();
    json_array_foreach (reported, index, entry) {
        const char *image = json_string_value(json_object_get(entry, "image"));
        json_t *digest = json_object_get(entry, "digest");
        if (json_object_get(images, image) != NULL && is_image_digest(json_string_value(digest)) &&
            json_object_get(found, image) == NULL)
            json_object_set(found, image, digest);
    }
    return found;
}

/* Whether the list has this image with this digest already. */
static bool images_has_drift(const json_t *drift, const json_t *image, const json_t *digest)
{
    size_t index;
    json_t *entry;
    json_array_foreach (drift, index, entry)
        if (json_equal(json_object_get(entry, "image"), image) &&
            json_equal(json_object_get(entry, "reported"), digest))
            return true;
    return false;
}

json_t *images_drifted(const json_t *reported, const json_t *pins)
{
    size_t index;
    json_t *entry, *drift = json_array();
    json_array_foreach (reported, index, entry) {
        json_t *image = json_object_get(entry, "image"), *digest = json_object_get(entry, "digest");
        const char *name = json_string_value(image);
        const char *pinned = json_string_value(json_object_get(pins, name));
        if (pinned == NULL)
            pinned = image_own_digest(name);
        if (pinned != NULL && strcmp(pinned, json_string_value(digest)) != 0 &&
            !images_has_drift(drift, image, digest))
            json_array_append_new(drift, json_pack("{s:O,s:s,s:O}", "image", image, "pinned",
                                                   pinned, "reported", digest));
    }
    if (json_array_size(drift) > 0)
        return drift;
    json_decref(drift);
    return NULL;
}
