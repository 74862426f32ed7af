#include "scheduler/state/callback.h"

#include <stdlib.h>

#include "common/base/alloc.h"

struct callback *callback_new(size_t hand_outs)
{
    struct callback *callback = bw_alloc(sizeof *callback);
    callback->sent = bw_alloc_array(hand_outs, sizeof *callback->sent);
    return callback;
}

void callback_free(struct callback *callback)
{
    if (callback == NULL)
        return;
    free(callback->body);
    free(callback->sent);
    free(callback->reply);
    free(callback);
}
