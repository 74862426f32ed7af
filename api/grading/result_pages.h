/*
 * result_pages: reads the graders' results of one run's jobs from the database, as JSON text. Each
 * is read once, in the order of the jobs' slots, in pages of at most RESULT_PAGE_BYTES, or of one
 * longer result. Waits for the database, so it is used on the thread pool. For one thread at a
 * time.
 */
#ifndef API_GRADING_RESULT_PAGES_H
#define API_GRADING_RESULT_PAGES_H

#include <stdint.h>

#include "api/grading/run_status.h"
#include "common/base/error.h"
#include "common/store/result_store.h"
#include "common/base/text_buffer.h"

enum { RESULT_PAGE_BYTES = 512 * 1024, RESULT_PAGE_MAX = 64 };

struct result_pages;

/* Bytes for reading results with their texts: a reply that the database's driver holds, beside the
 * results that are copied from it, and four copies of the longest result (the document, its text,
 * the page, the part). */
size_t result_pages_need(size_t max_result_bytes);

/* Appends a result that was read with its text: the grader's result as JSON, or the reason why
 * there is none, or null; then the members "superseded_by", "reported", "note", "files", "score",
 * "max_score", "tests" and "signature" that it has, each with a comma before. */
void result_pages_write(const struct result *result, struct text_buffer *text);

/* Returns a new object, never NULL. Borrows all arguments until result_pages_free. */
struct result_pages *result_pages_new(struct result_store *store, const struct run *run,
                                      const struct job_fact *facts);
void result_pages_free(struct result_pages *texts); /* NULL is allowed */

/* Appends the result of the job in `slot`, which must have an outcome, to `text`; if the job has no
 * grader's result, the reason. If the result was repaired or cut, a member "note" follows; then
 * "files", "score", "max_score", "tests" and "signature", as far as it has them. Results of the
 * jobs up to `end` may be read ahead. BW_UNAVAILABLE: the database can't be reached, or the result
 * was removed in the meantime. */
enum bw_code result_pages_add(struct result_pages *texts, uint32_t slot, uint32_t end,
                              struct text_buffer *text, struct bw_error *error) BW_CHECKED;

/* Bytes of results that were read ahead and not added yet. */
size_t result_pages_held(const struct result_pages *texts);

#endif
