"""Many graders of the course protocol in one thread: plain sockets and a selector, half of them polling and half with a
websocket, for load and for large numbers of waiting graders."""

import json
import selectors
import socket
import struct
import time

from course_names import bearer, unique
from raw import connect
from waiting import PATIENCE


class Poller:
    """A grader that polls."""

    def __init__(self, url, token):
        self.name = unique("poller")
        self.head = f"Host: x\r\nAuthorization: {bearer(token)['Authorization']}\r\n"
        self.link = connect(url)
        self.socket = self.link.socket
        self.job = None
        self._send("POST", f"worker/{self.name}", {"hostname": "crowd"})
        assert self.link.read_answer().status == 200

    def wait(self):
        self._send("GET", f"grading_job/{self.name}")

    def step(self, taken):
        """Makes one step; returns how many results were acknowledged."""
        answer = self.link.read_answer()
        if self.job is not None:
            assert answer.status == 200, answer.body
            self.job = None
            self.wait()
            return 1
        if answer.status == 498:
            self.wait()
            return 0
        self.job = json.loads(answer.body)["data"]["grading_job_id"]
        taken.append((self.job, time.monotonic()))
        body = {"grading_job_id": self.job, "success": True, "results": [], "logs": {}}
        self._send("POST", f"grading_job/{self.name}", body)
        return 0

    def close(self):
        self.link.close()

    def _send(self, method, path, body=None):
        text = b"" if body is None else json.dumps(body).encode()
        length = f"Content-Length: {len(text)}\r\n" if method == "POST" else ""
        self.link.send(f"{method} /api/v1/{path} HTTP/1.1\r\n{self.head}{length}\r\n".encode() + text)


class Pushed:
    """A grader with a websocket."""

    def __init__(self, url, token):
        self.name = unique("pushed")
        host, port = url[7:].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.data = b""
        head = f"GET /api/v1/worker_ws/{self.name} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {'A' * 22}==\r\n"
        self.socket.sendall(f"{head}Authorization: {bearer(token)['Authorization']}\r\n\r\n".encode())
        while b"\r\n\r\n" not in self.data:
            self.data += self.socket.recv(4096)
        assert self.data.startswith(b"HTTP/1.1 101 ")
        self.data = self.data.partition(b"\r\n\r\n")[2]
        self._send({"type": "register", "args": {"hostname": "crowd"}})
        while not (frames := self._frames()):
            self.data += self.socket.recv(4096)
        assert frames == [(1, b'{"success": true}')]

    def wait(self):
        """Does nothing: a websocket always waits."""

    def step(self, taken):
        """Makes one step; returns how many results were sent. Results by websocket are not acknowledged."""
        received = self.socket.recv(65536)
        assert received, f"{self.name} was closed"
        self.data += received
        sent = 0
        for opcode, payload in self._frames():
            if opcode == 9:
                self.socket.sendall(self._frame(10, payload))
            else:
                assert opcode == 1, (opcode, payload)
                sent += self._finish(json.loads(payload)["grading_job_id"], taken)
        return sent

    def close(self):
        self.socket.close()

    def _finish(self, job, taken):
        taken.append((job, time.monotonic()))
        self._send(
            {
                "type": "job_result",
                "args": {"grading_job_id": job, "success": True, "results": [], "logs": {}},
            }
        )
        return 1

    def _send(self, message):
        self.socket.sendall(self._frame(1, json.dumps(message).encode()))

    @staticmethod
    def _frame(opcode, payload):
        """A frame masked with zeros, so that the payload is unchanged."""
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
        return bytes([0x80 | opcode]) + length + b"\0\0\0\0" + payload

    def _frames(self):
        """(opcode, payload) of all complete frames."""
        frames = []
        while len(self.data) >= 2:
            size, at = self.data[1], 2
            if size == 126:
                size, at = int.from_bytes(self.data[2:4], "big"), 4
            if len(self.data) < at + size:
                break
            frames.append((self.data[0] & 15, self.data[at : at + size]))
            self.data = self.data[at + size :]
        return frames


class CourseCrowd:
    """Graders that take and finish every job."""

    def __init__(self, members):
        self.members = members
        self.selector = selectors.DefaultSelector()
        self.taken = []  # (job, when), in the order of arrival
        for member in members:
            member.socket.settimeout(60)
            self.selector.register(member.socket, selectors.EVENT_READ, member)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.selector.close()
        for member in self.members:
            member.close()

    def wait(self):
        for member in self.members:
            member.wait()

    def work(self, jobs, seconds=60):
        """Returns when this many results were sent (and acknowledged, over HTTP)."""
        finished = 0
        while finished < jobs:
            ready = self.selector.select(seconds * PATIENCE)
            assert ready, f"nothing comes any more, after {finished} of {jobs} jobs"
            finished += sum(key.data.step(self.taken) for key, _ in ready)
