"""The grader's client of the classic protocol, with any number of replicas: if one doesn't answer, the next is used."""

import contextlib
import functools
import hashlib
import os
import random
import socket
import threading

import httpx

from broadway_tools.grader.json_stream import JsonBody
from broadway_tools.grader.limits import CANCEL, FILES, LOGS, OPTIONAL, OUTCOMES, SCORES, Limits, read_limits
from broadway_tools.grader.registration import register
from broadway_tools.grader.server_errors import Interrupted, Refused, Stopped, Unavailable

CONNECT_S = 5
ANSWER_S = 30
# A poll without a `wait` is held for the server's default, 60 s at most.
LONGEST_POLL_S = 60
EMPTY = 498
FILE_PIECE = 256 * 1024
# The most jobs that one heartbeat may name.
JOBS_OF_HEARTBEAT = 100
JSON_TYPE = {"Content-Type": "application/json"}
TOLD_BY = {"broadway-max-log-bytes", *(name.lower() for name in (OUTCOMES, CANCEL, FILES, LOGS, SCORES, OPTIONAL))}
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10


class Server:
    """A connection to the API for one thread; only `stop` and `cut` may be called from other threads.

    Uses one replica while it answers, and pauses longer after every round of replicas without an answer."""

    def __init__(self, urls, _token=None, optional=None):
        self._urls = list(urls)
        self._optional = optional or {}  # arguments of the registration
        self._current = 0
        self._failures = 0
        self._headers = {}  # of every request that needs some
        self._cut = _Cut()
        self.limits = Limits()  # from the registration over this connection
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        self._client = httpx.Client(verify=tls_context(), trust_env=False, timeout=timeout)

    def register(self, token, hostname, concurrency, fault=""):
        """(worker id, heartbeat interval in seconds). `fault` says why this machine can't run jobs."""
        params = {"token": token, "hostname": hostname, "concurrency": concurrency}
        answer = register(
            lambda optional: self._call("GET", "/api/v1/worker_register", params=params | optional),
            self._optional_with(fault),
        )
        return answer["worker_id"], answer["heartbeat"]

    def poll(self, worker_id, wait_s):
        """A hand-out, or None if there was no job."""
        params = {"worker_id": worker_id} | ({} if wait_s is None else {"wait": f"{wait_s:g}"})
        read_s = (LONGEST_POLL_S if wait_s is None else wait_s) + 10
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=read_s)
        return self._call("GET", "/api/v1/grading_job", params=params, timeout=timeout)

    def heartbeat(self, worker_id, jobs=None, fault=None):
        """Sends a heartbeat of this worker, which holds these jobs. Returns those of them that are cancelled. `jobs`
        None: the server doesn't tell. `fault` says why this machine can't run jobs; "": it can again; None: nothing
        has to be said."""
        return self._beat(
            jobs, fault, lambda more: self._call("POST", "/api/v1/heartbeat", params={"worker_id": worker_id, **more})
        )

    def post_result(self, job_id, body):
        """Returns when the result is stored."""
        self._call("POST", f"/api/v1/grading_job/{job_id}", **json_content(body, JSON_TYPE))

    def send_log(self, job_id, worker_id, stream, offset, chunk):
        """Sends a chunk of the log of a job that runs."""
        params = {"worker_id": worker_id, "stream": stream, "offset": offset}
        self._call("POST", f"/api/v1/grading_job/{job_id}/log", params=params, **bytes_content(chunk))

    def fetch_file(self, job_id, worker_id, digest, size, file):
        """Writes a file of a job, whose digest and size must be these, to an open file."""
        self._fetch(f"/api/v1/grading_job/{job_id}/files/{digest}", {"worker_id": worker_id}, (digest, size), file)

    def send_file(self, job_id, worker_id, digest, size, file):
        """Returns when the content of an open file is stored for a job."""
        params = {"worker_id": worker_id, "digest": digest}
        self._call("POST", f"/api/v1/grading_job/{job_id}/files", params=params, **file_content(file, size))

    def stop(self):
        """Later calls fail. A call that waits for its answer continues until `cut`. The server sees that this client
        has closed its side, so only an answer that was sent before can still arrive."""
        self._cut.stop()

    def cut(self):
        """After `stop`: ends a call that still waits, with Stopped."""
        self._cut.cut()

    def interrupt(self):
        """Ends a call that waits, with Interrupted; later calls are served."""
        self._cut.interrupt()

    def _optional_with(self, fault):
        return self._optional | ({"fault": fault} if fault else {})

    def _beat(self, jobs, fault, beat):
        """The cancelled ones of `jobs`, by as many heartbeats as it takes to name them."""
        said = {} if fault is None else {"fault": fault}
        if jobs is None:
            self._with_or_without(said, beat)
            return []
        cancelled = []
        for start in range(0, max(len(jobs), 1), JOBS_OF_HEARTBEAT):
            named = ",".join(jobs[start : start + JOBS_OF_HEARTBEAT])
            answer = self._with_or_without({"jobs": named, **said}, beat)
            cancelled += answer["cancelled"] if answer else []
        return cancelled

    @staticmethod
    def _with_or_without(arguments, call):
        """The answer to a call with these arguments; without those that a replica of an earlier version refuses."""
        while True:
            try:
                return call(arguments)
            except Refused as error:
                unknown = [name for name in arguments if error.status == 400 and f"'{name}'" in str(error)]
                if not unknown:
                    raise
            arguments = {name: value for name, value in arguments.items() if name not in unknown}

    def _call(self, method, path, **request):
        """The answer's JSON (None if empty). Raises Unavailable, Refused, Stopped."""
        with self._answer(method, path, **request) as (url, response):
            response.read()
            return self._json(url, response)

    def _fetch(self, path, params, expected, file):
        """Copies the answer's bytes to a file, of which the caller states (digest, size). Raises OSError too, of the
        file."""
        digest, size, failure = hashlib.sha256(), 0, None
        file.seek(0)
        file.truncate()
        with self._answer("GET", path, params=params, headers=self._headers) as (url, response):
            if response.status_code != 200:
                response.read()
                self._check(url, response)
                raise Refused(response.status_code, _sentence(response))
            for piece in response.iter_bytes(FILE_PIECE):
                digest.update(piece)
                size += len(piece)
                if size > expected[1] or (failure := _write(file, piece)):
                    break
        if failure:
            raise failure
        if (f"sha256:{digest.hexdigest()}", size) != expected:
            raise self._unavailable(f"{url}: the file is another one")
        self._failures = 0

    @contextlib.contextmanager
    def _answer(self, method, path, **request):
        """(url, the response, whose body is not read yet). Raises Unavailable and Stopped, also within the context."""
        url = self._urls[self._current] + path
        self._cut.begin()
        try:
            with self._client.stream(method, url, extensions={"trace": self._cut.trace}, **request) as response:
                yield url, response
        except (httpx.HTTPError, OSError) as error:
            self._cut.check()
            if self._cut.is_interrupted:
                raise Interrupted("interrupted", 0) from error
            raise self._unavailable(f"{url}: {error or type(error).__name__}") from error

    def _check(self, url, response):
        """Raises Unavailable, or Refused."""
        if response.status_code in (429, 408) or response.status_code >= 500:
            raise self._unavailable(f"{url}: {response.status_code} {_sentence(response)}", response)
        if response.status_code not in (200, EMPTY):
            raise Refused(response.status_code, _sentence(response))

    def _json(self, url, response):
        """The answer's JSON; None if it is empty."""
        self._check(url, response)
        self._failures = 0
        if response.status_code == EMPTY:
            return None
        if not TOLD_BY.isdisjoint(response.headers):
            self.limits = read_limits(response.headers)
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise self._unavailable(f"{url}: the answer is not JSON") from error

    def _unavailable(self, why, response=None):
        self._current = (self._current + 1) % len(self._urls)
        rounds = self._failures // len(self._urls)
        is_round_over = self._failures % len(self._urls) == len(self._urls) - 1
        self._failures += 1
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(rounds, 10)) if is_round_over else 0
        if is_round_over and response is not None:
            pause_s = max(pause_s, _retry_after(response))
        return Unavailable(why, pause_s * random.uniform(1, 1.25))


class _Cut:
    """Ends a blocking request from another thread, by shutting down the socket it waits on."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket = None
        self._is_stopped = False
        self.is_interrupted = False  # the call under way

    def begin(self):
        """A call begins."""
        self.check()
        self.is_interrupted = False

    def interrupt(self):
        with self._lock:
            self.is_interrupted = True
            self._shut_down(socket.SHUT_RDWR)

    def stop(self):
        with self._lock:
            self._is_stopped = True
            self._shut_down(socket.SHUT_WR)

    def cut(self):
        with self._lock:
            self._shut_down(socket.SHUT_RDWR)

    def check(self):
        if self._is_stopped:
            raise Stopped

    def trace(self, event, info):
        """Called by the HTTP client for each of its steps."""
        if event != "connection.connect_tcp.complete":
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            if self._is_stopped or self.is_interrupted:
                self._shut_down(socket.SHUT_RDWR)

    def _shut_down(self, how):
        if self._socket is None or self._socket.fileno() < 0:
            return
        # By a copy of the descriptor: a TLS socket's own shutdown would interfere with the other thread.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._socket.fileno())) as copy:
            copy.shutdown(how)


def json_content(body, headers):
    """The arguments of a request with a JSON body. With its length, which some servers need."""
    content = JsonBody(body)
    return {"content": content, "headers": {**headers, "Content-Length": str(content.size)}}


def file_content(file, size):
    """The arguments of a request whose body is an open file's content, from its beginning."""
    file.seek(0)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
    return {"content": iter(lambda: file.read(FILE_PIECE), b""), "headers": headers}


def bytes_content(content):
    """The arguments of a request whose body is some bytes."""
    return {"content": content, "headers": {"Content-Type": "application/octet-stream"}}


def _write(file, piece):
    """The error, which must not be taken for one of the connection; None if there was none."""
    try:
        file.write(piece)
        return None
    except OSError as error:
        return error


@functools.cache
def tls_context():
    """One for all connections, as each would hold all authorities."""
    return httpx.create_ssl_context(trust_env=False)


def _sentence(response):
    """The server's error sentence."""
    try:
        body = response.json()
        if body.get("status") == "fail":
            data = body["data"]
            return str(data if isinstance(data, str) else data["message"])
        return str(body.get("error") or body["message"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return response.text[:200]


def _retry_after(response):
    value = response.headers.get("retry-after", "")
    return min(int(value), 60) if value.isdigit() else 0
