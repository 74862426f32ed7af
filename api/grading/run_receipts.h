/*
 * run_receipts: answers with the receipts of all jobs of a run that has ended, chained in the order
 * of job ids, and with the signed head of the chain: the file that `scripts/broadway verify`
 * checks. docs/receipts.md defines it. Called by the handlers of both protocols, on the thread
 * pool; waits for the database.
 *
 * The chain is made when it is asked for first, and stored (common/store/receipt_store.h): what is
 * sent later is compared with it by whoever verifies the file. A job whose result no grader sent
 * has no receipt of its own; its receipt is made from its stored facts, each time with the same
 * text, and only the chain's signature covers it. So it is with a superseded job, also if its
 * holder has reported a result: the report counts for nothing, and may come after the chain.
 */
#ifndef API_GRADING_RUN_RECEIPTS_H
#define API_GRADING_RUN_RECEIPTS_H

#include "common/base/error.h"
#include "common/base/text_buffer.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

/* Answers {"version", "run_id", "count", "head", "key", "signature", "made_at", "receipts": [...]},
 * between the static texts `before` and `after`. Takes `run`, also if it fails. BW_CONFLICT: the
 * run has not ended; *phase is its phase; BW_NOT_FOUND: it is being removed; BW_UNAVAILABLE,
 * BW_INTERNAL. */
enum bw_code run_receipts_send(struct api *api, struct exchange *exchange, const struct run *run,
                               const char *before, const char *after, enum run_phase *phase,
                               struct bw_error *error) BW_CHECKED;

/* Appends {"receipt", "hash", "key", "signature"[, "link"]}. `link` NULL: not in a chain. */
void run_receipts_write(const struct stored_receipt *receipt, const char *link,
                        struct text_buffer *text);

/* GET receipts/key: answers with the public key, {"algorithm", "key", "pem"}. BW_UNAVAILABLE: this
 * replica does not know it yet. Does not wait. */
enum bw_code run_receipts_show_key(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

#endif
