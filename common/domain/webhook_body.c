#include "common/domain/webhook_body.h"

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text_buffer.h"

/* A member of an object as text; "" if there is none. */
static const char *webhook_body_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

/* "Grading run 0123... (Week 3)" */
static void webhook_body_add_run(struct text_buffer *text, const json_t *run)
{
    const char *name = webhook_body_text(run, "name"),
               *assignment = webhook_body_text(run, "assignment");
    text_buffer_add_text(text, "Grading run ");
    text_buffer_add_text(text, webhook_body_text(run, "id"));
    if (name[0] != '\0' || assignment[0] != '\0') {
        text_buffer_add_text(text, " (");
        text_buffer_add_text(text, name[0] != '\0' ? name : assignment);
        text_buffer_add_text(text, ")");
    }
}

/* A number and what is counted: `one` behind 1, `many` behind other numbers. */
static void webhook_body_add_number(struct text_buffer *text, const json_t *object,
                                    const char *name, const char *one, const char *many)
{
    char part[80];
    json_int_t number = json_integer_value(json_object_get(object, name));
    snprintf(part, sizeof part, "%" JSON_INTEGER_FORMAT " %s", number, number == 1 ? one : many);
    text_buffer_add_text(text, part);
}

static void webhook_body_add_finished(struct text_buffer *text, const json_t *payload)
{
    const json_t *run = json_object_get(payload, "run"),
                 *students = json_object_get(run, "students");
    webhook_body_add_run(text, run);
    text_buffer_add_text(text, " is ");
    text_buffer_add_text(text, webhook_body_text(run, "state"));
    text_buffer_add_text(text, ": ");
    webhook_body_add_number(text, students, "succeeded", "student succeeded, ",
                            "students succeeded, ");
    webhook_body_add_number(text, students, "failed", "failed, ", "failed, ");
    webhook_body_add_number(text, students, "cancelled", "was cancelled.", "were cancelled.");
}

static void webhook_body_add_paused(struct text_buffer *text, const json_t *payload)
{
    const json_t *pause = json_object_get(payload, "pause");
    webhook_body_add_run(text, json_object_get(payload, "run"));
    text_buffer_add_text(text, " is paused by ");
    text_buffer_add_text(text, webhook_body_text(pause, "by"));
    if (webhook_body_text(pause, "note")[0] != '\0') {
        text_buffer_add_text(text, ": ");
        text_buffer_add_text(text, webhook_body_text(pause, "note"));
    }
}

static void webhook_body_add_failed(struct text_buffer *text, const json_t *payload)
{
    const json_t *job = json_object_get(payload, "job");
    webhook_body_add_run(text, json_object_get(payload, "run"));
    text_buffer_add_text(text, ": job ");
    text_buffer_add_text(text, webhook_body_text(job, "id"));
    text_buffer_add_text(text, " failed; at fault: ");
    text_buffer_add_text(text, webhook_body_text(job, "owner"));
    if (webhook_body_text(job, "reason")[0] != '\0') {
        text_buffer_add_text(text, "; ");
        text_buffer_add_text(text, webhook_body_text(job, "reason"));
    }
}

static void webhook_body_add_lost(struct text_buffer *text, const json_t *payload)
{
    const json_t *worker = json_object_get(payload, "worker");
    text_buffer_add_text(text, "Grader ");
    text_buffer_add_text(text, webhook_body_text(worker, "id"));
    text_buffer_add_text(text, " is lost; ");
    webhook_body_add_number(text, worker, "jobs", "of its jobs goes to another grader.",
                            "of its jobs go to other graders.");
}

static void webhook_body_add_missing(struct text_buffer *text, const json_t *payload)
{
    text_buffer_add_text(text, "No grader of the protocol ");
    text_buffer_add_text(text, webhook_body_text(payload, "protocol"));
    text_buffer_add_text(text, " is alive since ");
    text_buffer_add_text(text, webhook_body_text(payload, "since"));
    text_buffer_add_text(text, "; ");
    webhook_body_add_number(text, payload, "queued_jobs", "job waits.", "jobs wait.");
}

static void (*const webhook_sentences[])(struct text_buffer *text, const json_t *payload) = {
    [WEBHOOK_RUN_FINISHED] = webhook_body_add_finished,
    [WEBHOOK_RUN_PAUSED] = webhook_body_add_paused,
    [WEBHOOK_JOB_FAILED] = webhook_body_add_failed,
    [WEBHOOK_WORKER_LOST] = webhook_body_add_lost,
    [WEBHOOK_NO_WORKERS] = webhook_body_add_missing,
};

/* Slack reads these three characters as markup. */
static void webhook_body_escape(const char *text, struct text_buffer *escaped)
{
    for (; *text != '\0'; text++)
        if (*text == '&')
            text_buffer_add_text(escaped, "&amp;");
        else if (*text == '<')
            text_buffer_add_text(escaped, "&lt;");
        else if (*text == '>')
            text_buffer_add_text(escaped, "&gt;");
        else
            text_buffer_add(escaped, text, 1);
}

static char *webhook_body_sentence(const json_t *payload)
{
    struct text_buffer text = {.bytes = NULL};
    for (int kind = 0; kind < WEBHOOK_EVENTS; kind++)
        if (strcmp(webhook_body_text(payload, "event"),
                   webhook_event_name((enum webhook_event_kind)kind)) == 0)
            webhook_sentences[kind](&text, payload);
    return text_buffer_take(&text);
}

char *webhook_body(const char *payload, enum webhook_format format)
{
    struct text_buffer escaped = {.bytes = NULL};
    json_auto_t *object = NULL, *body = NULL;
    if (format == WEBHOOK_BROADWAY)
        return strdup(payload);
    object = json_loads(payload, 0, NULL);
    char *sentence = webhook_body_sentence(object);
    if (format == WEBHOOK_SLACK) {
        webhook_body_escape(sentence, &escaped);
        free(sentence);
        sentence = text_buffer_take(&escaped);
        body = json_pack("{s:s}", "text", sentence);
    } else {
        body = json_pack("{s:s,s:{s:[]}}", "content", sentence, "allowed_mentions", "parse");
    }
    free(sentence);
    return json_dumps(body, JSON_COMPACT);
}

void webhook_sign(const char *secret, int64_t seconds, const char *event_id, const char *body,
                  char signature[WEBHOOK_SIGNATURE_SIZE])
{
    unsigned char digest[SHA256_BYTES];
    char time[24], hex[SHA256_TEXT_SIZE];
    gnutls_hmac_hd_t hmac;
    snprintf(time, sizeof time, "%" PRId64, seconds);
    if (gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, secret, strlen(secret)) < 0)
        abort(); /* only without memory */
    gnutls_hmac(hmac, time, strlen(time));
    gnutls_hmac(hmac, ".", 1);
    gnutls_hmac(hmac, event_id, strlen(event_id));
    gnutls_hmac(hmac, ".", 1);
    gnutls_hmac(hmac, body, strlen(body));
    gnutls_hmac_deinit(hmac, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    snprintf(signature, WEBHOOK_SIGNATURE_SIZE, "t=%s,v1=%s", time, hex);
}
