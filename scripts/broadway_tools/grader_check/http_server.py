"""The HTTP server in front of an Api: parses requests and sends replies. It can be closed and opened again."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from broadway_tools.grader_check.api import Api, Reply, Request
from broadway_tools.grader_check.arguments import BadBody, read_body, read_query

ROUTES = {
    ("GET", "worker_register"): "register",
    ("GET", "grading_job"): "poll",
    ("POST", "grading_job"): "report",
    ("POST", "heartbeat"): "heartbeat",
}
PREFIX = "/api/v1/"


class HttpServer:
    """Serves an Api on one port, which stays the same over restarts."""

    def __init__(self, api: Api, host: str, port: int):
        self._api, self._host, self._port = api, host, port
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        """For graders."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def open(self) -> None:
        """Listens and serves. Raises OSError if the port is taken."""
        handler = type("Handler", (_Handler,), {"api": self._api})
        server_class = type("Server", (_Server,), {"address_family": _family(self._host)})
        self._server = server_class((self._host, self._port), handler)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Closes the port and all connections."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        server.cut_connections()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """A context in which connections are refused."""
        self.close()
        try:
            yield
        finally:
            self.open()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any):
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remembers the connection."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forgets the connection."""
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def cut_connections(self) -> None:
        """Ends all connections."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignores disconnects of graders."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: Api

    def log_message(self, *_: Any) -> None:
        """No log."""

    def do_GET(self) -> None:
        """Any path."""
        self._handle()

    def do_POST(self) -> None:
        """Any path."""
        self._handle()

    do_PUT = do_DELETE = do_PATCH = do_POST

    def _handle(self) -> None:
        request = self._read()
        reply = self.api.answer(request)
        self.api.begin_answer(request)
        status = 0
        try:
            status = self._send(reply)
        except OSError:
            self.close_connection = True
        finally:
            self.api.end_answer(request, status)

    def _read(self) -> Request:
        parts = urlsplit(self.path)
        kind, job_id = _route(self.command, parts.path)
        request = Request(kind, parts.path, read_query(parts.query), self._is_gone, job_id=job_id)
        body = self._read_body()
        request.size = len(body)
        if kind in ("report", "heartbeat"):
            try:
                _merge(request, read_body(body, self.headers.get("Content-Type", "")))
            except BadBody as error:
                request.problem = str(error)
        return request

    def _read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _send(self, reply: Reply) -> int:
        """The status that the grader has received; 0 if the connection was cut."""
        if reply.delivery == "none":
            self._cut()
            return 0
        body = b"" if reply.value is None else json.dumps(reply.value).encode()
        self.send_response(reply.status)
        if body:
            self.send_header("Content-Type", "application/json")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if reply.delivery == "half":
            self.wfile.write(body[: len(body) // 2])
            self._cut()
            return 0
        self.wfile.write(body)
        return reply.status

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _is_gone(self) -> bool:
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


def _route(method: str, path: str) -> tuple[str, str | None]:
    """(kind, job id)"""
    words = path.removeprefix(PREFIX).split("/") if path.startswith(PREFIX) else [""]
    kind = ROUTES.get((method, words[0]), "unknown")
    if kind == "report" and len(words) == 3 and words[2] == "log":
        return "log", words[1]
    if len(words) != (2 if kind == "report" else 1):
        return "unknown", None
    return kind, words[1] if kind == "report" else None


def _merge(request: Request, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        if name in request.arguments and request.arguments[name] != value:
            request.is_contradictory = True
            request.problem = f"argument '{name}' is given twice, with different values"
    request.arguments |= fields
