"""The history: every call of every client and grader, and every fault, as JSON lines.

A call is two lines with one id: `invoke`, then `ok` (2xx), `fail` (4xx: it was not done) or `unknown` (5xx, or no
answer: it may have been done). A note is one line. All times are milliseconds of the monotonic clock.
"""

import json
import threading
import time
from pathlib import Path

FILE = "history.jsonl"


def now_ms():
    return int(time.monotonic() * 1000)


class History:
    """Writes a history; safe from any thread."""

    def __init__(self, directory):
        self.path = Path(directory) / FILE
        self.file = open(self.path, "w", encoding="utf-8")  # noqa: SIM115  (closed by close)
        self.lock = threading.Lock()
        self.last_id = 0

    def close(self):
        with self.lock:
            self.file.close()

    def invoke(self, process, op, /, **facts):
        """A call begins; returns its id."""
        with self.lock:
            self.last_id += 1
            call = self.last_id
            self._write({"t": now_ms(), "id": call, "type": "invoke", "process": process, "op": op, **facts})
        return call

    def complete(self, call, kind, /, **facts):
        """A call ends: kind is ok, fail or unknown."""
        with self.lock:
            self._write({"t": now_ms(), "id": call, "type": kind, **facts})

    def note(self, what, /, **facts):
        """Writes a fault, or an observation of the system."""
        with self.lock:
            self._write({"t": now_ms(), "type": "note", "note": what, **facts})

    def _write(self, line):
        if not self.file.closed:
            self.file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self.file.flush()


def read_lines(path):
    """The lines of a JSON lines file; an incomplete last line is left out."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
