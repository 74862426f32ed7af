#include "api/websocket/handshake.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_LENGTH = 24, SHA1_SIZE = 20 };

void socket_accept_value(const char *key, char accept[UPGRADE_ACCEPT_SIZE])
{
    char text[KEY_LENGTH + 64];
    uint8_t digest[SHA1_SIZE];
    gnutls_datum_t coded = {0};
    int length = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    const gnutls_datum_t raw = {digest, sizeof digest};
    if (gnutls_hash_fast(GNUTLS_DIG_SHA1, text, (size_t)length, digest) != 0 ||
        gnutls_base64_encode2(&raw, &coded) != 0)
        abort(); /* fails only without memory */
    snprintf(accept, UPGRADE_ACCEPT_SIZE, "%.*s", (int)coded.size, (const char *)coded.data);
    gnutls_free(coded.data);
}

/* Whether the comma-separated list in `header` contains the word. */
static bool header_has_word(const char *header, const char *word)
{
    size_t length = strlen(word);
    while (header != NULL && *header != '\0') {
        header += strspn(header, " \t,");
        size_t own = strcspn(header, " \t,");
        if (own == length && strncasecmp(header, word, length) == 0)
            return true;
        header += own;
    }
    return false;
}

enum bw_code socket_handshake(const struct exchange *exchange, const char *http_version,
                              char accept[UPGRADE_ACCEPT_SIZE], struct bw_error *error)
{
    const char *key = exchange_header(exchange, "Sec-WebSocket-Key"),
               *version = exchange_header(exchange, "Sec-WebSocket-Version");
    if (!header_has_word(exchange_header(exchange, "Upgrade"), "websocket") ||
        !header_has_word(exchange_header(exchange, "Connection"), "upgrade"))
        return bw_fail(error, BW_BAD_REQUEST, "this path is for websockets: ask for an upgrade");
    if (strcmp(http_version, "HTTP/1.1") != 0)
        return bw_fail(error, BW_BAD_REQUEST, "a websocket needs HTTP/1.1");
    if (version == NULL || strcmp(version, "13") != 0)
        return bw_fail(error, BW_UPGRADE_REQUIRED, "a websocket needs Sec-WebSocket-Version: 13");
    if (key == NULL || strlen(key) != KEY_LENGTH)
        return bw_fail(error, BW_BAD_REQUEST, "Sec-WebSocket-Key must have 24 characters");
    socket_accept_value(key, accept);
    return BW_OK;
}
