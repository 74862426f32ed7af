/*
 * receipt_store: collection run_receipts: the chain of the receipts of a run that has ended; _id is
 * the run's id. The API inserts it when it is asked for first; the first insert counts, and nothing
 * changes it afterwards. It goes with its run. Safe from any thread; waits for the database.
 */
#ifndef COMMON_STORE_RECEIPT_STORE_H
#define COMMON_STORE_RECEIPT_STORE_H

#include <stdint.h>

#include "common/base/signing_key.h"
#include "common/db/database.h"
#include "common/domain/job.h"
#include "common/domain/receipt.h"

struct receipt_store;

struct run_receipts {
    char run[RUN_ID_SIZE];
    struct receipt_chain chain; /* of all jobs of the run */
    char signature[SIGNING_KEY_SIGNATURE_SIZE];
    char key[SIGNING_KEY_PUBLIC_SIZE]; /* the public key */
    int64_t made_ms;                   /* database date; filled by receipt_store_agree */
    /* A bit per job slot, from the lowest of each byte: whether the job had a result when the chain
     * was made. A job that never ran may get one later, from a cancel of it that was under way when
     * the run ended. NULL: all had. Owned; borrowed where inserted. */
    uint8_t *with_result;
    uint32_t with_result_length;
};

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code receipt_store_open(struct database *database, struct receipt_store **store,
                                struct bw_error *error) BW_CHECKED;
void receipt_store_close(struct receipt_store *store);

/* Frees what `receipts` owns, not itself. */
void run_receipts_clear(struct run_receipts *receipts);

/* Reads the chain of a run. BW_NOT_FOUND: none was made; BW_UNAVAILABLE. On BW_OK the caller calls
 * run_receipts_clear. */
enum bw_code receipt_store_read(struct receipt_store *store, const char *run,
                                struct run_receipts *receipts, struct bw_error *error) BW_CHECKED;

/* Inserts `proposed` unless the run has a chain; `kept` receives the one that counts. Of two
 * processes at once, one inserts and both read. As receipt_store_read. */
enum bw_code receipt_store_agree(struct receipt_store *store, const struct run_receipts *proposed,
                                 struct run_receipts *kept, struct bw_error *error) BW_CHECKED;

/* Deletes the chain of a run. May be repeated. */
enum bw_code receipt_store_delete(struct receipt_store *store, const char *run,
                                  struct bw_error *error) BW_CHECKED;

#endif
