"""The memory that this process takes."""

import contextlib
import ctypes

# An option of glibc's mallopt(): how many heaps its threads have. By default eight for each processor of the machine,
# and each keeps what it once had.
M_ARENA_MAX, ARENAS = -8, 2


def use_few_heaps():
    """Call before threads start. Without effect if the C library is another."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)
