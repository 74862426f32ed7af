"""The output of a stage, limited in size and converted to valid JSON text."""

import codecs
import errno
import json
import math
import os
import tempfile

MAX_OUTPUT_FILE = 256 * 1024
MAX_DEPTH = 24
INT64 = range(-(2**63), 2**63)
# Room for the mark in a text that is cut; a text with a limit below LEAST_LIMIT gets no mark.
MARK_BYTES, LEAST_LIMIT = 64, 100
HEAD_PARTS = 4
# Output beyond this is kept in a file; it is read and sent in pieces of this size.
MEMORY_BYTES = PIECE_BYTES = 64 * 1024


class HeadTail:
    """The first quarter and the end of a stream, `limit` bytes of text in all, with a mark between them if something
    was left out: scores are usually printed at the end. The text is one that any JSON reader accepts: bytes that aren't
    UTF-8, and NUL, are replaced. One thread writes, and reads when all is written.

    With a `directory`, only MEMORY_BYTES are kept in memory, and more in an unnamed file there. `follow` is called with
    all bytes of the text, as they come."""

    def __init__(self, limit, directory=None, follow=None):
        self._limit = limit
        self._follow = follow
        self._head_room = limit // HEAD_PARTS if limit >= LEAST_LIMIT else 0
        self._store = _Store(directory)
        self._decoder = _decoder("replace")
        self._seen = 0  # bytes of text

    def write(self, chunk):
        """Takes any number of bytes. Raises OSError if the file can't be written."""
        self._append(self._decoder.decode(chunk))

    def text(self):
        """The kept part."""
        return "".join(self.cut(self._limit))

    def cut(self, limit):
        """Yields the kept part, or less, in pieces: at most `limit` bytes of UTF-8 in all, including the mark, cut as
        the API would cut it."""
        self._append(self._decoder.decode(b"", final=True))
        limit = min(limit, self._limit)
        if self._seen <= limit:
            yield from self._pieces(0, self._seen)
            return
        head, tail = self._ends(limit)
        yield from self._pieces(0, head)
        if limit >= LEAST_LIMIT:
            yield f"\n[... {tail - head} bytes cut ...]\n"
        yield from self._pieces(tail, self._seen)

    def place(self, limit):
        """Where `cut(limit)` has its mark, as the API takes it; None: it has none."""
        self._append(self._decoder.decode(b"", final=True))
        limit = min(limit, self._limit)
        if self._seen <= limit or limit < LEAST_LIMIT:
            return None
        head, tail = self._ends(limit)
        return {"at": head, "missing": tail - head}

    def _ends(self, limit):
        """Where the part ends that begins the text, and where the one begins that ends it: between characters."""
        room = limit - MARK_BYTES if limit >= LEAST_LIMIT else limit
        head = room // HEAD_PARTS if limit >= LEAST_LIMIT else 0
        tail = self._seen - room + head
        while head > 0 and self._is_within_character(head):
            head -= 1
        while tail < self._seen and self._is_within_character(tail):
            tail += 1
        return head, tail

    def _is_within_character(self, position):
        return self._store.read(self._place(position)[0], 1)[0] & 0xC0 == 0x80

    def _append(self, text):
        data = memoryview(text.replace("\0", "\ufffd").encode())
        if self._follow is not None and data:
            self._follow(bytes(data))
        ring = self._limit - self._head_room
        while data:
            if self._seen >= self._head_room and len(data) > ring:  # the rest would be overwritten at once
                self._seen += len(data) - ring
                data = data[len(data) - ring :]
                continue
            offset, room = self._place(self._seen)
            part = data[:room]
            self._store.write(offset, part)
            self._seen += len(part)
            data = data[len(part) :]

    def _place(self, position):
        """Where a byte of the stream is stored, and how many may follow it there: the head, then a ring."""
        if position < self._head_room:
            return position, self._head_room - position
        ring = self._limit - self._head_room
        at = (position - self._head_room) % ring
        return self._head_room + at, ring - at

    def _pieces(self, position, end):
        """The stored text from one position of the stream to another, without halves of characters at its ends."""
        decoder = _decoder("ignore")
        while position < end:
            offset, room = self._place(position)
            part = self._store.read(offset, min(room, end - position, PIECE_BYTES))
            position += len(part)
            yield decoder.decode(part)


class _Store:
    """Bytes at offsets: in memory, or from MEMORY_BYTES on in a file."""

    def __init__(self, directory):
        self._directory = directory
        self._memory = bytearray()
        self._file = None

    def write(self, offset, part):
        end = offset + len(part)
        if self._file is None and self._directory is not None and end > MEMORY_BYTES:
            file = _unnamed_file(self._directory)
            _put(file, 0, self._memory)  # if it can't be written, the memory has all of it
            self._file, self._memory = file, None
        if self._file is not None:
            _put(self._file, offset, part)
            return
        if len(self._memory) < offset:
            self._memory.extend(bytes(offset - len(self._memory)))
        self._memory[offset:end] = part

    def read(self, offset, length):
        """That many bytes, which were written."""
        if self._file is None:
            part = bytes(self._memory[offset : offset + length])
        else:
            part = os.pread(self._file.fileno(), length, offset)
        if not part:
            raise OSError(errno.EIO, "kept output is lost")
        return part


def _put(file, offset, part):
    while part:
        written = os.pwrite(file.fileno(), part, offset)
        offset, part = offset + written, part[written:]


def _unnamed_file(directory):
    """A file that is gone once nothing refers to it."""
    return tempfile.TemporaryFile(dir=directory, buffering=0)


def _decoder(errors):
    return codecs.getincrementaldecoder("utf-8")(errors)


class Tee:
    """Writes to several sinks at once, or to none."""

    def __init__(self, *sinks):
        self._sinks = sinks

    def write(self, chunk):
        """Passes a chunk of bytes on."""
        for sink in self._sinks:
            sink.write(chunk)


def parse_result_file(content):
    """The JSON value in a job's result.json, in a form that can be sent. Raises ValueError with a sentence."""
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
    """Without NUL and lone surrogates, which JSON can express but few readers accept."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
