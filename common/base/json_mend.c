#include "common/base/json_mend.h"

#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/json.h"
#include "common/base/json_scan.h"

enum {
    NUMBER_SIZE = 400,
    CUT_SIZE = 100,
    NAME_SIZE = 64,       /* of a member to be found */
    FOUND_SIZE = 128,     /* of its value */
    LONG_MENDS = 65536,   /* at most this many bytes are replaced by longer text; others of their
                             kind become "?" */
    ENVELOPE_MEMBERS = 64 /* of each level; a message with more is refused */
};

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* `at` moves to `end`; the repaired text is appended to `out`. */
struct mender {
    const unsigned char *at, *end;
    char *out; /* own */
    size_t length, capacity;
    const struct json_mend_limits *limits;
    struct json_mend_report *report;
    unsigned depth;
    size_t values;   /* of the member of the envelope at hand */
    size_t total;    /* of all of them */
    size_t envelope; /* members of the message's own levels */
    bool is_short;   /* out of memory: nothing more is written */
};

/* ---- Writing ---- */

static void mend_put_bytes(struct mender *mender, const void *bytes, size_t length)
{
    if (mender->is_short || length == 0)
        return;
    if (mender->length + length > mender->capacity) {
        size_t capacity = 2 * (mender->length + length);
        char *grown = realloc(mender->out, capacity); /* its size is the sender's */
        mender->is_short = grown == NULL;
        if (grown == NULL)
            return;
        mender->out = grown;
        mender->capacity = capacity;
    }
    memcpy(mender->out + mender->length, bytes, length);
    mender->length += length;
}

static void mend_put_text(struct mender *mender, const char *text)
{
    mend_put_bytes(mender, text, strlen(text));
}

static void mend_count(struct mender *mender, enum json_mend kind)
{
    mender->report->counts[kind]++;
}

/* Writes `text` as the replacement. */
static void mend_put_instead(struct mender *mender, enum json_mend kind, const char *text)
{
    mend_count(mender, kind);
    mend_put_text(mender, text);
}

/* ---- Characters ---- */

/* The same for a byte whose replacement is longer. The repaired text must not be many times as
 * large: a text that consists mostly of such bytes has no use. */
static void mend_put_longer(struct mender *mender, enum json_mend kind, const char *text)
{
    mend_put_instead(mender, kind, mender->report->counts[kind] < LONG_MENDS ? text : "?");
}

static bool mend_is_continuation(const unsigned char *at, const unsigned char *end)
{
    return at < end && (*at & 0xC0) == 0x80;
}

/* How many bytes a character has by its first byte, and the least and the most that its second
 * byte may be; 0: no character begins so. */
static unsigned mend_character_shape(unsigned char first, unsigned char *least, unsigned char *most)
{
    *least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

/* How many bytes from `at` on belong together: a character, or the beginning of one. */
static size_t mend_take_character(const unsigned char *at, const unsigned char *end, bool *is_valid)
{
    unsigned char least, most;
    unsigned length = mend_character_shape(*at, &least, &most), taken = 1;
    if (length > 1 && at + 1 < end && at[1] >= least && at[1] <= most)
        for (taken = 2; taken < length && mend_is_continuation(at + taken, end);)
            taken++;
    *is_valid = length > 0 && taken == length;
    return taken;
}

static void mend_character(struct mender *mender)
{
    bool is_valid;
    size_t length = mend_take_character(mender->at, mender->end, &is_valid);
    if (is_valid)
        mend_put_bytes(mender, mender->at, length);
    else
        mend_put_longer(mender, JSON_MEND_BYTES, replacement);
    mender->at += length;
}

/* The four hex digits of \uXXXX at `at`; -1: there are none. */
static int mend_unit_value(const unsigned char *at, const unsigned char *end)
{
    int value = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = at[i] >= '0' && at[i] <= '9'   ? at[i] - '0'
                    : at[i] >= 'a' && at[i] <= 'f' ? at[i] - 'a' + 10
                    : at[i] >= 'A' && at[i] <= 'F' ? at[i] - 'A' + 10
                                                   : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static bool mend_is_high(int unit)
{
    return unit >= 0xD800 && unit < 0xDC00;
}

static bool mend_is_low(int unit)
{
    return unit >= 0xDC00 && unit < 0xE000;
}

/* \uXXXX, whose value is `unit`. */
static void mend_unit(struct mender *mender, int unit)
{
    bool is_pair = mend_is_high(unit) && mend_is_low(mend_unit_value(mender->at + 6, mender->end));
    size_t length = is_pair ? 12 : 6;
    if (unit == 0)
        mend_count(mender, JSON_MEND_NULS);
    else if (!is_pair && (mend_is_high(unit) || mend_is_low(unit)))
        mend_put_instead(mender, JSON_MEND_SURROGATES, replacement);
    else
        mend_put_bytes(mender, mender->at, length);
    mender->at += length;
}

static void mend_escape(struct mender *mender)
{
    int unit = mend_unit_value(mender->at, mender->end);
    if (unit >= 0) {
        mend_unit(mender, unit);
        return;
    }
    if (mender->at + 1 < mender->end && memchr("\"\\/bfnrt", mender->at[1], 8) != NULL) {
        mend_put_bytes(mender, mender->at, 2);
        mender->at += 2;
        return;
    }
    mend_put_instead(mender, JSON_MEND_ESCAPES, "\\\\");
    mender->at++;
}

static void mend_control(struct mender *mender)
{
    char escape[8];
    unsigned char byte = *mender->at++;
    if (byte == 0) {
        mend_count(mender, JSON_MEND_NULS);
        return;
    }
    if (byte == '\n' || byte == '\t' || byte == '\r') {
        mend_put_instead(mender, JSON_MEND_CONTROLS,
                         byte == '\n'   ? "\\n"
                         : byte == '\t' ? "\\t"
                                        : "\\r");
        return;
    }
    snprintf(escape, sizeof escape, "\\u%04x", byte);
    mend_put_longer(mender, JSON_MEND_CONTROLS, escape);
}

/* From one quote to the other. False: there is no other. */
static bool mend_string(struct mender *mender)
{
    mend_put_bytes(mender, mender->at++, 1);
    while (mender->at < mender->end && *mender->at != '"') {
        if (*mender->at == '\\')
            mend_escape(mender);
        else if (*mender->at < 0x20)
            mend_control(mender);
        else
            mend_character(mender);
    }
    if (mender->at >= mender->end)
        return false;
    mend_put_bytes(mender, mender->at++, 1);
    return true;
}

/* ---- Numbers and words ---- */

static bool mend_is_word(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || byte == '-' || byte == '+' || byte == '.';
}

static bool mend_is_constant(const char *word)
{
    static const char *const constants[] = {"nan", "inf", "infinity"};
    word += *word == '-' || *word == '+';
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (strcasecmp(word, constants[i]) == 0)
            return true;
    return false;
}

/* Whether it is a number in JSON's syntax, and whether it has a fraction or an exponent. */
static bool mend_is_number(const char *word, bool *is_real)
{
    static const char digits[] = "0123456789";
    word += *word == '-';
    size_t length = strspn(word, digits);
    *is_real = false;
    if (length == 0 || (length > 1 && *word == '0'))
        return false;
    word += length;
    if (*word == '.') {
        *is_real = true;
        length = strspn(++word, digits);
        if (length == 0)
            return false;
        word += length;
    }
    if (*word != 'e' && *word != 'E')
        return *word == '\0';
    *is_real = true;
    word++;
    word += *word == '-' || *word == '+';
    length = strspn(word, digits);
    return length > 0 && word[length] == '\0';
}

static void mend_number(struct mender *mender, const char *word, bool is_real)
{
    errno = 0;
    if (!is_real && (strtoll(word, NULL, 10), errno == 0)) {
        mend_put_text(mender, word);
        return;
    }
    if (!isfinite(strtod(word, NULL))) {
        mend_put_instead(mender, JSON_MEND_NUMBERS, "null");
        return;
    }
    mend_put_text(mender, word);
    if (!is_real)
        mend_put_instead(mender, JSON_MEND_INTEGERS, ".0");
}

/* A number, true, false, null, or what other languages write for numbers that JSON lacks. */
static bool mend_word(struct mender *mender)
{
    char word[NUMBER_SIZE];
    bool is_real;
    const unsigned char *start = mender->at;
    while (mender->at < mender->end && mend_is_word(*mender->at))
        mender->at++;
    size_t length = (size_t)(mender->at - start);
    bool is_cut = length >= sizeof word;
    snprintf(word, sizeof word, "%.*s", (int)(is_cut ? sizeof word - 1 : length),
             (const char *)start);
    if (mend_is_constant(word))
        mend_put_instead(mender, JSON_MEND_CONSTANTS, "null");
    else if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0 || strcmp(word, "null") == 0)
        mend_put_text(mender, word);
    else if (is_cut && (word[0] == '-' || (word[0] >= '0' && word[0] <= '9')))
        mend_put_instead(mender, JSON_MEND_NUMBERS, "null");
    else if (mend_is_number(word, &is_real))
        mend_number(mender, word, is_real);
    else
        return false;
    return true;
}

/* ---- Lists and objects ---- */

static void mend_skip_space(struct mender *mender)
{
    while (mender->at < mender->end &&
           (*mender->at == '\0' || strchr(" \t\r\n", *mender->at) != NULL))
        if (*mender->at++ == '\0')
            mend_count(mender, JSON_MEND_NULS);
}

/* Skips to the closing bracket `levels` levels up, without writing. False: there is none. */
static bool mend_skip_levels(struct mender *mender, size_t levels)
{
    bool in_string = false;
    for (; mender->at < mender->end; mender->at++) {
        unsigned char byte = *mender->at;
        if (in_string && byte == '\\')
            mender->at++;
        else if (byte == '"')
            in_string = !in_string;
        else if (!in_string && (byte == '[' || byte == '{'))
            levels++;
        else if (!in_string && (byte == ']' || byte == '}') && --levels == 0)
            return true;
    }
    return false;
}

/* In place of values nested too deep. */
static bool mend_replace_deep(struct mender *mender)
{
    char sentence[CUT_SIZE];
    if (!mend_skip_levels(mender, 0))
        return false;
    mender->at++;
    snprintf(sentence, sizeof sentence, "\"[cut: nested more than %d levels deep]\"",
             JSON_MAX_DEPTH);
    mend_put_instead(mender, JSON_MEND_DEPTH, sentence);
    return true;
}

/* In place of the members beyond the limit. */
static bool mend_cut_members(struct mender *mender, bool is_object, bool is_first)
{
    char sentence[CUT_SIZE];
    snprintf(sentence, sizeof sentence, "%s%s\"cut\":\"more than %zu values\"%s",
             is_first ? "" : ",", is_object ? "" : "{", mender->limits->max_values,
             is_object ? "" : "}");
    mend_put_instead(mender, JSON_MEND_VALUES, sentence);
    return mend_skip_levels(mender, 1);
}

static bool mend_value(struct mender *mender);

/* "name": value, or in a list only the value. */
static bool mend_member(struct mender *mender, bool is_object)
{
    mend_skip_space(mender);
    if (is_object) {
        if (mender->at >= mender->end || *mender->at != '"' || !mend_string(mender))
            return false;
        mend_skip_space(mender);
        if (mender->at >= mender->end || *mender->at != ':')
            return false;
        mend_put_bytes(mender, mender->at++, 1);
    }
    return mend_value(mender);
}

/* Whether another member is within the limit. All members of the envelope together may have twice
 * as many values as one. */
static bool mend_count_member(struct mender *mender)
{
    if (mender->depth > mender->limits->envelope)
        return ++mender->values <= mender->limits->max_values &&
               ++mender->total <= 2 * mender->limits->max_values;
    mender->values = 0;
    mender->envelope++;
    return true;
}

/* The content between the brackets. False: it is no JSON. */
static bool mend_members(struct mender *mender, bool is_object)
{
    unsigned char close = is_object ? '}' : ']';
    for (bool is_first = true;; is_first = false) {
        mend_skip_space(mender);
        if (mender->at >= mender->end)
            return false;
        if (*mender->at == close)
            return true;
        if (!is_first && *mender->at != ',')
            return false;
        if (mender->envelope > ENVELOPE_MEMBERS)
            return false;
        if (!mend_count_member(mender))
            return mend_cut_members(mender, is_object, is_first);
        if (!is_first)
            mend_put_bytes(mender, mender->at++, 1);
        if (!mend_member(mender, is_object))
            return false;
    }
}

static bool mend_container(struct mender *mender)
{
    if (mender->depth == JSON_MAX_DEPTH)
        return mend_replace_deep(mender);
    bool is_object = *mender->at == '{';
    mend_put_bytes(mender, mender->at++, 1);
    mender->depth++;
    bool is_whole = mend_members(mender, is_object);
    mender->depth--;
    if (!is_whole)
        return false;
    mend_put_text(mender, is_object ? "}" : "]");
    mender->at++;
    return true;
}

static bool mend_value(struct mender *mender)
{
    mend_skip_space(mender);
    if (mender->at >= mender->end)
        return false;
    if (*mender->at == '{' || *mender->at == '[')
        return mend_container(mender);
    return *mender->at == '"' ? mend_string(mender) : mend_word(mender);
}

/* ---- All of it ---- */

static bool mend_text(struct mender *mender)
{
    static const unsigned char byte_order_mark[] = {0xEF, 0xBB, 0xBF};
    size_t length = (size_t)(mender->end - mender->at);
    if (length >= sizeof byte_order_mark &&
        memcmp(mender->at, byte_order_mark, sizeof byte_order_mark) == 0)
        mender->at += sizeof byte_order_mark;
    if (!mend_value(mender))
        return false;
    mend_skip_space(mender);
    return mender->at == mender->end;
}

/* The last of equal keys counts. New reference, or NULL. */
static json_t *mend_load(const char *text, size_t length, struct json_mend_report *report)
{
    json_error_t reason;
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &reason);
    if (value != NULL || json_error_code(&reason) != json_error_duplicate_key)
        return value;
    report->counts[JSON_MEND_KEYS]++;
    return json_loadb(text, length, JSON_DECODE_ANY, &reason);
}

/* Accounts for the repaired text and for its parsed values. */
static enum bw_code mend_take_memory(const struct mender *mender, const struct json_limits *cost,
                                     struct bw_error *error)
{
    struct json_scan scan = {.count = 0};
    if (cost == NULL || cost->take == NULL)
        return BW_OK;
    json_scan_feed(&scan, mender->out, mender->length);
    return cost->take(cost->context, mender->length + scan.memory, error);
}

static enum bw_code mend_load_counted(const struct mender *mender, const struct json_limits *cost,
                                      json_t **value, struct bw_error *error)
{
    enum bw_code code = mend_take_memory(mender, cost, error);
    if (code == BW_OK)
        *value = mend_load(mender->out, mender->length, mender->report);
    return code;
}

enum bw_code json_parse_mended(const char *text, size_t length, const char *what,
                               const struct json_mend_limits *limits,
                               const struct json_limits *cost, json_t **value,
                               struct json_mend_report *report, struct bw_error *error)
{
    enum bw_code code = json_parse_within(text, length, what, cost, value, error);
    if (code == BW_OK || code == BW_UNAVAILABLE)
        return code;
    struct json_mend_report mended = *report;
    struct mender mender = {.at = (const unsigned char *)text,
                            .end = (const unsigned char *)text + length,
                            .limits = limits,
                            .report = &mended};
    struct bw_error refusal;
    json_t *parsed = NULL;
    enum bw_code taken = BW_OK;
    if (mend_text(&mender) && !mender.is_short)
        taken = mend_load_counted(&mender, cost, &parsed, &refusal);
    free(mender.out);
    if (mender.is_short)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    if (taken != BW_OK)
        return bw_fail(error, taken, "%s", refusal.message);
    if (parsed == NULL)
        return code;
    *report = mended;
    *value = parsed;
    return BW_OK;
}

json_t *json_string_mended(const char *text, size_t length, struct json_mend_report *report)
{
    json_t *string = memchr(text, '\0', length) == NULL ? json_stringn(text, length) : NULL;
    if (string != NULL)
        return string;
    struct mender mender = {.at = (const unsigned char *)text,
                            .end = (const unsigned char *)text + length,
                            .report = report};
    while (mender.at < mender.end) {
        if (*mender.at != '\0') {
            mend_character(&mender);
            continue;
        }
        mend_count(&mender, JSON_MEND_NULS);
        mender.at++;
    }
    if (!mender.is_short)
        string = json_stringn(mender.out != NULL ? mender.out : "", mender.length);
    free(mender.out);
    return string;
}

const char *json_mend_note(const struct json_mend_report *report, char note[JSON_NOTE_SIZE])
{
    static const char *const phrases[] = {
#define JSON_MEND_PHRASE(name, text) text,
        JSON_MEND_MAP(JSON_MEND_PHRASE)
#undef JSON_MEND_PHRASE
    };
    size_t length = 0;
    note[0] = '\0';
    for (size_t kind = 0; kind < JSON_MEND_KINDS; kind++) {
        char phrase[CUT_SIZE];
        if (report->counts[kind] == 0)
            continue;
        snprintf(phrase, sizeof phrase, "%zu %s", report->counts[kind], phrases[kind]);
        if (length + strlen(phrase) + sizeof "mended: " >= JSON_NOTE_SIZE)
            break;
        length += (size_t)snprintf(note + length, JSON_NOTE_SIZE - length, "%s%s",
                                   length == 0 ? "mended: " : ", ", phrase);
    }
    return note;
}

/* ---- The sender of a result ---- */

/* The end of the string that begins at `at`; `end` if it does not end. */
static const char *mend_string_end(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at < end ? at : end;
}

static const char *mend_skip_blanks(const char *at, const char *end)
{
    while (at < end && memchr(" \t\r\n", *at, 4) != NULL)
        at++;
    return at;
}

/* The character that \uXXXX stands for, of which `at` is the first digit; '\0': none of ASCII. */
static char mend_unescape_unicode(const char *at, const char *end)
{
    char digits[5] = "";
    if (end - at < 4)
        return '\0';
    memcpy(digits, at, 4);
    if (strspn(digits, "0123456789abcdefABCDEF") != 4)
        return '\0';
    unsigned long value = strtoul(digits, NULL, 16);
    return value < 0x80 ? (char)value : '\0';
}

/* The same for the escape whose backslash stands at *at, which moves to the escape's last one. */
static char mend_unescape(const char **at, const char *end)
{
    static const char letters[] = "\"\\/bfnrt", characters[] = "\"\\/\b\f\n\r\t";
    if (++*at >= end)
        return '\0';
    if (**at == 'u') {
        char character = mend_unescape_unicode(*at + 1, end);
        *at += character != '\0' ? 4 : 0;
        return character;
    }
    const char *letter = memchr(letters, **at, sizeof letters - 1);
    return letter != NULL ? characters[letter - letters] : '\0';
}

bool json_unescape_ascii(const char *text, size_t length, char *plain, size_t size)
{
    size_t written = 0;
    for (const char *at = text, *end = text + length; at < end; at++) {
        char character = *at == '\\' ? mend_unescape(&at, end) : *at;
        if (character == '\0' || written + 1 >= size)
            return false;
        plain[written++] = character;
    }
    plain[written] = '\0';
    return true;
}

/* Whether the string at..to (quotes included) equals `name`. */
static bool mend_is_named(const char *at, const char *to, const char *name)
{
    char plain[NAME_SIZE];
    return json_unescape_ascii(at + 1, (size_t)(to - at - 1), plain, sizeof plain) &&
           strcmp(plain, name) == 0;
}

/* Copies the string after the colon; `at` is after the name. */
static bool mend_take_value(const char *at, const char *end, char *value, size_t size)
{
    at = mend_skip_blanks(at, end);
    if (at >= end || *at != ':')
        return false;
    at = mend_skip_blanks(at + 1, end);
    if (at >= end || *at != '"')
        return false;
    const char *to = mend_string_end(at, end);
    char plain[FOUND_SIZE];
    if (to >= end || size > sizeof plain ||
        !json_unescape_ascii(at + 1, (size_t)(to - at - 1), plain, size))
        return false;
    memcpy(value, plain, strlen(plain) + 1);
    return true;
}

bool json_find_text(const char *text, size_t length, const char *name, unsigned levels, char *value,
                    size_t size)
{
    const char *end = text + length;
    size_t depth = 0;
    for (const char *at = text; at < end; at++) {
        if (*at == '{' || *at == '[')
            depth++;
        else if ((*at == '}' || *at == ']') && depth > 0)
            depth--;
        if (*at != '"')
            continue;
        const char *to = mend_string_end(at, end);
        if (to < end && depth == levels + 1 && mend_is_named(at, to, name) &&
            mend_take_value(to + 1, end, value, size))
            return true;
        at = to;
    }
    return false;
}
