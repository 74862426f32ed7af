"""Sends the logs of jobs in chunks while the jobs run. These are hints: the whole log comes with the result, which
never waits for them."""

import logging
import threading
import time

from broadway_tools.grader.server_errors import Stopped, Unavailable

# A job that ends sooner sends nothing; then chunks are sent once in this time.
BEGIN_S, PAUSE_S = 2, 1
CHUNK_BYTES = 32 * 1024
# What waits to be sent of one stream, and of all streams of a grader; of more the oldest part is dropped.
MOST_WAITING, MOST_WAITING_IN_ALL = 256 * 1024, 2 * 1024 * 1024
LONGEST_PAUSE_S = 10
STREAMS = ("stdout", "stderr")

log = logging.getLogger("grader")


class LiveSender:
    """The thread that sends the chunks of all jobs of a grader, one job after another. Any thread may call."""

    def __init__(self):
        self._changed = threading.Condition()
        self._logs = []
        self._thread = None

    def add(self, live):
        """Sends the chunks of a LiveLog from now on."""
        with self._changed:
            self._logs.append(live)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
            self._changed.notify()

    def discard(self, live):
        """Forgets it; a chunk may still wait for its answer."""
        with self._changed:
            if live in self._logs:
                self._logs.remove(live)

    def most_waiting(self):
        """The bytes of one stream that may wait."""
        share = MOST_WAITING_IN_ALL // (len(STREAMS) * max(1, len(self._logs)))
        return max(CHUNK_BYTES, min(MOST_WAITING, share))

    def _run(self):
        while True:
            with self._changed:
                live = min(self._logs, key=lambda one: one.due, default=None)
                pause_s = None if live is None else live.due - time.monotonic()
                if live is None or pause_s > 0:
                    self._changed.wait(pause_s)
                    continue
            live.send_waiting()


class LiveLog:
    """The chunks of one job: a context, within which the sender's thread sends them. `open_sender()` is called on that
    thread when there is something to send, and returns a function of (stream, offset, bytes)."""

    def __init__(self, sender, job_id, open_sender):
        self._sender = sender
        self._job_id = job_id
        self._open_sender = open_sender
        self._send = None
        self._pause_s = BEGIN_S
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._waiting = {stream: _Waiting() for stream in STREAMS}
        self.due = 0  # when to send, by the monotonic clock

    def __enter__(self):
        self.due = time.monotonic() + BEGIN_S
        self._sender.add(self)
        return self

    def __exit__(self, *_):
        self.stop()

    def sink(self, stream):
        """A function that takes the bytes of a stream, which is UTF-8."""
        return lambda data: self._add(self._waiting[stream], data)

    def stop(self):
        """Sends no more."""
        self._over.set()
        self._sender.discard(self)
        with self._lock:
            for waiting in self._waiting.values():
                waiting.clear()

    def send_waiting(self):
        """Sends what waits now. Called by the sender, when it is due."""
        try:
            if any(self._waiting.values()):
                self._send = self._send or self._open_sender()
                self._send_all()
            self._pause_s = PAUSE_S
        except Unavailable as error:
            self._pause_s = min(LONGEST_PAUSE_S, max(2 * self._pause_s, error.pause_s))
        except Stopped:
            self.stop()
        except Exception as error:  # never a reason to fail the job
            log.info("job %s: its log is not sent any more while it runs: %s", self._job_id, error)
            self.stop()
        self.due = time.monotonic() + self._pause_s

    def _add(self, waiting, data):
        with self._lock:
            if not self._over.is_set():
                waiting.add(data, self._sender.most_waiting())

    def _send_all(self):
        """Not what comes meanwhile: other jobs wait for their turn."""
        for stream, waiting in self._waiting.items():
            offset, end = 0, waiting.end
            while offset < end and not self._over.is_set():
                with self._lock:
                    offset, chunk = waiting.first(CHUNK_BYTES)
                    if not chunk:
                        waiting.drop(offset)
                if not chunk:
                    break
                self._send(stream, offset, chunk)
                offset += len(chunk)
                with self._lock:
                    waiting.drop(offset)


class _Waiting:
    """The end of a stream that is not sent yet."""

    def __init__(self):
        self._data = bytearray()
        self._offset = 0
        self._first = None  # the chunk that is being sent: a repeated one must be the same

    def __bool__(self):
        return bool(self._data)

    @property
    def end(self):
        """The length of the stream so far."""
        return self._offset + len(self._data)

    def add(self, data, most):
        """Takes more of the stream; if more than `most` bytes wait, the oldest part is dropped."""
        self._data += data
        if len(self._data) > most:
            self._cut(_between_characters(self._data, len(self._data) - most // 2))

    def clear(self):
        """Nothing waits any more."""
        self._first = None
        self._cut(len(self._data))

    def first(self, most):
        """(offset, bytes) of the next chunk; the same until it is dropped."""
        if self._first is None:
            end = len(self._data) if len(self._data) <= most else _between_characters(self._data, most)
            self._first = self._offset, bytes(memoryview(self._data)[:end])
        return self._first

    def drop(self, offset):
        """The bytes before this offset are sent."""
        self._first = None
        self._cut(max(0, offset - self._offset))

    def _cut(self, length):
        del self._data[:length]
        self._offset += length


def _between_characters(data, at):
    while at > 0 and at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at
