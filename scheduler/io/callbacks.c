#include "scheduler/io/callbacks.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"

enum {
    CONNECT_TIMEOUT_MS = 1000,
    TIMEOUT_MS = 3000,
    IDLE_WAIT_MS = 60000,
    REPLY_LIMIT = 16 * 1024 * 1024
};

struct callbacks {
    CURLM *multi;
    char authorization[640];
    struct inbox *inbox;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    struct callback *head, **change_stream;
    bool is_closing;
};

struct callback *callback_new(size_t hand_outs)
{
    struct callback *callback = bw_alloc(sizeof *callback);
    callback->sent = bw_alloc_array(hand_outs, sizeof *callback->sent);
    return callback;
}

void callback_free(struct callback *callback)
{
    free(callback->body);
    free(callback->sent);
    free(callback->reply);
    free(callback);
}

static size_t take_reply(char *bytes, size_t size, size_t count, void *context)
{
    struct callback *callback = context;
    size_t length = size * count;
    if (callback->reply_length + length > REPLY_LIMIT)
        return 0;
    char *grown = realloc(callback->reply, callback->reply_length + length + 1);
    if (grown == NULL)
        return 0;
    memcpy(grown + callback->reply_length, bytes, length);
    callback->reply = grown;
    callback->reply_length += length;
    grown[callback->reply_length] = '\0';
    return length;
}

static void callbacks_begin(struct callbacks *callbacks, struct callback *callback)
{
    CURL *easy = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, callbacks->authorization);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    if (easy == NULL || headers == NULL)
        abort();
    callback->easy = easy;
    callback->headers = headers;
    curl_easy_setopt(easy, CURLOPT_URL, callback->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, callback->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(callback->body));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, callback);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, callback);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_multi_add_handle(callbacks->multi, easy);
}

static void give_back(struct callbacks *callbacks, struct callback *callback)
{
    struct event *event = event_new(EVENT_CALLBACK, callback->generation);
    event->callback = callback;
    inbox_post(callbacks->inbox, event);
}

/* Takes a callback off libcurl and gives it back to the core. */
static void callbacks_finish(struct callbacks *callbacks, struct callback *callback,
                             bool is_answered)
{
    if (callback->is_first_try && FAILPOINT_FAILS("callback_answer"))
        is_answered = false;
    if (is_answered)
        curl_easy_getinfo(callback->easy, CURLINFO_RESPONSE_CODE, &callback->status);
    curl_multi_remove_handle(callbacks->multi, callback->easy);
    curl_easy_cleanup(callback->easy);
    curl_slist_free_all(callback->headers);
    give_back(callbacks, callback);
}

static void finish_done(struct callbacks *callbacks)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(callbacks->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        bool is_answered = message->data.result == CURLE_OK;
        struct callback *callback;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&callback);
        callbacks_finish(callbacks, callback, is_answered);
    }
}

/* Takes what was posted. */
static struct callback *callbacks_take_posted(struct callbacks *callbacks, bool *is_closing)
{
    pthread_mutex_lock(&callbacks->mutex);
    struct callback *posted = callbacks->head;
    callbacks->head = NULL;
    callbacks->change_stream = &callbacks->head;
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
        struct callback *callback = callbacks_take_posted(callbacks, &is_closing);
        if (is_closing && callback == NULL && running == 0)
            return NULL;
        while (callback != NULL) {
            struct callback *following = callback->next;
            if (FAILPOINT_FAILS("callback") ||
                (callback->is_first_try && FAILPOINT_FAILS("callback_first_try")))
                give_back(callbacks, callback);
            else
                callbacks_begin(callbacks, callback);
            callback = following;
        }
        curl_multi_perform(callbacks->multi, &running);
        finish_done(callbacks);
        curl_multi_poll(callbacks->multi, NULL, 0, is_closing ? 10 : IDLE_WAIT_MS, NULL);
    }
}

enum bw_code callbacks_open(const char *token, struct inbox *inbox, struct callbacks **callbacks,
                            struct bw_error *error)
{
    struct callbacks *opened = bw_alloc(sizeof *opened);
    opened->inbox = inbox;
    opened->change_stream = &opened->head;
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
    callback->next = NULL;
    pthread_mutex_lock(&callbacks->mutex);
    *callbacks->change_stream = callback;
    callbacks->change_stream = &callback->next;
    pthread_mutex_unlock(&callbacks->mutex);
    curl_multi_wakeup(callbacks->multi);
}
