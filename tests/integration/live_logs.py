"""A job of either protocol whose log is sent in chunks while it runs."""

import contextlib
import json
import socket
import threading

import httpx
from broadway import ROUTE
from course import COURSES, config_of
from course_names import bearer
from pipelines import run_of
from waiting import PATIENCE


class ClassicJob:
    """A job that a grader of the classic protocol has taken. Clients and graders may use different replicas."""

    def __init__(self, stack, **run):
        self.stack = stack
        self.grader = stack.grader()
        self.run = stack.api.submit_and_start(run_of(**run))
        self.id = self.grader.take()["job_id"]

    def send(self, offset, chunk, stream="stdout", grader=None, replica=0):
        """The answer to a chunk; `chunk` is bytes."""
        grader = grader or self.grader
        query = {"worker_id": grader.id, "stream": stream, "offset": offset}
        return grader.at(self.stack.urls[replica]).http.post(
            f"{ROUTE}/grading_job/{self.id}/log", params=query, content=chunk
        )

    def log(self, stream="stdout", replica=1, **query):
        """The answer to a client that asks for the log."""
        path = f"{ROUTE}/grading_job/{self.id}/log"
        return self.stack.apis[replica].http.get(path, params={"stream": stream, **query})

    def follow(self, stream="stdout", replica=1, last=None):
        path = f"{ROUTE}/grading_job/{self.id}/log?stream={stream}"
        return LogStream(self.stack.urls[replica], path, {}, last)

    def finish(self, **logs):
        return self.grader.finish(self.id, result={"ok": True}, success=True, logs=logs)

    @staticmethod
    def data(answer):
        assert answer.status_code == 200, answer.text
        return answer.json()

    @staticmethod
    def error(answer):
        return answer.json()["error"]


class CourseJob(ClassicJob):
    """The same in the course protocol."""

    def __init__(self, staff):
        self.stack = staff.stack
        self.staff = staff
        self.course = staff.course(replica=1)
        self.grader = staff.grader()
        self.run = self.course.run(config=config_of())
        self.over = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()
        self.id = self.grader.take()["grading_job_id"]

    def _beat(self):
        """Keeps the grader alive while it holds the job, or for half a minute."""
        url, headers = f"{self.stack.urls[0]}{ROUTE}/heartbeat/{self.grader.name}", self.grader.http.headers
        for _ in range(60):
            if self.over.wait(0.5):
                return
            with contextlib.suppress(httpx.HTTPError):  # the stack may have gone
                httpx.post(url, headers=headers, trust_env=False, timeout=30)

    def send(self, offset, chunk, stream="stdout", grader=None, replica=0):
        grader = grader or self.grader
        url = f"{self.stack.urls[replica]}{ROUTE}/grading_job/{grader.name}/{self.id}/log"
        return grader.http.post(url, params={"stream": stream, "offset": offset}, content=chunk)

    def log(self, stream="stdout", replica=1, **query):
        url = f"{self.stack.urls[replica]}{ROUTE}/grading_job/{self.course.name}/{self.id}/log"
        return self.course.http.get(url, params={"stream": stream, **query})

    def follow(self, stream="stdout", replica=1, last=None):
        path = f"{ROUTE}/grading_job/{self.course.name}/{self.id}/log?stream={stream}"
        return LogStream(self.stack.urls[replica], path, bearer(COURSES[self.course.name]["tokens"][0]), last)

    def finish(self, **logs):
        self.over.set()
        return self.grader.finish(self.id, logs=logs)

    @staticmethod
    def data(answer):
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    @staticmethod
    def error(answer):
        body = answer.json()
        data = body.get("data", body)
        return data if isinstance(data, str) else data["message"]


class LogStream:
    """An open stream of a log's events."""

    def __init__(self, url, path, headers, last=None):
        host, port = url[7:].split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30 * PATIENCE)
        headers = {"Host": "127.0.0.1", "Accept": "text/event-stream", **headers}
        if last is not None:
            headers["Last-Event-ID"] = last
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self.socket.sendall("\r\n".join(lines).encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        while self.file.readline() not in (b"\r\n", b""):
            pass
        self.text = ""
        self.last = None

    def close(self):
        self.file.close()
        self.socket.close()

    def next(self):
        """(type, data) of the next event; None at the end of the stream."""
        while "\n\n" not in self.text or self.text.startswith(":"):
            if self.text.startswith(":\n\n"):
                self.text = self.text[3:]
                continue
            size = int(self.file.readline(), 16)
            piece = self.file.read(size + 2)[:size]
            if not piece:
                return None
            self.text += piece.decode()
        event, _, self.text = self.text.partition("\n\n")
        fields = dict(line.split(": ", 1) for line in event.split("\n"))
        self.last = fields.get("id", self.last)
        return fields["event"], json.loads(fields["data"])

    def rest(self):
        """All events until the end."""
        return list(iter(self.next, None))
