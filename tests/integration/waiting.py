"""Waiting for something to become true: always for a condition, always with a deadline."""

import os
import time

PRESET = os.environ.get("BROADWAY_PRESET", "release")

# Sanitizers slow the servers down; deadlines that only say "in reasonable time" are stretched by this.
PATIENCE = {"release": 1, "debug": 1.5}.get(PRESET, 3)
PAUSE_S = 0.02


def is_instrumented():
    """Do the binaries carry a sanitizer? Then memory and latency say nothing."""
    return PRESET in ("asan", "tsan")


def wait_until(condition, seconds, what):
    """Returns the first true value of `condition()`; fails with `what` after `seconds` (stretched by PATIENCE)."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds * PATIENCE:g} s still not so: {what} (last seen: {value!r})")
        time.sleep(PAUSE_S)


def holds_for(condition, seconds, what):
    """Fails as soon as `condition()` is false within `seconds`: for what must *not* happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"was to hold for {seconds} s, but did not: {what}"
        time.sleep(PAUSE_S)
