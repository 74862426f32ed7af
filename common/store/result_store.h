/*
 * result_store: collection job_results: one immutable result per job; _id is the job id. The API
 * inserts the results of graders and of jobs that are cancelled alone, the scheduler those of jobs
 * that are given up, superseded, cancelled with their run, or without stages. The first insert
 * counts. What the holder of a superseded job reports, or that it does not go on, is added once,
 * beside the outcome. Safe from any thread.
 */
#ifndef COMMON_STORE_RESULT_STORE_H
#define COMMON_STORE_RESULT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/signing_key.h"
#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/failure_signature.h"
#include "common/domain/job.h"

struct result_store;

enum { DIGEST_SIZE = 65, NOTE_SIZE = 512 };

/* The receipt of a grader's result (common/domain/receipt.h). */
struct stored_receipt {
    char *text; /* NULL: none, or not read; owned where read, borrowed where inserted */
    char signature[SIGNING_KEY_SIGNATURE_SIZE];
    char key[SIGNING_KEY_PUBLIC_SIZE]; /* the public key */
};

struct result {
    char job[JOB_ID_SIZE];
    enum job_outcome outcome;
    char worker[WORKER_ID_SIZE];     /* "" if the scheduler wrote it */
    uint32_t attempts;               /* counted leases so far, as known to the writer; 0: unknown */
    char reason[REASON_SIZE];        /* for people; "" if a grader reported the outcome */
    char note[NOTE_SIZE];            /* for people: repairs and cuts of the grader's result; "" */
    enum job_owner owner;            /* of a failure; may be unsaid; or of a job cancelled alone */
    char superseded_by[JOB_ID_SIZE]; /* of a superseded job: the job that counts; "": not said */
    char holder[WORKER_ID_SIZE];     /* of a superseded job: the worker that may go on with it, and
                                        whose result is kept; "": nobody's */
    enum job_outcome reported;      /* by the holder, whose result is kept; it counts for nothing */
    int64_t held_until_ms;          /* database date: the holder reported, returned the job or was
                                       stopped; 0: it may go on */
    char signature[SIGNATURE_SIZE]; /* of a failure that a grader reported; "": none */
    bool is_silent;                 /* the grader sent neither stdout nor stderr */
    char digest[DIGEST_SIZE]; /* of result, success, logs and files as sent: distinguishes a retry
                                 from another result */
    int64_t started_ms;       /* database date: when the reporting worker got the job; 0: unsaid */
    int64_t finished_ms;      /* database date; where inserted, 0: that of the insert */
    char *text; /* the result as JSON text, or NULL; owned where read, borrowed where inserted */
    size_t text_length;
    char *files; /* the list of the result's files as JSON text, or NULL: none; as `text` */
    bool has_score, has_max_score; /* else the numbers mean nothing */
    double score, max_score;       /* as the grader sent them; finite */
    char *tests; /* the list of the result's tests as JSON text, or NULL: none; as `text` */
    struct stored_receipt receipt;
    bool has_drift; /* a reported image differs from the run's pin */
    char *drift;    /* which, as JSON text (common/domain/image_digest.h); read and owned as the
                       receipt's text */
};

struct result_commit {
    struct commit_item item; /* first; private to the store */
    struct result result;    /* text, files, tests, receipt, drift must live until completion */
    int64_t nonce;
    /* Called once from the store's thread. `existing` (borrowed, without text) only with
     * COMMIT_DUPLICATE. */
    void (*completed)(struct result_commit *commit, enum commit_outcome outcome,
                      const struct result *existing);
    void *context;
};

/* `fence`: see group_commit.h. */
enum bw_code result_store_open(struct database *database, struct fence fence,
                               struct result_store **store, struct bw_error *error) BW_CHECKED;
void result_store_close(struct result_store *store);

/* Inserts with the next batch, trying for `try_ms`. A finished_ms of 0 is filled with the
 * database's date. */
void result_store_insert(struct result_store *store, struct result_commit *commit, int64_t try_ms);

/* Whether the job of a stored result is superseded, and its holder may go on with it. */
bool result_is_held(const struct result *result);

/* The same, and `worker` is the holder. */
bool result_is_held_by(const struct result *result, const char *worker);

/* Ends the holding of a superseded job without a report of its holder. Nothing changes if it has
 * ended, or if there is no such result. BW_UNAVAILABLE: unknown. */
enum bw_code result_store_end_holding(struct result_store *store, const char *job,
                                      const char *holder, struct bw_error *error) BW_CHECKED;

/* Adds what the holder of a superseded job has reported: `result`, whose worker is the holder; its
 * receipt is left out, since the report does not count.
 * *is_kept: it was added now. False: there is no such result, or the holding has ended before.
 * BW_UNAVAILABLE: unknown. */
enum bw_code result_store_keep(struct result_store *store, const struct result *result,
                               bool *is_kept, struct bw_error *error) BW_CHECKED;

/* Reads one result, without text, files and tests. BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code result_store_read_one(struct result_store *store, const char *job,
                                   struct result *result, struct bw_error *error) BW_CHECKED;

/* Reads the results of `count` jobs; `with_text`: with text, files and tests; `each` borrows. None
 * has its receipt. */
enum bw_code result_store_read(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                               size_t count, bool with_text,
                               void (*each)(const struct result *result, void *context),
                               void *context, struct bw_error *error) BW_CHECKED;

/* The same, with receipts and drift, without text and files. */
enum bw_code result_store_read_receipts(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                        size_t count,
                                        void (*each)(const struct result *result, void *context),
                                        void *context, struct bw_error *error) BW_CHECKED;

/* Reads the list of a result's files. *files is new (free()); NULL: the job has no result, or the
 * result no files. */
enum bw_code result_store_read_files(struct result_store *store, const char *job, char **files,
                                     struct bw_error *error) BW_CHECKED;

/* Deletes the results of `count` jobs. May be repeated. */
enum bw_code result_store_delete(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                 size_t count, struct bw_error *error) BW_CHECKED;

/* For the change stream (text, files, tests, receipt and drift stay NULL). False if the document is
 * no result. */
bool result_from_document(const bson_t *document, struct result *result);

#endif
