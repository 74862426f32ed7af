"""Clients that hold memory or CPU of a replica, and measurements of its graders meanwhile."""

import base64
import contextlib
import itertools
import json
import os
import select
import socket
import statistics
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from pipelines import run_of
from processes import resident_bytes
from waiting import PATIENCE, wait_until

MIB = 1024 * 1024
PART = 65536


def dial(url, timeout=5, source=None):
    """A connection, from the address `source` if there is one."""
    parts = urlsplit(url)
    address = None if source is None else (source, 0)
    return socket.create_connection((parts.hostname, parts.port), timeout=timeout, source_address=address)


def head_of(path, length, *headers):
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *headers, "", ""]
    return "\r\n".join(lines).encode()


class Attack:
    """Threads that repeat one action until the block ends."""

    def __init__(self, count, act):
        self.over = threading.Event()
        self.statuses = []
        self.threads = [threading.Thread(target=self._run, args=(act,), daemon=True) for _ in range(count)]

    def _run(self, act):
        while not self.over.is_set():
            with contextlib.suppress(OSError):
                self.statuses.append(act(self.over))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(20)


def status_of(link):
    """The status of an answer; None: none came."""
    text = link.recv(4096)
    return int(text.split()[1]) if text.startswith(b"HTTP/") else None


def drip(url, path, length, *headers, at_once=None, begin=b'{"worker_id": "', sources=(None,)):
    """Sends almost the whole body at once, then 1.2 KB a second; begins again when it is ended, each time from the next
    of `sources`."""
    at_once = length - PART if at_once is None else at_once
    filler = b"x" * PART
    turns = itertools.cycle(sources)

    def act(over):
        with dial(url, source=next(turns)) as link:
            link.sendall(head_of(path, length, *headers) + begin)
            sent = len(begin)
            while sent < at_once:
                sent += link.send(filler[: at_once - sent])
            link.settimeout(1)
            while not over.is_set():
                link.sendall(b"x" * 1200)
                with contextlib.suppress(TimeoutError):
                    return status_of(link)
            return None

    return act


def post(url, path, body, *headers):
    """Sends a whole body and waits for the answer."""

    def act(_over):
        with dial(url, timeout=30) as link:
            with contextlib.suppress(ConnectionError):
                link.sendall(head_of(path, len(body), *headers) + body)
            return status_of(link)

    return act


def bomb(size, key="worker_id"):
    """JSON that is many times as large in memory."""
    beginning = f'{{"{key}":['
    return (beginning + "{}," * ((size - len(beginning)) // 3) + "{}]}").encode()


class Watch:
    """Samples the memory of a process."""

    def __init__(self, pid):
        self.pid = pid
        self.before = self.peak = resident_bytes(pid)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self.over.wait(0.05):
            self.peak = max(self.peak, resident_bytes(self.pid))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    @property
    def growth(self):
        return self.peak - self.before

    def wait_returned(self, slack):
        """Waits until the memory is at most `slack` bytes above what it was."""
        wait_until(lambda: resident_bytes(self.pid) < self.before + slack, 20, "the memory has come back")


class Fleet:
    """Graders that each have a job, send heartbeats and results and take the next job; and a client that submits small
    runs. `waits` has their waiting times by kind of request."""

    def __init__(self, stack, graders=3, jobs=500):
        self.stack = stack
        self.run = stack.api.submit_and_start(run_of(jobs))
        self.graders = [stack.grader(hostname=f"known{number}", concurrency=1) for number in range(graders)]
        self.jobs = [grader.take() for grader in self.graders]
        for grader in self.graders:
            assert grader.beat().status_code == 200
        self.waits = {}
        self.over = threading.Event()
        self.beaters = ThreadPoolExecutor(graders)
        self.beats = []

    def time(self, what, function, *arguments, **more):
        begun = time.monotonic()
        answer = function(*arguments, **more)
        self.waits.setdefault(what, []).append(time.monotonic() - begun)
        return answer

    def _beat(self, grader):
        """Sends heartbeats, at shorter intervals than the server requires."""
        link = grader.at(self.stack.urls[0])
        while not self.over.is_set():
            for style in ("form", "json", "query"):
                answer = self.time("heartbeat", link.beat, style)
                assert answer.status_code == 200, answer.text
            self.over.wait(0.2)
        link.close()

    def begin_beating(self):
        """Starts the heartbeats, which a grader with a hostname must send also while a test waits."""
        self.beats = [self.beaters.submit(self._beat, grader) for grader in self.graders]

    def _stop_beating(self):
        self.over.set()
        self.beaters.shutdown()
        for beat in self.beats:
            beat.result()

    def deliver(self, number, size=100_000):
        """One grader sends its result and takes the next job."""
        grader = self.graders[number]
        self.time("result", grader.finish, self.jobs[number], "x" * size)
        self.jobs[number] = grader.take()

    def _work(self, number, deadline):
        while time.monotonic() < deadline:
            self.deliver(number)
            time.sleep(0.1)

    def work(self, seconds):
        deadline = time.monotonic() + seconds
        with ThreadPoolExecutor(len(self.graders)) as pool:
            workers = [pool.submit(self._work, number, deadline) for number in range(len(self.graders))]
            while time.monotonic() < deadline:
                self.time("submission", self.stack.api.submit, run_of(3))
                time.sleep(0.1)
            for worker in workers:
                worker.result()

    def check(self, seconds=1):
        """Checks that no request took long and no job was lost. The limit for the maximum is loose, since the tests
        share the processors with other processes."""
        for what, waits in self.waits.items():
            usual, worst = statistics.median(waits), max(waits)
            assert usual < seconds * PATIENCE and worst < 5 * seconds * PATIENCE, (what, usual, worst)
        lost = list(self.stack.database.db.job_leases.find({"_id": {"$regex": f"^{self.run}"}, "ended": "lost"}))
        assert not lost, (lost, {what: max(waits) for what, waits in self.waits.items()})

    def end(self):
        self._stop_beating()
        self.stack.api.cancel(self.run)
        for grader, job in zip(self.graders, self.jobs, strict=True):
            grader.finish_response(job, "swept up")


def upgrade(url, token, name):
    """A connection that has become a websocket."""
    link = dial(url)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET /api/v1/worker_ws/{name} HTTP/1.1",
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
        f"Authorization: Bearer {token}",
        "",
        "",
    ]
    link.sendall("\r\n".join(lines).encode())
    head = b""
    while b"\r\n\r\n" not in head:  # the bytes after the head are left for the reader
        part = link.recv(1)
        assert part, head
        head += part
    assert b" 101 " in head
    return link


def close_code(link, seconds):
    """(code, reason) with which the server closes a websocket."""
    link.settimeout(seconds * PATIENCE)
    data = link.recv(4096)
    while data[:2] == b"\x89\x00":  # pings
        data = data[2:] or link.recv(4096)
    assert data[:1] == b"\x88", data
    return struct.unpack("!H", data[2:4])[0], data[4 : 2 + data[1]].decode()


def flood(link, data, seconds, reads=True):
    """Sends `data` repeatedly, as fast as the peer reads, and drops received bytes if `reads`. Returns the number of
    bytes sent in that time, or until the connection broke."""
    deadline, taken = time.monotonic() + seconds, 0
    data = memoryview(data)
    link.setblocking(False)
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            readable, writable, _ = select.select([link] if reads else [], [link], [], 0.1)
            if readable and not link.recv(PART):
                break
            if writable:
                taken += link.send(data[taken % len(data) :])
    link.setblocking(True)
    return taken


class RawSocket:
    """A registered websocket that writes frames by hand, masked with zeros."""

    def __init__(self, url, token, name):
        self.link = upgrade(url, token, name)
        self.send(json.dumps({"type": "register", "args": {"hostname": "host"}}).encode())
        assert b"true" in self.link.recv(4096)

    @staticmethod
    def frame(length, opcode=1, is_final=True):
        first = (0x80 if is_final else 0) | opcode
        if length < 126:
            return struct.pack("!BB4x", first, 0x80 | length)
        if length < 65536:
            return struct.pack("!BBH4x", first, 0x80 | 126, length)
        return struct.pack("!BBQ4x", first, 0x80 | 127, length)

    def send(self, text, **options):
        self.link.sendall(self.frame(len(text), **options) + text)

    def send_unfinished(self, claimed, sent):
        """Begins a message of `claimed` bytes and sends `sent` of them, or as many as are read."""
        self.link.settimeout(1)
        part = b"x" * PART
        with contextlib.suppress(OSError):
            self.link.sendall(self.frame(claimed))
            while sent > 0:
                sent -= self.link.send(part[:sent])

    def close_code(self, seconds):
        return close_code(self.link, seconds)

    def close(self):
        self.link.close()
