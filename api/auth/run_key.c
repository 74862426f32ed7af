#include "api/auth/run_key.h"

#include <stdio.h>
#include <string.h>

#include "common/base/secret.h"

#define RUN_KEY_SETTING "run_key"

static const char run_key_plain_mark[] = " with plain ones";

/* Parses the stored value: "SECRET", or "SECRET with plain ones". */
static bool run_key_parse(const char *text, struct run_key *key)
{
    size_t length = sizeof key->secret - 1;
    if (strspn(text, "0123456789abcdef") != length)
        return false;
    key->has_plain = strcmp(text + length, run_key_plain_mark) == 0;
    memcpy(key->secret, text, length);
    key->secret[length] = '\0';
    return key->has_plain || text[length] == '\0';
}

enum bw_code run_key_agree(struct setting_store *settings, struct run_store *runs,
                           struct run_key *key, struct bw_error *error)
{
    char secret[sizeof key->secret], proposed[SETTING_SIZE], kept[SETTING_SIZE];
    bool has_runs, is_new;
    enum bw_code code = run_store_has_any(runs, &has_runs, error);
    if (code != BW_OK)
        return code;
    secret_random_hex(secret, sizeof secret);
    snprintf(proposed, sizeof proposed, "%s%s", secret, has_runs ? run_key_plain_mark : "");
    code = setting_store_agree(settings, RUN_KEY_SETTING, proposed, kept, &is_new, error);
    if (code != BW_OK)
        return code;
    if (!run_key_parse(kept, key))
        return bw_fail(error, BW_INTERNAL,
                       "the setting '" RUN_KEY_SETTING
                       "' in the collection 'settings' can't be read");
    return BW_OK;
}

void run_key_id(const struct run_key *key, const char *course, const char *idempotency_key,
                char id[RUN_ID_SIZE])
{
    const struct digest_part parts[] = {{course, strlen(course)},
                                        {idempotency_key, strlen(idempotency_key)}};
    char digest[SHA256_TEXT_SIZE];
    secret_keyed_digest(key->secret, parts, 2, digest);
    snprintf(id, RUN_ID_SIZE, "%.24s", digest);
}

void run_key_plain_id(const char *caller, const char *idempotency_key, char id[RUN_ID_SIZE])
{
    const struct digest_part parts[] = {{caller, strlen(caller)},
                                        {idempotency_key, strlen(idempotency_key)}};
    char digest[SHA256_TEXT_SIZE];
    secret_digest(parts, 2, digest);
    snprintf(id, RUN_ID_SIZE, "%.24s", digest);
}
