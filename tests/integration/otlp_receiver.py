"""A collector of traces: takes OTLP over HTTP as JSON, and keeps the spans."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Receiver:
    """Listens on a free port of 127.0.0.1; `spans` are all that came: dictionaries as posted, with the resource."""

    def __init__(self):
        self.spans, self.paths = [], set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "application/json"
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def take(self, path, body):
        """Keeps the spans of one post."""
        self.paths.add(path)
        for resource in body["resourceSpans"]:
            service = attributes(resource["resource"])["service.name"]
            for scope in resource["scopeSpans"]:
                self.spans += [{**span, "service": service} for span in scope["spans"]]

    def of_run(self, run):
        """The spans of a run."""
        return [span for span in list(self.spans) if attributes(span)["broadway.run"] == run]

    def close(self):
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def attributes(thing):
    """The attributes of a span or a resource, as a dictionary."""
    return {row["key"]: row["value"]["stringValue"] for row in thing["attributes"]}
