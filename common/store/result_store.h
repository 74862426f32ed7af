/*
 * result_store: collection job_results: how a job ended, once; _id is the job id. The API inserts a
 * grader's, the scheduler those of jobs given up, cancelled or without stages. The first insert
 * counts; nothing ever changes one. Safe from any thread.
 */
#ifndef COMMON_STORE_RESULT_STORE_H
#define COMMON_STORE_RESULT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/db/group_commit.h"
#include "common/domain/job.h"

struct result_store;

enum { DIGEST_SIZE = 65, REASON_SIZE = 256, NOTE_SIZE = 512 };

struct result {
    char job[JOB_ID_SIZE];
    enum job_outcome outcome;
    char worker[WORKER_ID_SIZE]; /* "" if the scheduler wrote it */
    uint32_t attempts; /* leases that counted so far, as far as the writer knew; 0: not known */
    char reason[REASON_SIZE]; /* for people; "" if the outcome is what a grader said */
    char note[NOTE_SIZE];     /* for people: what was mended or cut in what the grader sent; "" */
    bool is_silent;           /* the grader sent no output with it: neither stdout nor stderr */
    char digest[DIGEST_SIZE]; /* of result, success and logs as sent: tells a retry from another
                                 result */
    int64_t finished_ms;      /* database date */
    char *text; /* the result as JSON text, or NULL; owned where read, borrowed where inserted */
    size_t text_length;
};

struct result_commit {
    struct commit_item item; /* first; private to the store */
    struct result result;    /* text must live until settled */
    int64_t nonce;
    /* Called once from the store's thread. `existing` (borrowed, without text) only with
     * COMMIT_DUPLICATE. */
    void (*settled)(struct result_commit *commit, enum commit_outcome outcome,
                    const struct result *existing);
    void *context;
};

/* `fence`: see group_commit.h. */
enum bw_code result_store_open(struct database *database, struct fence fence,
                               struct result_store **store, struct bw_error *error) BW_CHECKED;
void result_store_close(struct result_store *store);

/* Inserts with the next batch, trying for `try_ms`. finished_ms is filled with the database's date.
 */
void result_store_insert(struct result_store *store, struct result_commit *commit, int64_t try_ms);

/* Reads the results of `count` jobs; `with_text` as wanted; `each` borrows. */
enum bw_code result_store_read(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                               size_t count, bool with_text,
                               void (*each)(const struct result *result, void *context),
                               void *context, struct bw_error *error) BW_CHECKED;

/* Deletes the results of `count` jobs. May be repeated. */
enum bw_code result_store_delete(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                 size_t count, struct bw_error *error) BW_CHECKED;

/* For the change stream (text stays NULL). False if the document is no result. */
bool result_from_document(const bson_t *document, struct result *result);

#endif
