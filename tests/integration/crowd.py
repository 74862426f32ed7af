"""Many graders in one thread: plain sockets and a selector, for load and for large numbers of waiting graders."""

import json
import selectors

from raw import connect
from waiting import PATIENCE


class Member:
    """One grader of the crowd, with a connection of its own."""

    def __init__(self, url, token):
        self.link = connect(url)
        answer = self.ask("GET", f"/api/v1/worker_register?token={token}")
        assert answer.status == 200
        self.id = json.loads(answer.body)["worker_id"]

    def ask(self, method, path, body=b""):
        self.send(method, path, body)
        return self.link.read_answer()

    def send(self, method, path, body=b""):
        length = f"Content-Length: {len(body)}\r\n" if method == "POST" else ""
        self.link.send(f"{method} {path} HTTP/1.1\r\nHost: broadway\r\n{length}\r\n".encode() + body)

    def park(self, wait=55):
        self.send("GET", f"/api/v1/grading_job?worker_id={self.id}&wait={wait}")

    def send_result(self, job, result="done"):
        body = json.dumps({"worker_id": self.id, "result": result}).encode()
        self.send("POST", f"/api/v1/grading_job/{job}", body)


class Crowd:
    """Graders that wait for jobs together."""

    def __init__(self, urls, token, count):
        self.members = [Member(urls[n % len(urls)], token) for n in range(count)]
        self.selector = selectors.DefaultSelector()
        for member in self.members:
            self.selector.register(member.link.socket, selectors.EVENT_READ, member)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.selector.close()
        for member in self.members:
            member.link.close()

    def park(self):
        for member in self.members:
            member.park()

    def ready(self, seconds=10):
        """The members with bytes to read."""
        return [key.data for key, _ in self.selector.select(seconds * PATIENCE)]

    def work(self, jobs, result="done"):
        """Takes jobs and sends results, all members at once, until `jobs` results were accepted. Every member must have
        a parked poll before, and has one again afterwards."""
        accepted, working = 0, set()
        while accepted < jobs:
            ready = self.ready(30)
            assert ready, f"nothing comes any more, after {accepted} of {jobs} jobs"
            for member in ready:
                accepted += self._step(member, working, result)

    @staticmethod
    def _step(member, working, result):
        """Makes one step of a member; returns 1 if its result was accepted."""
        answer = member.link.read_answer()
        if answer.status == 200 and member not in working:
            working.add(member)
            member.send_result(json.loads(answer.body)["job_id"], result)
            return 0
        was_working = member in working
        assert answer.status == (200 if was_working else 498), f"{answer.status}: {answer.body}"
        working.discard(member)
        member.park()
        return int(was_working)
