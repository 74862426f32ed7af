"""Masks the values of a job's secret variables in everything that the grader reports, and in its own log."""

import contextlib
import re
import threading

MASK = "***"
# A longer value is masked in pieces of this length, so that a stream is searched in bounded time.
LONGEST = 4096
SHORTEST_REST = 16


class Mask:
    """The values of some variables; immutable. An occurrence that overlaps an earlier one is not found."""

    def __init__(self, values=()):
        pieces = {piece for value in values for piece in _pieces(value.encode("utf-8", "surrogateescape"))}
        self._secrets = sorted(pieces, key=lambda piece: (-len(piece), piece))
        pattern = b"|".join(map(re.escape, self._secrets))
        self._pattern = re.compile(pattern) if pattern else None

    def __bool__(self):
        return bool(self._secrets)

    def text(self, text):
        """The text with the values masked."""
        if not self:
            return text
        return self.bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "surrogatepass")

    def bytes(self, data):
        """The bytes with the values masked."""
        return self._pattern.sub(MASK.encode(), data) if self else data

    def value(self, value, masks_names=True):
        """The same for all strings and numbers of a JSON value; names of members included. Names that are the grader's
        own stay, and so do the numbers beside them, which are scores."""
        if not self:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item, masks_names) for item in value]
        if isinstance(value, dict):
            rename = self.text if masks_names else str
            return {rename(name): self.value(item, masks_names) for name, item in value.items()}
        if masks_names and isinstance(value, int | float) and not isinstance(value, bool):
            masked = self.text(str(value))
            return value if masked == str(value) else masked
        return value

    def split(self, data):
        """(bytes that are masked, bytes that may be the beginning of a value)"""
        masked, position = [], 0
        while True:
            found, open_at = self._pattern.search(data, position), self._open_at(data, position)
            if found is None or found.start() >= open_at:
                break
            masked += [data[position : found.start()], MASK.encode()]
            position = found.end()
        return b"".join([*masked, data[position:open_at]]), data[open_at:]

    def _open_at(self, data, position):
        """Where the first value begins that may go on behind the data; its length if there is none."""
        return min((_open_at(data, position, secret) for secret in self._secrets), default=len(data))


class MaskedSink:
    """Masks a stream of bytes for another sink. What may be the beginning of a value waits for the next bytes."""

    def __init__(self, sink, mask):
        self._sink = sink
        self._mask = mask
        self._waiting = b""

    def write(self, chunk):
        """Takes any number of bytes."""
        if not self._mask:
            self._sink.write(chunk)
            return
        masked, self._waiting = self._mask.split(self._waiting + chunk)
        if masked:
            self._sink.write(masked)

    def flush(self):
        """The stream has ended."""
        if self._waiting:
            self._sink.write(self._mask.bytes(self._waiting))
        self._waiting = b""


class LogMasks:
    """Masks the values of the jobs that run, in the grader's log."""

    def __init__(self):
        self._lock = threading.Lock()
        self._masks = []

    @contextlib.contextmanager
    def of(self, mask):
        """While the context is open, the log has none of the values."""
        with self._lock:
            self._masks.append(mask)
        try:
            yield
        finally:
            with self._lock:
                self._masks.remove(mask)

    def text(self, text):
        """A line of the log."""
        with self._lock:
            masks = list(self._masks)
        for mask in masks:
            text = mask.text(text)
        return text


# Of this process.
log_masks = LogMasks()


def _pieces(value):
    pieces = [value[at : at + LONGEST] for at in range(0, len(value), LONGEST)]
    if len(pieces) > 1 and len(pieces[-1]) < SHORTEST_REST:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces


def _open_at(data, position, secret):
    at = max(position, len(data) - len(secret) + 1)
    while (at := data.find(secret[:1], at)) >= 0:
        if secret.startswith(data[at:]):
            return at
        at += 1
    return len(data)
