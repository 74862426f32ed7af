"""A receiver of webhooks for tests: it keeps what it gets, and answers as it is told."""

import http.server
import importlib.util
import json
import threading
import time

from harness import ROOT

_spec = importlib.util.spec_from_file_location("webhook_receiver", ROOT / "scripts/samples/webhook_receiver.py")
sample = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sample)

SECRET = "a-secret-of-the-test"


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


class Target:
    """Listens on 127.0.0.1; `status` is what it answers, `location` where it redirects to, `delay` how slow it is,
    `most` how many requests it had at once."""

    def __init__(self, port=0, secret=SECRET):
        self.requests, self.secret = [], secret
        self.status, self.location, self.delay, self.body = 200, None, 0, b"ok"
        self.busy, self.most, self.lock = 0, 0, threading.Lock()
        self.port = port
        self.server = None
        self.open()

    def open(self):
        target = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                target.requests.append((self.path, headers, body, target.status))
                with target.lock:
                    target.busy += 1
                    target.most = max(target.most, target.busy)
                time.sleep(target.delay)
                with target.lock:
                    target.busy -= 1
                self.send_response(target.status)
                if target.location:
                    self.send_header("Location", target.location)
                self.send_header("Content-Length", str(len(target.body)))
                self.end_headers()
                self.wfile.write(target.body)

            def log_message(self, *_):
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def taken(self):
        """What it has answered with success: the payloads, in their order, each verified; repeats are left out."""
        memory, payloads = sample.Memory(), []
        for _, headers, body, status in list(self.requests):
            event_id = headers["broadway-event-id"]
            assert sample.verify(self.secret, headers["broadway-signature"], event_id, body, time.time())
            if status < 300 and memory.is_new(event_id):
                payloads.append(json.loads(body))
        return payloads

    def events(self):
        return [payload["event"] for payload in self.taken()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
