/*
 * result_texts: what graders sent for the jobs of one run, as JSON text, read from the database in
 * the order of the jobs' slots, each once, some at a time: RESULT_PAGE_BYTES at most, or one result
 * that is longer. Waits for the database: for the thread pool's threads. Not safe for two threads
 * at a time.
 */
#ifndef API_GRADING_RESULT_TEXTS_H
#define API_GRADING_RESULT_TEXTS_H

#include <stdint.h>

#include "api/grading/run_status.h"
#include "common/base/error.h"
#include "common/store/result_store.h"
#include "common/base/text_buffer.h"

enum { RESULT_PAGE_BYTES = 512 * 1024, RESULT_PAGE_MAX = 64 };

struct result_texts;

/* `run` and `facts` are borrowed, until it is freed. */
struct result_texts *result_texts_new(struct result_store *store, const struct run *run,
                                      const struct job_fact *facts);
void result_texts_free(struct result_texts *texts); /* NULL is fine */

/* Adds the result of the job in `slot`, which has an outcome; of one that no grader ended, the
 * reason. Behind it, if it was mended or cut, a member "note". Of the jobs up to `end` the results
 * may be read along. BW_UNAVAILABLE: the database can't be reached, or the result was removed
 * meanwhile. */
enum bw_code result_texts_add(struct result_texts *texts, uint32_t slot, uint32_t end,
                              struct text_buffer *text, struct bw_error *error) BW_CHECKED;

/* How much memory they take that were read along and not added yet. */
size_t result_texts_held(const struct result_texts *texts);

#endif
