"""Row 67: logs of jobs are sent and followed while they run."""

import http.client
import json
import threading
from urllib.parse import urlencode, urlsplit

from broadway_faults.caller import ROUTE, fetch
from broadway_faults.cluster import Plan
from broadway_faults.instructors import OVER
from broadway_faults.registry import row

LINES = 50
LOG = "".join(f"line {number}\n" for number in range(LINES))


def send_chunk(scene, grader, job, offset, chunk):
    """The answer to a chunk; 0: none."""
    query = urlencode({"worker_id": grader.id, "stream": "stdout", "offset": offset})
    url = scene.random.choice(scene.urls)
    return fetch(url, "POST", f"{ROUTE}/grading_job/{job}/log?{query}", chunk.encode(), timeout_s=5)


class Writer(threading.Thread):
    """Sends a log line by line, each until somebody says yes or no, and some of them twice."""

    def __init__(self, scene, grader, job):
        super().__init__(daemon=True)
        self.scene, self.grader, self.job = scene, grader, job
        self.refusals = []
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self):
        while not self.grader.leaving.wait(0.3):
            self.grader.beat()

    def run(self):
        offset = 0
        for number, line in enumerate(LOG.splitlines(keepends=True)):
            for _ in range(1 + (number % 3 == 0)):
                while (answer := send_chunk(self.scene, self.grader, self.job, offset, line)).kind == "unknown":
                    self.scene.pause(0.05)
                if answer.kind == "fail":
                    self.refusals.append(answer.text)
            offset += len(line)
            self.scene.pause(0.08)


class Follower(threading.Thread):
    """Follows a log at one replica after the other, from where the last stream broke."""

    def __init__(self, scene, job):
        super().__init__(daemon=True)
        self.scene, self.job = scene, job
        self.text, self.last, self.state = "", None, None

    def run(self):
        tries = 0
        while self.state is None and tries < 500:
            tries += 1
            try:
                self._follow(urlsplit(self.scene.urls[tries % len(self.scene.urls)]))
            except (OSError, http.client.HTTPException, ValueError):
                self.scene.pause(0.1)

    def _follow(self, place):
        connection = http.client.HTTPConnection(place.hostname, place.port, timeout=25)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": self.last} if self.last else {})}
        try:
            connection.request("GET", f"{ROUTE}/grading_job/{self.job}/log?stream=stdout", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise ValueError(answer.status)
            fields = {}
            while line := answer.readline().decode():
                name, _, value = line.rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif fields.get("event"):
                    self._take(fields)
                    fields = {}
        finally:
            connection.close()

    def _take(self, fields):
        data = json.loads(fields["data"])
        if fields["event"] == "attempt":
            self.text = ""
        elif fields["event"] == "log":
            self.text += data["text"]
        else:
            self.state = data["state"]
        self.last = fields.get("id", self.last)


@row(
    67,
    "logs: chunks and their followers, while a replica dies; chunks of an ended attempt",
    Plan(replicas=3, heartbeat=2, job_timeout=40),
)
def logs_while_jobs_run(scene):
    """With odd seeds the database dies, too."""
    scene.need(scene.supports("POST", f"/grading_job/{'0' * 32}/log"), "logs can't be sent yet")
    run = scene.submit(students=2, pre=False, post=False)
    lost, writing = scene.add_idle_grader(roams=True), scene.add_idle_grader(roams=True)
    job = writing.take()
    writer, follower = Writer(scene, writing, job["job_id"]), Follower(scene, job["job_id"])
    follower.start()
    writer.start()
    lost_job = lost.take()["job_id"]
    first = send_chunk(scene, lost, lost_job, 0, "lost\n")
    scene.expect(first.status == 200, "a chunk of a running job is taken", answer=first.text)
    scene.pause(1)
    victim = scene.cluster.replicas[scene.seed % 3].name
    scene.kill(victim)
    if scene.seed % 2:
        scene.kill("database")
        scene.pause(0.5)
        scene.restart("database")
    scene.pause(0.5)
    scene.restart(victim)
    scene.until(lambda: scene.leases(lost_job)[0].get("ended"), 30, "the silent grader's attempt is ended")
    late = scene.until(
        lambda: (answer := send_chunk(scene, lost, lost_job, 5, "late\n")).kind != "unknown" and answer, 20, "an answer"
    )
    scene.expect(late.status == 409, "a chunk of an ended attempt is refused", answer=late.text)
    writer.join(60)
    scene.expect(not writer.refusals, "no repeated chunk is refused", refusals=writer.refusals[:3])
    writing.deliver(job, {"done": True}, {"stdout": LOG})
    scene.add_graders(1)
    scene.until(lambda: run.read() in OVER, 60, "the run ends")
    follower.join(30)
    scene.expect(follower.state == "succeeded", "the stream ends with the job", state=follower.state)
    is_whole = follower.text == LOG
    ends = follower.text.startswith("line 0\n") and follower.text.endswith(f"line {LINES - 1}\n")
    scene.expect(is_whole or (scene.seed % 2 and ends), "the stream has the whole log", text=follower.text[-300:])
    answer = fetch(scene.urls[0], "GET", f"{ROUTE}/grading_job/{job['job_id']}/log?stream=stdout")
    scene.expect(answer.json.get("text") == LOG, "the stored log is the result's", answer=answer.text[:300])
