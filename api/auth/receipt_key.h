/*
 * receipt_key: the key that signs receipts (common/domain/receipt.h), one for all replicas: that of
 * --receipt-key, else one that the first process makes and stores in the collection settings.
 * Opened by service. Safe from any thread; only receipt_key_learn waits.
 */
#ifndef API_AUTH_RECEIPT_KEY_H
#define API_AUTH_RECEIPT_KEY_H

#include "common/base/error.h"
#include "common/base/signing_key.h"
#include "common/store/setting_store.h"

struct receipt_key;

/* Reads the key of the file `path` (NULL: the stored one, by receipt_key_learn). On BW_OK *key is
 * new. BW_BAD_REQUEST with a sentence that names the flag and the file. */
enum bw_code receipt_key_open(const char *path, struct receipt_key **key, struct bw_error *error)
    BW_CHECKED;

/* Reads the stored key, or stores a new one; nothing if the key is known. Only for main's thread.
 * BW_UNAVAILABLE; BW_INTERNAL: the stored value can't be read. */
enum bw_code receipt_key_learn(struct receipt_key *key, struct setting_store *settings,
                               struct bw_error *error) BW_CHECKED;
void receipt_key_close(struct receipt_key *key); /* NULL is allowed */

/* The key, borrowed until receipt_key_close. NULL: it is not known yet. */
const struct signing_key *receipt_key_get(const struct receipt_key *key);

#endif
