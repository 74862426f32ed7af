/*
 * receipt: what the server attests of one job: by which definition, when, by whom and with which
 * outcome it was graded; and the chain of a run's receipts. docs/receipts.md defines both, to the
 * byte: texts of version 1 never change, since they are verified years later. Pure, apart from the
 * CPU time of a signature; safe from any thread.
 */
#ifndef COMMON_DOMAIN_RECEIPT_H
#define COMMON_DOMAIN_RECEIPT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/secret.h"
#include "common/base/signing_key.h"
#include "common/domain/job.h"

enum { RECEIPT_VERSION = 1, RECEIPT_IMAGES_MAX = 64, RECEIPT_IMAGE_BYTES = 512 };

/* When a receipt was made: with the result, by the replica that stored it, or later, from what the
 * database had of a result that no grader sent. */
enum receipt_origin { RECEIPT_OF_RESULT, RECEIPT_OF_CHAIN };

/* The content of a receipt. All texts are borrowed; NULL or "", and 0 for numbers: not known, or
 * there is none. Digests are lower-case hex. */
struct receipt {
    enum receipt_origin origin;
    const char *run, *job;
    const char *definition; /* digest of the run's definition (definition_digest) */
    const char *stages;     /* digest of the job's expanded stages (definition_stages_digest) */
    uint32_t attempt;
    const char *worker; /* as the API shows it */
    int64_t handed_out_ms, finished_ms;
    enum job_outcome outcome;
    enum job_owner owner;               /* OWNER_UNSAID: nobody's */
    const char *reason, *note;          /* sentences, for people */
    const char *superseded_by;          /* the job that counts instead */
    const double *score, *max_score;    /* as they are shown; NULL: none */
    const char *result, *files, *tests; /* digests of the texts that are stored */
    const char *drift; /* the same, of the images that differ from the run's pins */
    const char *sent; /* digest of what the grader sent: its result, success, logs, files, scores */
    const json_t *images; /* receipt_images; NULL: none */
};

/* The canonical text. New string, free(). */
char *receipt_text(const struct receipt *receipt);

/* SHA-256 of bytes, as `sha256sum` computes it. */
void receipt_digest(const void *bytes, size_t length, char digest[SHA256_TEXT_SIZE]);

/* The images whose digests a grader's result reports, as [{"digest", "image"}], in the order of the
 * stages: at most RECEIPT_IMAGES_MAX, none with longer texts than RECEIPT_IMAGE_BYTES. `result` has
 * the form of the reference grader: {"stages": [{"image", "image_digest"}]}, or a list of such
 * objects. New reference; NULL: it reports none. */
json_t *receipt_images(const json_t *result);

/* Signs the receipt with that digest. */
void receipt_sign(const struct signing_key *key, const char *digest,
                  char signature[SIGNING_KEY_SIGNATURE_SIZE]);

/* The chain of a run. */
struct receipt_chain {
    uint32_t count;              /* of receipts so far */
    char head[SHA256_TEXT_SIZE]; /* the link of the last one; before the first: of the run's id */
};

/* Begins the chain of a run; then adds the receipts, by their digests, in the order of job ids. */
void receipt_chain_begin(struct receipt_chain *chain, const char *run);
void receipt_chain_add(struct receipt_chain *chain, const char *digest);

/* Signs the chain of that run as it is. */
void receipt_chain_sign(const struct signing_key *key, const struct receipt_chain *chain,
                        const char *run, char signature[SIGNING_KEY_SIGNATURE_SIZE]);

#endif
