"""The grader's side of the protocol, over any number of replicas: who doesn't answer is passed over for the next."""

import contextlib
import os
import random
import socket
import threading

import httpx

from broadway_tools.grader.limits import Limits, read_limits, to_json

CONNECT_S = 5
ANSWER_S = 30
# A poll that names no time is held for as long as the server likes, 60 s at most.
LONGEST_POLL_S = 60
EMPTY = 498
JSON_TYPE = {"Content-Type": "application/json"}
TOLD_BY = "Broadway-Max-Log-Bytes"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10


class Unavailable(Exception):
    """No answer, or "not now": to be tried again after `pause_s`."""

    def __init__(self, why, pause_s):
        super().__init__(why)
        self.pause_s = pause_s


class Refused(Exception):
    """The server has said no, and why."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


class Stopped(Exception):
    """The connection was cut by our own stop."""


class Server:
    """A line to the API for one thread, which alone calls it; `stop` may come from any thread.

    Keeps to one replica while that answers, and pauses longer at every round of replicas that brought nothing."""

    def __init__(self, urls):
        self._urls = list(urls)
        self._current = 0
        self._failures = 0
        self._cut = _Cut()
        self.limits = Limits()  # those of the registration that this line has made
        self._client = httpx.Client(trust_env=False, timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S))

    def register(self, token, hostname, concurrency):
        """(worker id, heartbeat interval in seconds)"""
        params = {"token": token, "hostname": hostname, "concurrency": concurrency}
        answer = self._call("GET", "/api/v1/worker_register", params=params)
        return answer["worker_id"], answer["heartbeat"]

    def poll(self, worker_id, wait_s):
        """A hand-out, or None if there was no job."""
        params = {"worker_id": worker_id} | ({} if wait_s is None else {"wait": f"{wait_s:g}"})
        read_s = (LONGEST_POLL_S if wait_s is None else wait_s) + 10
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=read_s)
        return self._call("GET", "/api/v1/grading_job", params=params, timeout=timeout)

    def heartbeat(self, worker_id):
        """Says that this worker lives."""
        self._call("POST", "/api/v1/heartbeat", params={"worker_id": worker_id})

    def post_result(self, job_id, body):
        """Returns when the result is on record."""
        self._call("POST", f"/api/v1/grading_job/{job_id}", content=to_json(body), headers=JSON_TYPE)

    def stop(self):
        """No later call gets through. One that waits for its answer goes on until `cut`; but the server can see that
        nobody will take a job any more, so an answer that comes still is one that was on its way."""
        self._cut.stop()

    def cut(self):
        """After `stop`: a call that still waits ends now, with Stopped."""
        self._cut.cut()

    def _call(self, method, path, **request):
        """The answer's JSON (None if empty). Raises Unavailable, Refused, Stopped."""
        url = self._urls[self._current] + path
        self._cut.check()
        try:
            response = self._client.request(method, url, extensions={"trace": self._cut.trace}, **request)
        except (httpx.HTTPError, OSError) as error:
            self._cut.check()
            raise self._unavailable(f"{url}: {error or type(error).__name__}") from error
        if response.status_code in (429, 408) or response.status_code >= 500:
            raise self._unavailable(f"{url}: {response.status_code} {_sentence(response)}", response)
        if response.status_code == EMPTY:
            self._failures = 0
            return None
        if response.status_code != 200:
            raise Refused(response.status_code, _sentence(response))
        self._failures = 0
        if TOLD_BY in response.headers:
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
        return Unavailable(why, pause_s * random.uniform(0.75, 1.25))


class _Cut:
    """Ends a blocking request from another thread, by shutting down the socket it waits on."""

    def __init__(self):
        self._lock = threading.Lock()
        self._socket = None
        self._is_stopped = False

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
        """Called by the HTTP client for all that it does."""
        if event != "connection.connect_tcp.complete":
            return
        with self._lock:
            self._socket = info["return_value"].get_extra_info("socket")
            if self._is_stopped:
                self._shut_down(socket.SHUT_RDWR)

    def _shut_down(self, how):
        if self._socket is None or self._socket.fileno() < 0:
            return
        # By a copy of the descriptor: a TLS socket's own shutdown would meddle with the other thread's.
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self._socket.fileno())) as copy:
            copy.shutdown(how)


def _sentence(response):
    """What the server says is wrong."""
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
