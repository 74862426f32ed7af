/*
 * bench-ulfius: a server with only ulfius and jansson. Accepts any POST, parses its body as JSON
 * and answers {"id": ...} like a submission. Exits at the end of its standard input.
 *
 *   bench-ulfius PORT
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ulfius.h>

enum { THREADS = 16, BODY_MAX = 16 * 1024 * 1024 };

static int answer(const struct _u_request *request, struct _u_response *response, void *context)
{
    atomic_uint_fast64_t *last = context;
    json_t *body = json_loadb(request->binary_body, request->binary_body_length,
                              JSON_REJECT_DUPLICATES, NULL);
    char text[64];
    snprintf(text, sizeof text, "{\"id\":\"%024llx\"}",
             (unsigned long long)atomic_fetch_add(last, 1));
    ulfius_set_string_body_response(response, body != NULL ? 200 : 400, text);
    u_map_put(response->map_header, "Content-Type", "application/json");
    json_decref(body);
    return U_CALLBACK_COMPLETE;
}

static int start(struct _u_instance *instance)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)mhd_request_completed, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)ulfius_uri_logger, NULL},
        {MHD_OPTION_THREAD_POOL_SIZE, THREADS, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return ulfius_start_framework_with_mhd_options(instance, MHD_USE_EPOLL_INTERNAL_THREAD,
                                                   options);
}

int main(int count, char **arguments)
{
    static atomic_uint_fast64_t last;
    struct _u_instance instance;
    char byte;
    unsigned long port = count == 2 ? strtoul(arguments[1], NULL, 10) : 0;
    if (port == 0 || port > 65535) {
        fprintf(stderr, "usage: bench-ulfius PORT\n");
        return 2;
    }
    if (ulfius_init_instance(&instance, (unsigned)port, NULL, NULL) != U_OK)
        return 1;
    instance.max_post_body_size = BODY_MAX;
    instance.allowed_post_processor = U_POST_PROCESS_NONE;
    ulfius_add_endpoint_by_val(&instance, "POST", NULL, "*", 0, answer, &last);
    if (start(&instance) != U_OK)
        return 1;
    puts("{\"listening\":true}");
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    ulfius_stop_framework(&instance);
    ulfius_clean_instance(&instance);
    return 0;
}
