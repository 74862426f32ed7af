#include "api/http/event_response.h"

struct MHD_Response *event_response_new(size_t block_bytes, MHD_ContentReaderCallback read,
                                        void *context, MHD_ContentReaderFreeCallback drop)
{
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, block_bytes,
                                                                      read, context, drop);
    if (response == NULL) {
        drop(context);
        return NULL;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    MHD_add_response_header(response, "X-Accel-Buffering", "no");
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return response;
}
