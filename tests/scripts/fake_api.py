"""A small fake of broadway-api, in memory: enough of the protocol to test graders and client commands."""

import hashlib
import json
import secrets
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

COUNTS = ("queued", "running", "succeeded", "failed", "cancelled")


class FakeApi:
    """Runs on a free port of 127.0.0.1 as long as the context is open."""

    def __init__(self, token="secret", heartbeat=1):
        self.token, self.heartbeat = token, heartbeat
        self.changed = threading.Condition()
        self.queue = []  # the next hand-outs
        self.registrations = []  # query arguments
        self.workers = set()
        self.handed_out = []  # job ids
        self.results = {}  # job id → body
        self.heartbeats = []  # (time, worker id)
        self.refusals = []  # (method, path prefix, status or None to cut the connection), each used once
        self.lost_answers = []  # (method, path prefix): served, but the connection is cut instead of an answer
        self.requests = []  # "METHOD path"
        self.authorizations = set()  # headers
        self.runs = {}
        self.statuses = []  # of every later run: (state, {name of COUNTS: number})
        self.open_polls = 0
        self.known = {"token", "hostname", "concurrency", "tags", "cancel"}  # arguments of a registration
        self.limits = {}  # headers of the answer to a registration
        self.body_sizes = []
        self.returned = []  # (job id, body) of each job that a grader has returned
        self.handouts = {}  # job id → hand-out
        self.files = {}  # digest → bytes
        self.fetched = []  # (job id, digest)
        self.sent = []  # (job id, digest)
        self.largest_file = 2**30
        self.unknown_arguments = set()  # that it refuses, as an API of an earlier version
        self.cancelled = set()  # job ids
        self.chunks = {}  # job id → [(stream, offset, bytes)]
        self.faults = []  # of the heartbeats that state one
        self.named = []  # the jobs of each heartbeat that names them

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"api": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def put(self, *stages, job_id=None, **more):
        """Queues a job, and returns its id."""
        job_id = job_id or secrets.token_hex(16)
        with self.changed:
            self.queue.append({"job_id": job_id, "attempt": 1, "stages": list(stages), **more})
            self.changed.notify_all()
        return job_id

    def keep(self, content):
        """Stores a file: the keys of an entry that names it."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.files[digest] = content
        return {"digest": digest, "size": len(content)}

    def take_files(self):
        """From now on, registrations may have `files`."""
        self.known.add("files")
        self.limits["Broadway-Files"] = "input, results"

    def take_faults(self):
        """From now on, registrations and heartbeats may have `fault`."""
        self.known.add("fault")
        self.limits["Broadway-Registration"] = "fault"

    def wait_for(self, condition, seconds=10):
        """Returns as soon as condition() holds; fails the test after `seconds`."""
        with self.changed:
            assert self.changed.wait_for(condition, seconds), "waited in vain"

    def result_of(self, job_id, seconds=10):
        """The body that was posted for a job."""
        self.wait_for(lambda: job_id in self.results, seconds)
        return self.results[job_id]

    def log_of(self, job_id, stream):
        """What was sent of a job's log, without gaps."""
        text = b""
        for name, offset, chunk in self.chunks.get(job_id, []):
            if name == stream:
                assert offset == len(text)
                text += chunk
        return text.decode()

    def take_refusal(self, method, path):
        """The status to refuse this request with; 0 if it is to be served."""
        with self.changed:
            for refusal in self.refusals:
                if refusal[0] == method and path.startswith(refusal[1]):
                    self.refusals.remove(refusal)
                    return refusal[2]
        return 0

    def takes_answer_away(self, method, path):
        """True if the answer to this request must be lost."""
        with self.changed:
            for lost in self.lost_answers:
                if lost[0] == method and path.startswith(lost[1]):
                    self.lost_answers.remove(lost)
                    return True
        return False


class _Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        """Ignores disconnects of callers."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._dispatch("GET")

    def do_POST(self):
        self._dispatch("POST")

    def _dispatch(self, method):
        parts = urlsplit(self.path)
        self.arguments = dict(parse_qsl(parts.query, keep_blank_values=True))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.api.changed:
            self.api.requests.append(f"{method} {parts.path}")
            self.api.body_sizes.append(len(self.body))
            self.api.authorizations.add(self.headers.get("Authorization"))
            self.api.changed.notify_all()
        status = self.api.take_refusal(method, parts.path)
        if status is None:
            self._cut()
            return
        if status:
            self._answer(status, {"error": "refused by the test"})
            return
        unknown = self.api.unknown_arguments & set(self.arguments)
        if unknown:
            self._answer(400, {"error": f"unknown argument '{min(unknown)}'"})
            return
        words = parts.path.removeprefix("/api/v1/").split("/")
        getattr(self, f"_{method.lower()}_{words[0]}")(*words[1:])

    def _cut(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status, value=None):
        if self.api.takes_answer_away(self.command, urlsplit(self.path).path):
            self._cut()
            return
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        for header in self.api.limits.items() if "worker_id" in (value or {}) else ():
            self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _get_worker_register(self):
        if self.arguments.get("token") != self.api.token:
            self._answer(400, {"error": "wrong cluster token"})
            return
        for name in self.arguments.keys() - self.api.known:
            self._answer(400, {"error": f"unknown argument '{name}'"})
            return
        worker_id = secrets.token_hex(16)
        with self.api.changed:
            self.api.registrations.append(self.arguments)
            self.api.workers.add(worker_id)
            self.api.changed.notify_all()
        self._answer(200, {"worker_id": worker_id, "heartbeat": self.api.heartbeat})

    def _get_grading_job(self, job_id=None, _files=None, digest=None):
        if job_id is not None:
            self._get_file(job_id, digest)
            return
        api = self.api
        with api.changed:
            api.open_polls += 1
            api.changed.notify_all()
            deadline = time.monotonic() + float(self.arguments.get("wait", 18))
            while self._is_known() and not api.queue and not self._is_gone() and time.monotonic() < deadline:
                api.changed.wait(0.02)
            api.open_polls -= 1
            is_known = self._is_known()
            handout = api.queue.pop(0) if is_known and api.queue and not self._is_gone() else None
            if handout:
                api.handed_out.append(handout["job_id"])
                api.handouts[handout["job_id"]] = handout
            api.changed.notify_all()
        if not is_known:
            self._answer(400, {"error": "unknown worker"})
            return
        self._answer(200 if handout else 498, handout)

    def _is_known(self):
        return self.arguments["worker_id"] in self.api.workers

    def _is_gone(self):
        """True if the caller has disconnected: like the real API, the fake hands out nothing then."""
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def _get_file(self, job_id, digest):
        if not self._is_known() or digest not in self.api.files:
            self._answer(400, {"error": "no such file"})
            return
        self.api.fetched.append((job_id, digest))
        content = self.api.files[digest]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _post_file(self, job_id):
        if len(self.body) > self.api.largest_file:
            self._answer(413, {"error": "the file is too large"})
            return
        stored = self.api.keep(self.body)
        assert stored["digest"] == self.arguments["digest"] and self._is_known()
        self.api.sent.append((job_id, stored["digest"]))
        self._answer(200, stored)

    def _post_log(self, job_id):
        with self.api.changed:
            chunk = self.arguments["stream"], int(self.arguments["offset"]), self.body
            self.api.chunks.setdefault(job_id, []).append(chunk)
            self.api.changed.notify_all()
        self._answer(200, {"size": chunk[1] + len(chunk[2])})

    def _post_grading_job(self, job_id, files=None):
        if files is not None:
            (self._post_log if files == "log" else self._post_file)(job_id)
            return
        body = json.loads(self.body)
        with self.api.changed:
            is_first = job_id not in self.api.results
            if body.get("outcome") == "infrastructure" and is_first:
                self.api.returned.append((job_id, body))
                self.api.queue.append(self.api.handouts[job_id])
            else:
                self.api.results.setdefault(job_id, body)
            self.api.changed.notify_all()
        self._answer(200 if is_first else 400, {} if is_first else {"error": "the job has its result"})

    def _post_heartbeat(self):
        worker_id = self.arguments["worker_id"]
        if not self._is_known():
            self._answer(400, {"error": "unknown worker"})
            return
        with self.api.changed:
            self.api.heartbeats.append((time.monotonic(), worker_id))
            self.api.faults += [self.arguments["fault"]] if "fault" in self.arguments else []
            jobs = self.arguments["jobs"].split(",") if "jobs" in self.arguments else None
            self.api.named += [] if jobs is None else [jobs]
            self.api.changed.notify_all()
        self._answer(200, jobs and {"cancelled": [job for job in jobs if job in self.api.cancelled]})

    def _post_grading_run(self, run_id=None):
        if run_id is None:
            payload = json.loads(self.body)
            run_id = secrets.token_hex(12)
            self.api.runs[run_id] = {"payload": payload, "statuses": list(self.api.statuses), "state": "created"}
            self._answer(200, {"id": run_id})
            return
        if self.api.runs[run_id]["state"] != "created":
            self._answer(400, {"error": "the run was started already"})
            return
        self.api.runs[run_id]["state"] = "students"
        self._answer(200, {})

    def _get_grading_run(self, run_id):
        """The statuses that the test prepared, one after the other; the last of them stays."""
        run = self.api.runs[run_id]
        statuses = run["statuses"]
        if not statuses:
            statuses = [(run["state"], {})]
        state, counts = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        progress = {name: counts.get(name, 0) for name in COUNTS}
        self._answer(200, {"state": state, "progress": {"total": sum(progress.values()), **progress}})
