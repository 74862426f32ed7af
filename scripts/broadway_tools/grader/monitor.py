"""The grader's own HTTP port: /healthz, /readyz and /metrics, for supervisors and Prometheus."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REQUEST_S = 5


class Monitor:
    """Listens from its creation on. `get_state()`: None if jobs are taken, else the reason why not."""

    def __init__(self, host, port, metrics, get_state):
        handler = type("Handler", (_Handler,), {"metrics": metrics, "get_state": staticmethod(get_state)})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_S
    metrics = None
    get_state = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._answer(200, {"status": "ok"})
        elif path == "/readyz":
            reason = self.get_state()
            self._answer(503 if reason else 200, {"status": reason or "ready"})
        elif path == "/metrics":
            self._send(200, "text/plain; version=0.0.4", self.metrics.text())
        else:
            self._answer(404, {"error": f"there is nothing at {path[:100]}"})

    def _answer(self, status, value):
        self._send(status, "application/json", json.dumps(value))

    def _send(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
