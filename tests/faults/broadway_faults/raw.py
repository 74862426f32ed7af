"""A result that is uploaded in parts over a plain socket, and written into the history."""

import json
import socket
from urllib.parse import urlsplit

from broadway_faults.caller import ROUTE
from broadway_faults.dump import result_digest

TIMEOUT_S = 20


class Upload:
    """One POST of a result, with its body sent in parts. `declared` is the Content-Length that it claims."""

    def __init__(self, scene, grader, job, replica, size, declared=None):
        self.scene = scene
        value = {"by": grader.number, "text": "x" * size}
        body = json.dumps({"worker_id": grader.id, "result": value}).encode()
        self.body, self.sent = body, 0
        facts = {"replica": replica, "worker": grader.id, "job": job["job_id"], "value": result_digest(value)}
        self.call = scene.history.invoke(grader.caller.name, "result", **facts)
        place = urlsplit(scene.urls[replica])
        self.socket = socket.create_connection((place.hostname, place.port), timeout=TIMEOUT_S)
        head = f"POST {ROUTE}/grading_job/{job['job_id']} HTTP/1.1\r\nHost: {place.netloc}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {declared or len(body)}\r\n\r\n"
        self.socket.sendall(head.encode())

    def send_part(self, share):
        """Sends the body up to this share."""
        end = int(len(self.body) * share)
        try:
            self.socket.sendall(self.body[self.sent : end])
        except OSError:
            return
        self.sent = end

    def answer(self):
        """The status of the answer; 0: none."""
        text = b""
        try:
            while b"\r\n" not in text:
                piece = self.socket.recv(4096)
                if not piece:
                    break
                text += piece
            status = int(text.split()[1])
        except (OSError, IndexError, ValueError):
            status = 0
        finally:
            self.socket.close()
        kind = "ok" if status == 200 else "fail" if 400 <= status < 500 else "unknown"
        self.scene.history.complete(self.call, kind, status=status)
        return status


class ParkedPolls:
    """Many polls of one worker, each on its own connection, which is not read."""

    def __init__(self, scene, grader, replica, count, wait=30):
        place = urlsplit(scene.urls[replica])
        head = f"GET {ROUTE}/grading_job?worker_id={grader.id}&wait={wait} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n"
        self.sockets = []
        for _ in range(count):
            link = socket.create_connection((place.hostname, place.port), timeout=TIMEOUT_S)
            link.sendall(head.encode())
            self.sockets.append(link)

    def close(self):
        for link in self.sockets:
            link.close()
