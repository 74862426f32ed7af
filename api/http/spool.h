/*
 * spool: the body of a route with BODY_FILE: a file that is longer than what is held in memory. It
 * is written to an unlinked temporary file in $TMPDIR, or /tmp, while it is received, and its
 * SHA-256 is computed. The place is taken before the body is read: at most SPOOL_MAX files of
 * clients, and as many of graders that this replica knows, are received and stored at a time. A
 * grader that it doesn't know, which may be anybody, has one of SPOOL_UNKNOWN_MAX places.
 *
 * Caller: the HTTP server, on its threads. A write goes to the system's page cache. A spool belongs
 * to one thread at a time; the places are safe from any thread.
 */
#ifndef API_HTTP_SPOOL_H
#define API_HTTP_SPOOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/secret.h"

enum { SPOOL_MAX = 16, SPOOL_UNKNOWN_MAX = 4 };

enum spool_sender { SPOOL_CLIENT, SPOOL_GRADER, SPOOL_UNKNOWN, SPOOL_SENDERS };

/* The places that are taken; zeroed at first. */
struct spool_places {
    atomic_size_t taken[SPOOL_SENDERS];
};

struct spool;

/* The body of a route with BODY_FILE. */
struct received_file {
    int fd; /* to be read by pread from offset 0 */
    int64_t size;
    char hex[SHA256_TEXT_SIZE]; /* the SHA-256 of its bytes */
};

/* Takes a place, and creates the temporary file. BW_UNAVAILABLE: there is no place, or no file can
 * be created. `places` must outlive the spool. */
enum bw_code spool_open(struct spool_places *places, enum spool_sender sender, struct spool **spool,
                        struct bw_error *error) BW_CHECKED;

/* Adds the next bytes of the body. BW_TOO_LARGE: it would be longer than `limit`; BW_UNAVAILABLE:
 * the bytes can't be written. */
enum bw_code spool_append(struct spool *spool, const char *bytes, size_t length, uint64_t limit,
                          struct bw_error *error) BW_CHECKED;

/* BW_TOO_LARGE with the sentence for a file longer than `limit` bytes. */
enum bw_code spool_refuse_large(uint64_t limit, struct bw_error *error) BW_CHECKED;

/* The complete file; nothing may be added afterwards. Valid until the close. */
const struct received_file *spool_finish(struct spool *spool);

/* Deletes the temporary file and gives the place back. NULL is allowed. */
void spool_close(struct spool *spool);

#endif
