#include "common/domain/wait_reason.h"

enum wait_reason wait_reason_first(uint64_t reasons)
{
    return (enum wait_reason)__builtin_ctzll(reasons);
}

const char *wait_reason_word(enum wait_reason reason)
{
    static const char *const words[] = {
#define WAIT_REASON_WORD(name, word) word,
        WAIT_REASON_MAP(WAIT_REASON_WORD)
#undef WAIT_REASON_WORD
    };
    return words[reason];
}
