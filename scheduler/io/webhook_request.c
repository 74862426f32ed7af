#include "scheduler/io/webhook_request.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/domain/webhook_body.h"

enum { CONNECT_TIMEOUT_MS = 5000, TIMEOUT_MS = 10000, ANSWER_LIMIT = 4096, HOST_SIZE = 256 };

struct webhook_request {
    CURL *easy;
    struct curl_slist *headers;
    char *body;
    char host[HOST_SIZE];
    const struct webhook_allow_list *allowed;
    size_t answered; /* bytes of the answer */
    bool is_long;    /* the answer is longer than what is read of it */
    bool is_refused; /* an address is not allowed */
};

/* What a receiver answers is of no use. */
static size_t webhook_request_drop(char *bytes, size_t size, size_t count, void *context)
{
    struct webhook_request *request = context;
    (void)bytes;
    request->answered += size * count;
    request->is_long = request->answered > ANSWER_LIMIT;
    return request->is_long ? 0 : size * count;
}

/* Courses see no addresses of this network: only the log has them. */
static void webhook_request_note_refused(struct webhook_request *request,
                                         const struct curl_sockaddr *address)
{
    char text[INET6_ADDRSTRLEN] = "unknown";
    const void *bytes = NULL;
    if (address->family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)&address->addr)->sin_addr;
    else if (address->family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)&address->addr)->sin6_addr;
    if (bytes != NULL)
        inet_ntop(address->family, bytes, text, sizeof text);
    request->is_refused = true;
    log_warning("the address of a webhook is not public, and --webhook-allow does not list it",
                log_text("host", request->host), log_text("address", text));
}

/* Called with each address that is about to be connected to. */
static curl_socket_t webhook_request_open_socket(void *context, curlsocktype purpose,
                                                 struct curl_sockaddr *address)
{
    struct webhook_request *request = context;
    if (purpose != CURLSOCKTYPE_IPCXN ||
        !webhook_address_is_allowed(request->allowed, request->host, &address->addr)) {
        webhook_request_note_refused(request, address);
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* The host as the allow list has it, without the brackets of an address. */
static void webhook_request_take_host(struct webhook_request *request, const char *url)
{
    CURLU *parts = curl_url();
    char *host = NULL;
    if (parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
        curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK)
        snprintf(request->host, sizeof request->host, "%s", host);
    curl_free(host);
    curl_url_cleanup(parts);
}

static void webhook_request_add_header(struct webhook_request *request, const char *name,
                                       const char *value)
{
    char line[WEBHOOK_EVENT_ID_SIZE + WEBHOOK_SIGNATURE_SIZE + 40];
    snprintf(line, sizeof line, "%s: %s", name, value);
    struct curl_slist *headers = curl_slist_append(request->headers, line);
    if (headers == NULL)
        abort();
    request->headers = headers;
}

static void webhook_request_add_headers(struct webhook_request *request,
                                        const struct webhook *webhook,
                                        const struct webhook_delivery *delivery, int64_t date_ms)
{
    char signature[WEBHOOK_SIGNATURE_SIZE];
    webhook_sign(webhook->secret, date_ms / 1000, delivery->event_id, request->body, signature);
    webhook_request_add_header(request, "Content-Type", "application/json");
    webhook_request_add_header(request, "User-Agent", "Broadway-Webhook");
    webhook_request_add_header(request, "Broadway-Event", webhook_event_name(delivery->event));
    webhook_request_add_header(request, "Broadway-Event-Id", delivery->event_id);
    webhook_request_add_header(request, "Broadway-Signature", signature);
    request->headers = curl_slist_append(request->headers, "Expect:");
}

static void webhook_request_set_options(struct webhook_request *request, const char *url)
{
    CURL *easy = request->easy;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, webhook_request_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, request);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, request->headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(request->body));
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, webhook_request_drop);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* or a name that is slow to resolve would stop all transfers until it is resolved */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

struct webhook_request *webhook_request_new(const struct webhook *webhook,
                                            const struct webhook_delivery *delivery,
                                            int64_t date_ms,
                                            const struct webhook_allow_list *allowed)
{
    struct webhook_request *request = bw_alloc(sizeof *request);
    request->allowed = allowed;
    request->body = webhook_body(delivery->payload, webhook->format);
    request->easy = curl_easy_init();
    if (request->easy == NULL || request->body == NULL)
        abort();
    webhook_request_take_host(request, webhook->url);
    webhook_request_add_headers(request, webhook, delivery, date_ms);
    webhook_request_set_options(request, webhook->url);
    return request;
}

void webhook_request_free(struct webhook_request *request)
{
    if (request == NULL)
        return;
    curl_easy_cleanup(request->easy);
    curl_slist_free_all(request->headers);
    free(request->body);
    free(request);
}

CURL *webhook_request_handle(struct webhook_request *request, void *context)
{
    curl_easy_setopt(request->easy, CURLOPT_PRIVATE, context);
    return request->easy;
}

bool webhook_request_result(const struct webhook_request *request, CURLcode code, int64_t *status,
                            char text[WEBHOOK_ERROR_SIZE])
{
    long answered = 0;
    curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &answered);
    bool is_answered = code == CURLE_OK || request->is_long;
    bool is_taken = is_answered && answered >= 200 && answered < 300;
    *status = answered;
    text[0] = '\0';
    if (is_answered && answered >= 300 && answered < 400)
        snprintf(text, WEBHOOK_ERROR_SIZE, "it was answered by a redirect, which is not followed");
    else if (is_answered && !is_taken)
        snprintf(text, WEBHOOK_ERROR_SIZE, "it was answered with the status %ld", answered);
    else if (!is_answered && request->is_refused)
        snprintf(text, WEBHOOK_ERROR_SIZE,
                 "the address is not public, and --webhook-allow does not list it");
    else if (!is_answered)
        snprintf(text, WEBHOOK_ERROR_SIZE, "%s", curl_easy_strerror(code));
    return is_taken;
}
