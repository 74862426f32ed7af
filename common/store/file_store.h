/*
 * file_store: files of runs and jobs: bytes that are stored once per scope by their SHA-256.
 * The scope is "" for the classic protocol, and the course's name for a course.
 *
 *   files.files    one document per stored file, _id "<scope>/<hex>". `content` names its chunks.
 *   files.chunks   its pieces, _id "<content>/<number>", in the form of GridFS.
 *   file_uploads   contents whose file is not stored yet, or is being removed: a crash leaves one.
 *   file_uses      which run uses which file, _id "<run>/<scope>/<hex>".
 *
 * A content is "<scope>/<hex>/<24 random hex digits>": each upload writes chunks of its own, and
 * the first insert into files.files decides whose are kept. So a file is there as a whole or not at
 * all. common/store/file_removal.h removes what nothing uses; a file without uses may be removed at
 * any time, so callers that store a file's name write a use first.
 *
 * Callers: the API's handlers; retention. Everything waits for the database, and is safe from any
 * thread.
 */
#ifndef COMMON_STORE_FILE_STORE_H
#define COMMON_STORE_FILE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/base/secret.h"
#include "common/db/database.h"
#include "common/domain/job.h"

enum {
    FILE_SCOPE_SIZE = WORKER_ID_SIZE, /* like a course's name */
    FILE_ID_SIZE = FILE_SCOPE_SIZE + SHA256_TEXT_SIZE,
    FILE_CONTENT_SIZE = FILE_ID_SIZE + 25,
    FILE_CHUNK_BYTES = 128 * 1024
};

struct file_store;

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code file_store_open(struct database *database, struct file_store **store,
                             struct bw_error *error) BW_CHECKED;
void file_store_close(struct file_store *store);

/* A file's bytes to be stored. */
struct file_source {
    int fd; /* read by pread from offset 0; stays open */
    int64_t size;
    const char *hex; /* their SHA-256, which the caller has computed */
};

/* Stores a file. If it is stored already, only its date of use is renewed. BW_OK: it is stored
 * durably; BW_UNAVAILABLE: unknown, and may be repeated; BW_INTERNAL: `fd` can't be read. */
enum bw_code file_store_put(struct file_store *store, const char *scope,
                            const struct file_source *source, struct bw_error *error) BW_CHECKED;

/* The sizes of `count` files: sizes[i] is that of hex[i] in bytes, or -1 if it is not stored.
 * BW_OK, BW_UNAVAILABLE. */
enum bw_code file_store_sizes(struct file_store *store, const char *scope,
                              const char (*hex)[SHA256_TEXT_SIZE], size_t count, int64_t *sizes,
                              struct bw_error *error) BW_CHECKED;

/* ---- Uses ---- */

/* Records that `run` (a run's id) uses `count` files, and writes their sizes as file_store_sizes
 * does. A file with a size is kept until file_store_unuse; the others are not stored, and have no
 * use. Called before the run, or the result, that names the files is stored. May be repeated.
 * BW_OK, BW_UNAVAILABLE: some uses may be written. */
enum bw_code file_store_use(struct file_store *store, const char *run, const char *scope,
                            const char (*hex)[SHA256_TEXT_SIZE], size_t count, int64_t *sizes,
                            struct bw_error *error) BW_CHECKED;

/* Removes all uses of a run. May be repeated. BW_OK, BW_UNAVAILABLE. */
enum bw_code file_store_unuse(struct file_store *store, const char *run, struct bw_error *error)
    BW_CHECKED;

/* ---- Reading ---- */

/* A stored file, for reading it chunk by chunk. */
struct stored_file {
    char content[FILE_CONTENT_SIZE];
    int64_t size;
    int chunk_bytes;
    uint32_t chunks; /* how many it has: 0 of an empty file */
};

/* Finds a file. BW_OK; BW_NOT_FOUND: it is not stored; BW_UNAVAILABLE. */
enum bw_code file_store_find(struct file_store *store, const char *scope, const char *hex,
                             struct stored_file *file, struct bw_error *error) BW_CHECKED;

/* Reads a chunk, counted from 0. *bytes is new (free()), with *length bytes: file->chunk_bytes, of
 * the last one what is left. BW_OK; BW_NOT_FOUND: the file was removed in the meantime;
 * BW_UNAVAILABLE. */
enum bw_code file_store_read_chunk(struct file_store *store, const struct stored_file *file,
                                   uint32_t number, char **bytes, size_t *length,
                                   struct bw_error *error) BW_CHECKED;

#endif
