#include "common/base/alloc.h"
#include "common/db/document.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>

bool document_text(const bson_t *document, const char *key, char *text, size_t size)
{
    bson_iter_t field;
    text[0] = '\0';
    if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_UTF8(&field))
        return false;
    uint32_t length;
    const char *value = bson_iter_utf8(&field, &length);
    size_t kept = length < size ? length : size - 1;
    memcpy(text, value, kept);
    text[kept] = '\0';
    return true;
}

bool document_long_text(const bson_t *document, const char *key, struct long_text *found)
{
    bson_iter_t field;
    uint32_t length;
    if (found->text != NULL || !bson_iter_init_find(&field, document, key) ||
        !BSON_ITER_HOLDS_UTF8(&field))
        return false;
    const char *text = bson_iter_utf8(&field, &length);
    found->text = bw_alloc((size_t)length + 1);
    memcpy(found->text, text, (size_t)length + 1);
    found->length = length;
    return true;
}

int64_t document_integer(const bson_t *document, const char *key, int64_t otherwise)
{
    bson_iter_t field;
    if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_NUMBER(&field))
        return otherwise;
    return bson_iter_as_int64(&field);
}

bool document_boolean(const bson_t *document, const char *key, bool otherwise)
{
    bson_iter_t field;
    if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_BOOL(&field))
        return otherwise;
    return bson_iter_bool(&field);
}

int64_t document_date(const bson_t *document, const char *key)
{
    bson_iter_t field;
    if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_DATE_TIME(&field))
        return 0;
    return bson_iter_date_time(&field);
}

bool document_oid(const bson_t *document, const char *key, char *hex)
{
    bson_iter_t field;
    if (!bson_iter_init_find(&field, document, key) || !BSON_ITER_HOLDS_OID(&field))
        return false;
    bson_oid_to_string(bson_iter_oid(&field), hex);
    return true;
}

const char *document_key(size_t index, char buffer[16])
{
    const char *key;
    bson_uint32_to_string((uint32_t)index, &key, buffer, 16);
    return key;
}

int64_t nonce_new(void)
{
    int64_t nonce;
    if (gnutls_rnd(GNUTLS_RND_NONCE, &nonce, sizeof nonce) < 0)
        abort(); /* without random numbers, nonces would not be unique */
    return nonce;
}
