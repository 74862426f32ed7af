/*
 * document: reading fields out of BSON, for the stores alone. Absent or wrongly typed fields read
 * as the given default: all documents were written by Broadway, and documents of older versions
 * must still be readable. Pure; safe from any thread.
 */
#ifndef COMMON_DB_DOCUMENT_H
#define COMMON_DB_DOCUMENT_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Copies a text field, cut to size-1 bytes; "" if there is none. True if there was one. */
bool document_text(const bson_t *document, const char *key, char *text, size_t size);

/* A text field of any length. */
struct long_text {
    char *text; /* NULL: none; free() */
    size_t length;
};

/* Copies a text field into `found`, unless that holds one already. False: there is none. */
bool document_long_text(const bson_t *document, const char *key, struct long_text *found);

/* A number, whatever its BSON type. */
int64_t document_integer(const bson_t *document, const char *key, int64_t otherwise);

/* A boolean; `otherwise` if there is none. */
bool document_boolean(const bson_t *document, const char *key, bool otherwise);

/* UTC milliseconds; 0 if there is none. */
int64_t document_date(const bson_t *document, const char *key);

/* An ObjectId as 24 hex digits; false if there is none. `hex` has 25 bytes. */
bool document_oid(const bson_t *document, const char *key, char *hex);

/* The key of an array's element, as BSON wants it: "0", "1" and so on. Static, or in `buffer`. */
const char *document_key(size_t index, char buffer[16]);

/* A fresh random number that marks one request's write: if a duplicate _id's document has the same
 * nonce, the insert has succeeded before. */
int64_t nonce_new(void);

/* The field that holds it. */
#define DOCUMENT_NONCE "nonce"

#endif
