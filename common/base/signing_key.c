#include "common/base/signing_key.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

struct signing_key {
    gnutls_privkey_t private;
    char public[SIGNING_KEY_PUBLIC_SIZE];
    char public_pem[SIGNING_KEY_PEM_SIZE];
};

/* The calls that get here can fail only without memory or random numbers. */
static void signing_key_need(int code)
{
    if (code < 0)
        abort();
}

/* Copies `text`, which gnutls allocated, and frees it. */
static void signing_key_take_text(gnutls_datum_t *text, char *copy, size_t size)
{
    if (text->size >= size)
        abort();
    memcpy(copy, text->data, text->size);
    copy[text->size] = '\0';
    gnutls_free(text->data);
}

static void signing_key_write_base64(const gnutls_datum_t *bytes, char *text, size_t size)
{
    gnutls_datum_t encoded;
    signing_key_need(gnutls_base64_encode2(bytes, &encoded));
    signing_key_take_text(&encoded, text, size);
}

void signing_key_make(char pem[SIGNING_KEY_PEM_SIZE])
{
    gnutls_x509_privkey_t made;
    gnutls_datum_t text;
    signing_key_need(gnutls_x509_privkey_init(&made));
    signing_key_need(gnutls_x509_privkey_generate(
        made, GNUTLS_PK_EDDSA_ED25519, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_ED25519), 0));
    signing_key_need(gnutls_x509_privkey_export2_pkcs8(made, GNUTLS_X509_FMT_PEM, NULL,
                                                       GNUTLS_PKCS_PLAIN, &text));
    gnutls_x509_privkey_deinit(made);
    signing_key_take_text(&text, pem, SIGNING_KEY_PEM_SIZE);
}

/* Fills the texts of the public key. */
static void signing_key_show_public(struct signing_key *key)
{
    gnutls_pubkey_t public;
    gnutls_ecc_curve_t curve;
    gnutls_datum_t point, text;
    signing_key_need(gnutls_pubkey_init(&public));
    signing_key_need(gnutls_pubkey_import_privkey(public, key->private, 0, 0));
    signing_key_need(gnutls_pubkey_export_ecc_raw2(public, &curve, &point, NULL, 0));
    signing_key_need(gnutls_pubkey_export2(public, GNUTLS_X509_FMT_PEM, &text));
    gnutls_pubkey_deinit(public);
    signing_key_write_base64(&point, key->public, sizeof key->public);
    gnutls_free(point.data);
    signing_key_take_text(&text, key->public_pem, sizeof key->public_pem);
}

enum bw_code signing_key_read(const char *pem, size_t length, struct signing_key **key,
                              struct bw_error *error)
{
    gnutls_datum_t text = {(unsigned char *)(uintptr_t)pem, (unsigned)length};
    struct signing_key *read = bw_alloc(sizeof *read);
    signing_key_need(gnutls_privkey_init(&read->private));
    int code = gnutls_privkey_import_x509_raw(read->private, &text, GNUTLS_X509_FMT_PEM, NULL,
                                              GNUTLS_PKCS_PLAIN);
    bool is_usable = code >= 0 && gnutls_privkey_get_pk_algorithm(read->private, NULL) ==
                                      (int)GNUTLS_PK_EDDSA_ED25519;
    if (!is_usable) {
        signing_key_free(read);
        return bw_fail(error, BW_BAD_REQUEST,
                       code < 0 ? "there is no unencrypted private key in PEM"
                                : "the private key is of another kind than Ed25519");
    }
    signing_key_show_public(read);
    *key = read;
    return BW_OK;
}

void signing_key_free(struct signing_key *key)
{
    if (key == NULL)
        return;
    gnutls_privkey_deinit(key->private);
    free(key);
}

const char *signing_key_public(const struct signing_key *key)
{
    return key->public;
}

const char *signing_key_public_pem(const struct signing_key *key)
{
    return key->public_pem;
}

void signing_key_sign(const struct signing_key *key, const void *bytes, size_t length,
                      char signature[SIGNING_KEY_SIGNATURE_SIZE])
{
    const gnutls_datum_t data = {(unsigned char *)(uintptr_t)bytes, (unsigned)length};
    gnutls_datum_t made;
    signing_key_need(
        gnutls_privkey_sign_data2(key->private, GNUTLS_SIGN_EDDSA_ED25519, 0, &data, &made));
    signing_key_write_base64(&made, signature, SIGNING_KEY_SIGNATURE_SIZE);
    gnutls_free(made.data);
}
