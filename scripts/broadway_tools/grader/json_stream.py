"""Compact JSON in pieces, so that no copy of a long log is held in memory."""

import json

PIECE_CHARACTERS = 64 * 1024


class Text:
    """A string of the JSON: what `log.cut(limit)` yields."""

    def __init__(self, log, limit):
        self._log = log
        self._limit = limit

    def pieces(self):
        """Yields the string in parts."""
        return self._log.cut(self._limit)


class JsonBody:
    """The body of an HTTP request: iterates over JSON in bytes, any number of times; `size` is their number."""

    def __init__(self, value):
        self._value = value
        self.size = json_size(value)

    def __iter__(self):
        return (piece.encode() for piece in json_pieces(self._value))


def json_size(value):
    """The number of bytes of `value` as JSON."""
    return sum(len(piece.encode()) for piece in json_pieces(value))


def json_pieces(value):
    """Yields JSON in str of moderate length. `value`: what json.dumps takes, and any Text in dictionaries."""
    parts, length = [], 0
    for part in _parts(value):
        parts.append(part)
        length += len(part)
        if length >= PIECE_CHARACTERS:
            yield "".join(parts)
            parts, length = [], 0
    yield "".join(parts)


def _parts(value):
    if isinstance(value, Text):
        yield '"'
        yield from (_dump(piece)[1:-1] for piece in value.pieces())
        yield '"'
    elif isinstance(value, dict) and value:
        separator = "{"
        for name, item in value.items():
            yield f"{separator}{_dump(name)}:"
            yield from _parts(item)
            separator = ","
        yield "}"
    else:
        yield _dump(value)


def _dump(value):
    """Characters beyond ASCII are not escaped, which is shortest."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
