/*
 * file_store_internal: the names that file_store.c, file_uses.c and file_removal.c share. Only for
 * them.
 */
#ifndef COMMON_STORE_FILE_STORE_INTERNAL_H
#define COMMON_STORE_FILE_STORE_INTERNAL_H

#include "common/store/file_store.h"
#include "common/store/store.h"

#define FILES_COLLECTION "files.files"
#define CHUNKS_COLLECTION "files.chunks"
#define UPLOADS_COLLECTION "file_uploads"
#define USES_COLLECTION "file_uses"

enum { FILE_USE_ID_SIZE = RUN_ID_SIZE + FILE_ID_SIZE, FILE_CHUNK_ID_SIZE = FILE_CONTENT_SIZE + 12 };

/* The states of a document of file_uploads. A content leaves UPLOADING once: to STORED by its
 * upload, which then inserts the file; or to REMOVING by file_removal. */
enum file_upload_state {
    FILE_UPLOAD_UPLOADING = 1,
    FILE_UPLOAD_STORED = 2,
    FILE_UPLOAD_REMOVING = 3
};

struct file_store {
    struct store base;
};

/* Writes the _id of a file, and returns it. */
const char *file_id_make(const char *scope, const char *hex, char id[FILE_ID_SIZE]);

/* Deletes the chunks of a content, then its document in file_uploads. May be repeated. */
enum bw_code file_content_delete(struct database *database, const char *content,
                                 struct bw_error *error) BW_CHECKED;

/* Moves a content's document in file_uploads from one state to another, and renews its date.
 * *is_moved: it was in the first state. */
enum bw_code file_upload_move(struct database *database, const char *content,
                              enum file_upload_state from, enum file_upload_state to,
                              bool *is_moved, struct bw_error *error) BW_CHECKED;

/* Adds the condition that an _id begins with `prefix` and "/". */
void file_append_prefix(bson_t *filter, const char *prefix);

#endif
