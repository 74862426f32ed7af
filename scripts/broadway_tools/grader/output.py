"""What a stage writes, kept within bounds, and made fit for JSON."""

import json
import math

MAX_OUTPUT_FILE = 256 * 1024
MAX_DEPTH = 24
INT64 = range(-(2**63), 2**63)


class HeadTail:
    """The first and the last `limit`/2 bytes of a stream, with a mark between them if something was left out."""

    def __init__(self, limit):
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._seen = 0

    def write(self, chunk):
        """Takes any number of bytes; never holds more than twice the limit."""
        self._seen += len(chunk)
        room = self._half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._half:
            self._trim()

    def text(self):
        """What was kept, as text that any JSON reader takes: bytes that aren't UTF-8, and NUL, are replaced."""
        self._trim()
        left_out = self._seen - len(self._head) - len(self._tail)
        if not left_out:
            return _clean((self._head + self._tail).decode("utf-8", "replace"))
        head, tail = self._head.decode("utf-8", "replace"), self._tail.decode("utf-8", "replace")
        return _clean(f"{head}\n[... {left_out} bytes left out ...]\n{tail}")

    def _trim(self):
        excess = len(self._tail) - self._half
        if excess > 0:
            del self._tail[:excess]


def parse_result_file(content):
    """The JSON value in a job's result.json, as it can be sent on. Raises ValueError with a sentence."""
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}") from None
    return _portable(value, MAX_DEPTH)


def _refuse_constant(name):
    raise ValueError(f"{name} is not JSON")


def _portable(value, depth):
    if depth == 0:
        raise ValueError(f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_portable(item, depth - 1) for item in value]
    if isinstance(value, dict):
        return {_clean(name): _portable(item, depth - 1) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is out of range")
    if isinstance(value, int) and value not in INT64:
        raise ValueError("holds an integer of more than 64 bits")
    return value


def _clean(text):
    """Without NUL and lone surrogates, which JSON can write but few can read."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
