#include "api/auth/receipt_key.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/config.h"
#include "common/base/log.h"

#define RECEIPT_KEY_SETTING "receipt_key"

enum { FILE_MAX = 4096 };

struct receipt_key {
    _Atomic(struct signing_key *) signing; /* set once; NULL until it is known */
};

static void receipt_key_set(struct receipt_key *key, struct signing_key *signing)
{
    atomic_store(&key->signing, signing);
    log_info("receipts are signed", log_text("public_key", signing_key_public(signing)));
}

static enum bw_code receipt_key_read_file(const char *path, struct signing_key **signing,
                                          struct bw_error *error)
{
    char text[FILE_MAX + 1];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "%s", strerror(errno));
    size_t length = fread(text, 1, sizeof text, file);
    bool is_read = ferror(file) == 0 && length <= FILE_MAX;
    fclose(file);
    if (!is_read)
        return bw_fail(error, BW_BAD_REQUEST, "the file can't be read, or is over %d bytes",
                       (int)FILE_MAX);
    return signing_key_read(text, length, signing, error);
}

enum bw_code receipt_key_open(const char *path, struct receipt_key **key, struct bw_error *error)
{
    struct signing_key *signing = NULL;
    struct bw_error reason;
    if (path != NULL && receipt_key_read_file(path, &signing, &reason) != BW_OK)
        return bw_fail(error, BW_BAD_REQUEST, "%s %.200s: %s", config_source("receipt-key"), path,
                       reason.message);
    struct receipt_key *opened = bw_alloc(sizeof *opened);
    if (signing != NULL)
        receipt_key_set(opened, signing);
    *key = opened;
    return BW_OK;
}

enum bw_code receipt_key_learn(struct receipt_key *key, struct setting_store *settings,
                               struct bw_error *error)
{
    char proposed[SIGNING_KEY_PEM_SIZE], kept[SETTING_SIZE];
    struct signing_key *signing;
    struct bw_error reason;
    bool is_new;
    if (atomic_load(&key->signing) != NULL)
        return BW_OK;
    signing_key_make(proposed);
    enum bw_code code = setting_store_agree(settings, RECEIPT_KEY_SETTING, proposed, kept, &is_new,
                                            error);
    if (code != BW_OK)
        return code;
    if (signing_key_read(kept, strlen(kept), &signing, &reason) != BW_OK)
        return bw_fail(error, BW_INTERNAL,
                       "the setting '" RECEIPT_KEY_SETTING
                       "' in the collection 'settings' can't be read: %s",
                       reason.message);
    receipt_key_set(key, signing);
    return BW_OK;
}

void receipt_key_close(struct receipt_key *key)
{
    if (key == NULL)
        return;
    signing_key_free(atomic_load(&key->signing));
    free(key);
}

const struct signing_key *receipt_key_get(const struct receipt_key *key)
{
    return atomic_load(&key->signing);
}
