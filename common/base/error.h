/*
 * error: the codes of all errors, and a sentence with the reason.
 *
 * A fallible function returns an enum bw_code and, when that is not BW_OK, fills the struct
 * bw_error that its caller passed last. The code decides how the caller continues and, in an
 * answer, the HTTP status; the sentence is for people. Nothing here allocates; everything is safe
 * from any thread.
 */
#ifndef COMMON_BASE_ERROR_H
#define COMMON_BASE_ERROR_H

#define BW_CODE_MAP(X)                                                \
    X(OK, 200, "ok")                                                  \
    X(PENDING, 202, "the answer follows later")                       \
    X(NO_CONTENT, 204, "there is nothing to say")                     \
    X(BAD_REQUEST, 400, "the request is not valid")                   \
    X(BAD_BODY, 400, "the body does not have the shape that it must") \
    X(UNAUTHORIZED, 401, "the request carries no valid credential")   \
    X(FORBIDDEN, 403, "this caller may not do that")                  \
    X(NOT_FOUND, 404, "there is nothing at this path")                \
    X(METHOD_NOT_ALLOWED, 405, "this path does not take that method") \
    X(CONFLICT, 409, "something else got there first")                \
    X(TOO_LARGE, 413, "the request is too large")                     \
    X(UPGRADE_REQUIRED, 426, "the request needs another protocol")    \
    X(TOO_MANY, 429, "too many requests")                             \
    X(NO_JOB, 498, "no jobs available")                               \
    X(INTERNAL, 500, "something went wrong here")                     \
    X(UNAVAILABLE, 503, "not now: the database can't be reached")

enum bw_code {
#define BW_CODE_ENUM(name, status, text) BW_##name,
    BW_CODE_MAP(BW_CODE_ENUM)
#undef BW_CODE_ENUM
};

enum { BW_ERROR_SIZE = 512 };

struct bw_error {
    char message[BW_ERROR_SIZE]; /* UTF-8, one sentence, never a secret; cut at a character boundary
                                  */
};

#define BW_CHECKED __attribute__((warn_unused_result))

/* Writes the formatted sentence into *error (which may be NULL) and returns `code`, so that a
 * refusal is one statement: return bw_fail(error, BW_BAD_REQUEST, "'%s' is not a number", text); */
enum bw_code bw_fail(struct bw_error *error, enum bw_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The HTTP status of `code`. */
int bw_code_status(enum bw_code code);

/* The default text of `code`. Static. */
const char *bw_code_text(enum bw_code code);

#endif
