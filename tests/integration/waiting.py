"""Waits for conditions, always with a deadline."""

import os
import time

PRESET = os.environ.get("BROADWAY_PRESET", "release")

# Factor for deadlines that only mean "in reasonable time": sanitizers slow the servers down.
PATIENCE = {"release": 1, "debug": 1.5}.get(PRESET, 3)
# A busy machine may be half as fast. For waits and bounds that a right answer ends, and only a wrong one reaches.
BUSY = 2
PAUSE_S = 0.02


def is_instrumented():
    """True if the binaries have a sanitizer: then memory and latency are not meaningful."""
    return PRESET in ("asan", "tsan")


def wait_until(condition, seconds, what):
    """Returns the first true value of `condition()`; fails with `what` after `seconds`, times PATIENCE and BUSY."""
    limit = seconds * PATIENCE * BUSY
    deadline = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {limit:g} s still not so: {what} (last seen: {value!r})")
        time.sleep(PAUSE_S)


def holds_for(condition, seconds, what):
    """Fails as soon as `condition()` is false within `seconds`. For events that must *not* happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"was to hold for {seconds} s, but did not: {what}"
        time.sleep(PAUSE_S)


def soon(seconds=2.0):
    """An upper bound for "at once" that also holds for slow builds and on a busy machine."""
    return seconds * PATIENCE * BUSY
