#!/usr/bin/env python3
"""A receiver of Broadway's webhooks: checks the signature and its age, drops repeats, and prints an event a line.

    webhook_receiver.py --secret-file FILE [--port PORT] [--bind ADDRESS]

docs/webhooks.md describes what is sent. Python's standard library is all that it needs.
"""

import argparse
import collections
import hashlib
import hmac
import http.server
import json
import pathlib
import time

MAX_AGE_SECONDS = 300
MAX_BODY_BYTES = 256 * 1024
REMEMBERED_EVENTS = 10_000


def verify(secret: str, signature: str, event_id: str, body: bytes, now: float) -> bool:
    """Whether `signature`, the header Broadway-Signature, was made with the secret for this event and body, at most
    five minutes before or after `now` (seconds since 1970)."""
    parts = dict(part.partition("=")[::2] for part in signature.split(","))
    sent_at, given = parts.get("t", ""), parts.get("v1", "")
    if not (sent_at.isascii() and sent_at.isdigit()) or abs(now - int(sent_at)) > MAX_AGE_SECONDS:
        return False
    signed = f"{sent_at}.{event_id}.".encode() + body
    wanted = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.encode())


class Memory:
    """The ids of the events that were taken last."""

    def __init__(self) -> None:
        self._ids: collections.OrderedDict[str, None] = collections.OrderedDict()

    def is_new(self, event_id: str) -> bool:
        """Whether the event was not taken before; it counts as taken from now on."""
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > REMEMBERED_EVENTS:
            self._ids.popitem(last=False)
        return True


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers 204 to what it has taken, also before, and 401 to what it can't verify."""

    secret: str
    memory: Memory

    def do_POST(self) -> None:
        """Takes one delivery."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.send_error(413)
            return
        body = self.rfile.read(length)
        event_id = self.headers.get("Broadway-Event-Id", "")
        if not verify(self.secret, self.headers.get("Broadway-Signature", ""), event_id, body, time.time()):
            self.send_error(401)
            return
        if self.memory.is_new(event_id):
            print(json.dumps(json.loads(body)), flush=True)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Prints nothing: the output has events alone."""


def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--secret-file", required=True, type=pathlib.Path)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--bind", default="127.0.0.1")
    arguments = parser.parse_args()
    Handler.secret = arguments.secret_file.read_text(encoding="utf-8").strip()
    Handler.memory = Memory()
    http.server.ThreadingHTTPServer((arguments.bind, arguments.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
