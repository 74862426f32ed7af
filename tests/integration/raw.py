"""Requests of arbitrary bytes, for tests of invalid input."""

import json
import socket
from urllib.parse import urlsplit

TIMEOUT_S = 10


class Answer:
    """A parsed answer. `rest` is what came after it."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def error(self):
        """The sentence of a refusal; fails if there is none."""
        sentence = json.loads(self.body)["error"]
        assert isinstance(sentence, str) and sentence
        return sentence


class Link:
    """One TCP connection; `source` is the address that it comes from, if that matters."""

    def __init__(self, url, timeout=TIMEOUT_S, source=None):
        parts = urlsplit(url)
        address = (source, 0) if source else None
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=timeout, source_address=address)
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        """Sends text as Latin-1, unchanged. If the server has stopped reading, that is not a failure."""
        try:
            self.socket.sendall(data.encode("latin-1") if isinstance(data, str) else data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def read_answer(self):
        """The next answer; fails if the connection ends before it."""
        while b"\r\n\r\n" not in self.received:
            self.receive("the connection was closed without an answer")
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        if status == 100:
            return self.read_answer()
        length = int(headers.get("content-length", 0))
        while len(self.received) < length:
            self.receive("the connection was closed within an answer")
        body, self.received = self.received[:length], self.received[length:]
        return Answer(status, headers, body)

    def is_closed_by_peer(self):
        """Waits for the end of the connection; False if bytes arrive instead."""
        try:
            return self.received == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def receive(self, otherwise):
        """Reads what has come; fails with `otherwise` at the end of the connection."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        assert data, otherwise
        self.received += data


def connect(url, timeout=TIMEOUT_S, source=None):
    return Link(url, timeout, source)


def get(path, *headers):
    """The bytes of a GET request, as text."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""])


def exchange(url, data, timeout=TIMEOUT_S):
    """Sends and returns the one answer."""
    with connect(url, timeout) as link:
        link.send(data)
        return link.read_answer()
