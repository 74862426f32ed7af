"""A reader of server-sent events that keeps the pieces as they arrive."""

import json
import socket
import time

from course_names import bearer
from waiting import PATIENCE


class EventStream:
    """An open stream: GET of a path, over a socket of its own."""

    def __init__(self, url, token, path):
        host, port = url[7:].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer(token)['Authorization']}\r\n\r\n"
        self.socket.sendall(head.encode())
        self.data = b""
        self.pieces = []  # chunks, as the server wrote them
        self.over = False
        head = self._read_until(b"\r\n\r\n").decode().split("\r\n")
        self.status = int(head[0].split()[1])
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}

    def close(self):
        self.socket.close()

    def next(self, seconds=10):
        """The next event's {"type", "data"}; None at the end of the stream."""
        while True:
            piece = self.next_piece(seconds)
            if piece is None:
                return None
            if piece == ":\n\n":
                continue
            lines = piece.split("\n")
            assert lines[0] == "event: status_update" and lines[1].startswith("data: ") and lines[2:] == ["", ""]
            assert lines[1] == "data: " + json.dumps(json.loads(lines[1][6:])), "the spacing is Python's"
            return json.loads(lines[1][6:])

    def rest(self, seconds=10):
        """All events until the end of the stream."""
        events = []
        while (event := self.next(seconds)) is not None:
            events.append(event)
        return events

    def next_piece(self, seconds):
        """The next chunk as text; None at the end."""
        self.socket.settimeout(seconds * PATIENCE)
        size = int(self._read_until(b"\r\n"), 16)
        while len(self.data) < size + 2:
            self._receive()
        piece, self.data = self.data[:size].decode(), self.data[size + 2 :]
        return piece if size else None

    def is_silent(self, seconds):
        """True if nothing arrives for this long."""
        if self.data:
            return False
        self.socket.settimeout(seconds)
        try:
            self._receive()
        except TimeoutError:
            return True
        return False

    def ends(self, seconds=5):
        """True if the connection is closed soon."""
        self.socket.settimeout(seconds * PATIENCE)
        begun = time.monotonic()
        while self.socket.recv(4096):
            assert time.monotonic() - begun < seconds * PATIENCE
        return True

    def _read_until(self, mark):
        while mark not in self.data:
            self._receive()
        text, _, self.data = self.data.partition(mark)
        return text

    def _receive(self):
        received = self.socket.recv(65536)
        if not received:
            raise EOFError(f"the stream broke after {self.data!r}")
        self.data += received
