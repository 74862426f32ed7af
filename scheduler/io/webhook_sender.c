#include "scheduler/io/webhook_sender.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/secret.h"
#include "scheduler/io/webhook_request.h"
#include "scheduler/metrics.h"

enum {
    RETRIES_MAX = 24,     /* of those: webhooks that fail leave the others room */
    OWNER_MAX = 8,        /* of those: the webhooks of a course leave the others room */
    HEADS_AT_ONCE = 100,  /* webhooks that one pass looks at */
    PASS_PAUSE_MS = 1000, /* between two passes, unless the sender is woken */
    GO_ON_MS = 50,        /* after a pass that has not seen all */
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MOST_MS = 3600 * 1000,
    JITTER_PERCENT = 20
};

/* A delivery that is being sent: one at most of each webhook. */
struct sending {
    char webhook[WEBHOOK_ID_SIZE];    /* key */
    struct webhook_delivery delivery; /* owns its payload */
    struct webhook_request *request;
    bool is_retry;                  /* counted in `retries` */
    char owner[WEBHOOK_SCOPE_SIZE]; /* whose webhook it is: webhook_sender_owner */
    UT_hash_handle hh;
};

/* What a pass has seen of all pending deliveries. */
struct queue_view {
    size_t webhooks; /* that have one */
    int64_t oldest_ms;
};

struct webhook_sender {
    struct webhook_sender_settings settings;
    CURLM *multi;
    pthread_t thread;
    atomic_bool is_closing, is_woken;
    /* of the thread */
    struct sending *sending;
    unsigned retries;            /* of them */
    char after[WEBHOOK_ID_SIZE]; /* where the next pass goes on */
    int64_t pass_ms;             /* clock_boot_ms of the next pass */
    struct queue_view view;      /* of the passes since the beginning of the queue */
};

/* ---- Outcomes ---- */

/* 1 s, 2 s, 4 s and so on up to an hour, each a fifth shorter or longer by chance. */
static int64_t webhook_sender_backoff_ms(uint32_t attempts)
{
    char random[9];
    int64_t backoff_ms = BACKOFF_FIRST_MS;
    for (uint32_t i = 1; i < attempts && backoff_ms < BACKOFF_MOST_MS; i++)
        backoff_ms *= 2;
    if (backoff_ms > BACKOFF_MOST_MS)
        backoff_ms = BACKOFF_MOST_MS;
    secret_random_hex(random, sizeof random);
    int64_t chance = (int64_t)(strtoul(random, NULL, 16) % (2 * JITTER_PERCENT + 1));
    return backoff_ms * (100 - JITTER_PERCENT + chance) / 100;
}

static void webhook_sender_note_failure(const struct webhook_sender *sender,
                                        struct webhook_delivery *delivery, int64_t now_ms)
{
    bool is_over = now_ms - delivery->since_ms >= sender->settings.retry_ms;
    delivery->next_ms = now_ms + webhook_sender_backoff_ms(delivery->attempts);
    metric_add(sender->settings.metrics,
               is_over ? SCHEDULER_WEBHOOKS_GIVEN_UP : SCHEDULER_WEBHOOKS_FAILED, 1);
    if (!is_over)
        return;
    delivery->state = DELIVERY_GIVEN_UP;
    delivery->ended_ms = now_ms;
    log_warning("a webhook was given up", log_text("webhook", delivery->webhook),
                log_text("event_id", delivery->event_id), log_text("reason", delivery->error));
}

/* Records what became of an attempt. If that fails, it is sent again. */
static void webhook_sender_record(struct webhook_sender *sender, struct sending *sent,
                                  CURLcode code)
{
    struct webhook_delivery *delivery = &sent->delivery;
    struct bw_error error;
    int64_t now_ms = webhook_delivery_store_now_ms(sender->settings.deliveries);
    bool is_taken = webhook_request_result(sent->request, code, &delivery->status, delivery->error);
    delivery->attempts++;
    if (is_taken) {
        delivery->state = DELIVERY_DELIVERED;
        delivery->ended_ms = now_ms;
        metric_add(sender->settings.metrics, SCHEDULER_WEBHOOKS_DELIVERED, 1);
    } else {
        webhook_sender_note_failure(sender, delivery, now_ms);
    }
    FAILPOINT("before_delivery_record");
    if (webhook_delivery_store_save(sender->settings.deliveries, delivery, &error) != BW_OK)
        log_warning("the outcome of a webhook was not recorded",
                    log_text("webhook", delivery->webhook), log_text("reason", error.message));
}

/* Ends what is in flight for a webhook. */
static void webhook_sender_remove(struct webhook_sender *sender, struct sending *sent)
{
    curl_multi_remove_handle(sender->multi, webhook_request_handle(sent->request, NULL));
    webhook_request_free(sent->request);
    sender->retries -= sent->is_retry;
    HASH_DELETE(hh, sender->sending, sent);
    free(sent->delivery.payload);
    free(sent);
}

static void webhook_sender_finish_done(struct webhook_sender *sender)
{
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(sender->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        struct sending *sent;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&sent);
        webhook_sender_record(sender, sent, code);
        webhook_sender_remove(sender, sent);
        sender->pass_ms = 0; /* the next delivery of that webhook may follow */
    }
}

/* ---- Beginning ---- */

/* The deliveries of a webhook that was deleted meanwhile go too. */
static void webhook_sender_drop(struct webhook_sender *sender, const char *webhook)
{
    struct bw_error error;
    if (webhook_delivery_store_delete(sender->settings.deliveries, webhook, &error) != BW_OK)
        log_warning("the deliveries of a deleted webhook were not removed",
                    log_text("webhook", webhook), log_text("reason", error.message));
}

/* A course, with its runs; or all classic runs; or the cluster. */
static const char *webhook_sender_owner(const struct webhook *webhook)
{
    if (webhook->course[0] != '\0')
        return webhook->course;
    return webhook->run[0] != '\0' ? "/runs" : "/cluster"; /* no course has such a name */
}

/* Whether the owner has as many in flight as it may have. */
static bool webhook_sender_is_full(const struct webhook_sender *sender, const char *owner)
{
    const struct sending *sending, *following;
    unsigned count = 0;
    HASH_ITER (hh, sender->sending, sending, following)
        count += strcmp(sending->owner, owner) == 0;
    return count >= OWNER_MAX;
}

static void webhook_sender_send(struct webhook_sender *sender, const struct webhook *webhook,
                                const struct webhook_delivery *delivery)
{
    struct sending *sending = bw_alloc(sizeof *sending);
    memcpy(sending->webhook, delivery->webhook, sizeof sending->webhook);
    snprintf(sending->owner, sizeof sending->owner, "%s", webhook_sender_owner(webhook));
    sending->delivery = *delivery;
    sending->request = webhook_request_new(
        webhook, delivery, webhook_delivery_store_now_ms(sender->settings.deliveries),
        sender->settings.allowed);
    sending->is_retry = delivery->attempts > 0;
    sender->retries += sending->is_retry;
    HASH_ADD_STR(sender->sending, webhook, sending);
    curl_multi_add_handle(sender->multi, webhook_request_handle(sending->request, sending));
}

/* Sends the delivery if its owner has room; its payload is stolen. */
static void webhook_sender_begin(struct webhook_sender *sender,
                                 const struct webhook_delivery *delivery)
{
    struct webhook webhook;
    struct bw_error error;
    enum bw_code code = webhook_store_read(sender->settings.webhooks, delivery->webhook, &webhook,
                                           &error);
    if (code == BW_NOT_FOUND)
        webhook_sender_drop(sender, delivery->webhook);
    if (code == BW_OK && !webhook_sender_is_full(sender, webhook_sender_owner(&webhook)))
        webhook_sender_send(sender, &webhook, delivery);
    else
        free(delivery->payload);
}

/* Whether the first pending delivery of a webhook is to be sent now. One that can't be read waits
 * for a scheduler that can. */
static bool webhook_sender_is_due(const struct webhook_sender *sender,
                                  const struct webhook_delivery *head)
{
    const struct sending *sending;
    HASH_FIND_STR(sender->sending, head->webhook, sending);
    return head->payload != NULL && sending == NULL &&
           head->next_ms <= webhook_delivery_store_now_ms(sender->settings.deliveries) &&
           HASH_COUNT(sender->sending) < sender->settings.requests_max &&
           (head->attempts == 0 || sender->retries < RETRIES_MAX);
}

/* The end of the queue was reached: what was seen of it is published. */
static void webhook_sender_publish(struct webhook_sender *sender)
{
    int64_t now_ms = webhook_delivery_store_now_ms(sender->settings.deliveries);
    int64_t age_ms = sender->view.webhooks > 0 ? now_ms - sender->view.oldest_ms : 0;
    metric_set(sender->settings.metrics, SCHEDULER_WEBHOOKS_WAITING,
               (int64_t)sender->view.webhooks);
    metric_set(sender->settings.metrics, SCHEDULER_WEBHOOKS_OLDEST_SECONDS, age_ms / 1000);
    sender->view = (struct queue_view){0, 0};
    sender->after[0] = '\0';
}

/* Looks at the first pending delivery of the next webhook. False: there is none. */
static bool webhook_sender_step(struct webhook_sender *sender)
{
    struct webhook_delivery head = {.payload = NULL};
    struct bw_error unused;
    bool is_found = false;
    if (webhook_delivery_store_read_head(sender->settings.deliveries, sender->after, &head,
                                         &is_found, &unused) != BW_OK)
        return false;
    if (!is_found) {
        webhook_sender_publish(sender);
        return false;
    }
    memcpy(sender->after, head.webhook, sizeof sender->after);
    if (sender->view.webhooks++ == 0 || head.at_ms < sender->view.oldest_ms)
        sender->view.oldest_ms = head.at_ms;
    if (webhook_sender_is_due(sender, &head))
        webhook_sender_begin(sender, &head);
    else
        free(head.payload);
    return true;
}

/* Begins what is due. */
static void webhook_sender_pass(struct webhook_sender *sender)
{
    const struct fence *fence = &sender->settings.fence;
    int64_t now_ms = clock_boot_ms();
    if (atomic_exchange(&sender->is_woken, false))
        sender->pass_ms = 0;
    if (now_ms < sender->pass_ms)
        return;
    sender->pass_ms = now_ms + PASS_PAUSE_MS;
    if (!fence->is_open(fence->context)) {
        sender->view = (struct queue_view){0, 0};
        webhook_sender_publish(sender);
        return;
    }
    int seen = 0;
    while (seen < HEADS_AT_ONCE && webhook_sender_step(sender))
        seen++;
    if (seen == HEADS_AT_ONCE)
        sender->pass_ms = now_ms + GO_ON_MS;
}

static void *webhook_sender_work(void *context)
{
    struct webhook_sender *sender = context;
    int running;
    while (!atomic_load(&sender->is_closing)) {
        webhook_sender_pass(sender);
        curl_multi_perform(sender->multi, &running);
        webhook_sender_finish_done(sender);
        int64_t wait_ms = sender->pass_ms - clock_boot_ms();
        if (wait_ms > 0)
            curl_multi_poll(sender->multi, NULL, 0, (int)wait_ms, NULL);
    }
    return NULL;
}

enum bw_code webhook_sender_open(const struct webhook_sender_settings *settings,
                                 struct webhook_sender **sender, struct bw_error *error)
{
    struct webhook_sender *opened = bw_alloc(sizeof *opened);
    opened->settings = *settings;
    opened->multi = curl_multi_init();
    if (opened->multi == NULL ||
        pthread_create(&opened->thread, NULL, webhook_sender_work, opened) != 0) {
        curl_multi_cleanup(opened->multi); /* NULL is fine */
        free(opened);
        return bw_fail(error, BW_INTERNAL, "no thread could be started for webhooks");
    }
    *sender = opened;
    return BW_OK;
}

void webhook_sender_close(struct webhook_sender *sender)
{
    if (sender == NULL)
        return;
    atomic_store(&sender->is_closing, true);
    curl_multi_wakeup(sender->multi);
    pthread_join(sender->thread, NULL);
    struct sending *sent, *following;
    HASH_ITER (hh, sender->sending, sent, following)
        webhook_sender_remove(sender, sent);
    curl_multi_cleanup(sender->multi);
    free(sender);
}

void webhook_sender_wake(struct webhook_sender *sender)
{
    if (sender == NULL)
        return;
    atomic_store(&sender->is_woken, true);
    curl_multi_wakeup(sender->multi);
}
