"""What a stage writes, kept within bounds, and made fit for JSON."""

import codecs
import json
import math

MAX_OUTPUT_FILE = 256 * 1024
MAX_DEPTH = 24
INT64 = range(-(2**63), 2**63)


# Room for the mark in a text that is cut; one that must be shorter than LEAST_LIMIT gets none.
MARK_BYTES, LEAST_LIMIT = 64, 100
HEAD_PARTS = 4


class HeadTail:
    """The first quarter and the end of a stream, `limit` bytes of text in all, with a mark between them if something
    was left out: the end is where a score stands."""

    def __init__(self, limit):
        self._limit = limit
        self._head_room = limit // HEAD_PARTS
        self._tail_room = limit - self._head_room
        self._head = bytearray()
        self._tail = bytearray()
        self._seen = 0

    def write(self, chunk):
        """Takes any number of bytes; never holds more than twice the limit."""
        self._seen += len(chunk)
        room = self._head_room - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        if len(self._tail) > 2 * self._tail_room:
            self._trim()

    def text(self):
        """What was kept, as text that any JSON reader takes: bytes that aren't UTF-8, and NUL, are replaced."""
        self._trim()
        left_out = self._seen - len(self._head) - len(self._tail)
        if not left_out:
            return cut_middle(_clean((self._head + self._tail).decode("utf-8", "replace")), self._limit)
        head = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._head))  # drops half a character
        tail = self._tail.lstrip(CONTINUATIONS).decode("utf-8", "replace")
        return _join(_clean(head).encode(), _clean(tail).encode(), left_out, self._limit)

    def _trim(self):
        excess = len(self._tail) - self._tail_room
        if excess > 0:
            del self._tail[:excess]


CONTINUATIONS = bytes(range(0x80, 0xC0))


def cut_middle(text, limit):
    """At most `limit` bytes of UTF-8, the mark included: as the API would cut it, so that it need not."""
    whole = text.encode()
    if len(whole) <= limit:
        return text
    return _join(whole[: limit // HEAD_PARTS], whole[limit // HEAD_PARTS :], 0, limit)


def _join(head, tail, left_out, limit):
    """Head and tail (UTF-8), each cut to its share, no character halved, with a mark between them."""
    if limit < LEAST_LIMIT:
        return tail[max(0, len(tail) - limit) :].decode("utf-8", "ignore")
    room = limit - MARK_BYTES
    kept_head = head[: room // HEAD_PARTS]
    kept_tail = tail[max(0, len(tail) - (room - len(kept_head))) :]
    left_out += len(head) - len(kept_head) + len(tail) - len(kept_tail)
    mark = f"\n[... {left_out} bytes cut ...]\n"
    return kept_head.decode("utf-8", "ignore") + mark + kept_tail.decode("utf-8", "ignore")


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
