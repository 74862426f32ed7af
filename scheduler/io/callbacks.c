#include "scheduler/io/callbacks.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/domain/hand_out_outcome.h"

enum {
    CONNECT_TIMEOUT_MS = 1000,
    TIMEOUT_MS = 3000,
    IDLE_WAIT_MS = 60000,
    REPLY_LIMIT = 16 * 1024 * 1024
};

/* A callback from its post until it is answered or has failed. */
struct transfer {
    struct callback *callback;
    CURL *easy; /* while in flight */
    struct curl_slist *headers;
    struct transfer *next;
};

struct callbacks {
    CURLM *multi;
    char authorization[640];
    struct inbox *inbox;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all fields below */
    struct transfer *head, **end;
    bool is_closing;
};

static size_t take_reply(char *bytes, size_t size, size_t count, void *context)
{
    struct callback *callback = context;
    size_t length = size * count;
    if (callback->reply_length + length > REPLY_LIMIT)
        return 0;
    callback->reply = bw_grow(callback->reply, callback->reply_length + length + 1, 1);
    memcpy(callback->reply + callback->reply_length, bytes, length);
    callback->reply_length += length;
    callback->reply[callback->reply_length] = '\0';
    return length;
}

static void callbacks_begin(struct callbacks *callbacks, struct transfer *transfer)
{
    struct callback *callback = transfer->callback;
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, callbacks->authorization);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, HAND_OUT_OUTCOMES_HEADER ": " HAND_OUT_LATER);
    headers = curl_slist_append(headers, "Expect:");
    if (callback->traceparent[0] != '\0') {
        char traceparent[sizeof TRACEPARENT_HEADER + 1 + TRACEPARENT_SIZE];
        snprintf(traceparent, sizeof traceparent, TRACEPARENT_HEADER ": %s", callback->traceparent);
        headers = curl_slist_append(headers, traceparent);
    }
    if (easy == NULL || headers == NULL)
        abort();
    transfer->easy = easy;
    transfer->headers = headers;
    curl_easy_setopt(easy, CURLOPT_URL, callback->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, callback->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(callback->body));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, callback);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_multi_add_handle(callbacks->multi, easy);
}

static void callbacks_post_event(struct callbacks *callbacks, struct transfer *transfer)
{
    struct event *event = event_new(EVENT_CALLBACK, transfer->callback->generation);
    event->callback = transfer->callback;
    free(transfer);
    inbox_post(callbacks->inbox, event);
}

/* Removes a callback from libcurl and posts it to the core's inbox. */
static void callbacks_finish(struct callbacks *callbacks, struct transfer *transfer,
                             bool is_answered)
{
    if (transfer->callback->is_first_try && FAILPOINT_FAILS("callback_answer"))
        is_answered = false;
    if (is_answered)
        curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &transfer->callback->status);
    curl_multi_remove_handle(callbacks->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    curl_slist_free_all(transfer->headers);
    callbacks_post_event(callbacks, transfer);
}

static void callbacks_finish_done(struct callbacks *callbacks)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(callbacks->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        bool is_answered = message->data.result == CURLE_OK;
        struct transfer *transfer;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
        callbacks_finish(callbacks, transfer, is_answered);
    }
}

/* Takes the callbacks that were posted. */
static struct transfer *callbacks_take_posted(struct callbacks *callbacks, bool *is_closing)
{
    pthread_mutex_lock(&callbacks->mutex);
    struct transfer *posted = callbacks->head;
    callbacks->head = NULL;
    callbacks->end = &callbacks->head;
    *is_closing = callbacks->is_closing;
    pthread_mutex_unlock(&callbacks->mutex);
    return posted;
}

static void *callbacks_work(void *context)
{
    struct callbacks *callbacks = context;
    int running = 0;
    for (;;) {
        bool is_closing;
        struct transfer *transfer = callbacks_take_posted(callbacks, &is_closing);
        if (is_closing && transfer == NULL && running == 0)
            return NULL;
        while (transfer != NULL) {
            struct transfer *following = transfer->next;
            if (FAILPOINT_FAILS("callback") ||
                (transfer->callback->is_first_try && FAILPOINT_FAILS("callback_first_try")))
                callbacks_post_event(callbacks, transfer);
            else
                callbacks_begin(callbacks, transfer);
            transfer = following;
        }
        curl_multi_perform(callbacks->multi, &running);
        callbacks_finish_done(callbacks);
        curl_multi_poll(callbacks->multi, NULL, 0, is_closing ? 10 : IDLE_WAIT_MS, NULL);
    }
}

enum bw_code callbacks_open(const char *token, struct inbox *inbox, struct callbacks **callbacks,
                            struct bw_error *error)
{
    struct callbacks *opened = bw_alloc(sizeof *opened);
    opened->inbox = inbox;
    opened->end = &opened->head;
    snprintf(opened->authorization, sizeof opened->authorization, "Authorization: Bearer %s",
             token);
    opened->multi = curl_multi_init();
    pthread_mutex_init(&opened->mutex, NULL);
    if (opened->multi == NULL ||
        pthread_create(&opened->thread, NULL, callbacks_work, opened) != 0) {
        pthread_mutex_destroy(&opened->mutex);
        curl_multi_cleanup(opened->multi); /* NULL is fine */
        free(opened);
        return bw_fail(error, BW_INTERNAL, "no thread could be started for callbacks");
    }
    *callbacks = opened;
    return BW_OK;
}

void callbacks_close(struct callbacks *callbacks)
{
    if (callbacks == NULL)
        return;
    pthread_mutex_lock(&callbacks->mutex);
    callbacks->is_closing = true;
    pthread_mutex_unlock(&callbacks->mutex);
    curl_multi_wakeup(callbacks->multi);
    pthread_join(callbacks->thread, NULL);
    curl_multi_cleanup(callbacks->multi);
    pthread_mutex_destroy(&callbacks->mutex);
    free(callbacks);
}

void callbacks_post(struct callbacks *callbacks, struct callback *callback)
{
    struct transfer *transfer = bw_alloc(sizeof *transfer);
    transfer->callback = callback;
    pthread_mutex_lock(&callbacks->mutex);
    *callbacks->end = transfer;
    callbacks->end = &transfer->next;
    pthread_mutex_unlock(&callbacks->mutex);
    curl_multi_wakeup(callbacks->multi);
}
