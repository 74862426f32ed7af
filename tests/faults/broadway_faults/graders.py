"""Simulated graders: threads that register, poll, work and report like real ones, without grading.

There are two kinds. BEATING graders state a hostname and a concurrency and always send heartbeats. CLASSIC graders
state nothing, and send no heartbeat while they work. Every call is in the history; `grade` decides the result of a job.
"""

import random
import secrets
import threading
import time

from broadway_faults.caller import Caller
from broadway_faults.dump import result_digest

BEATING, CLASSIC = "beating", "classic"
VANISH = object()  # returned by `grade` if the grader must die with its job
POLL_TIMEOUT_S = 6
CALL_TIMEOUT_S = 5
DELIVER_S = 60
OWN_SHARE = 0.15  # the share of accepted results that are read back


class Gate:
    """Pauses a grader like SIGSTOP: its next action waits."""

    def __init__(self):
        self.is_open = threading.Event()
        self.is_open.set()

    def stop(self):
        self.is_open.clear()

    def resume(self):
        self.is_open.set()


class Grader:
    """One grader with its threads. `grade(job)` returns the value to send, or VANISH."""

    def __init__(self, scene, number, temperament=BEATING, grade=None, wait=1.0, starts=True, **traits):
        self.scene, self.number, self.temperament = scene, number, temperament
        self.random = random.Random(f"{scene.seed}/{number}")
        self.caller = Caller(f"grader-{number}", scene.history, scene.urls)
        self.grade = grade or self.grade_quickly
        self.wait = wait
        self.roams = traits.get("roams", False)  # each call goes to a random replica
        self.beats = traits.get("beats", True)
        self.concurrency = traits.get("concurrency", 1)
        self.states = traits.get("states", ("hostname", "concurrency") if temperament == BEATING else ())
        self.logs_share = traits.get("logs_share", 0.3)
        self.poll_timeout_s = traits.get("poll_timeout_s", POLL_TIMEOUT_S)
        self.home = traits.get("home", number % len(scene.urls))
        self.gate = Gate()
        self.leaving, self.gone = threading.Event(), threading.Event()
        self.held = {}  # job id -> attempt, from the poll until the result is delivered
        self.taken, self.accepted, self.refused = [], [], []
        self.id = None
        self.answered_s = 0.0  # time of the last answer to a poll
        self.threads = []
        if starts:
            self.start()

    def start(self):
        """Registers and begins to work."""
        self.threads = [threading.Thread(target=self._work, name=self.caller.name, daemon=True)]
        if self.beats:
            self.threads.append(threading.Thread(target=self._beat, name=f"{self.caller.name}-beat", daemon=True))
        for thread in self.threads:
            thread.start()
        return self

    def grade_quickly(self, job):
        time.sleep(self.random.uniform(0.005, 0.06))
        return {"job": job["job_id"], "by": self.number, "nonce": secrets.token_hex(4), "env": job["stages"][0]["env"]}

    # ---- Faults ----

    def leave(self):
        """Stops taking jobs."""
        self.leaving.set()

    def vanish(self):
        """Stops like kill -9: sends nothing any more."""
        self.scene.history.note("grader vanished", worker=self.id, number=self.number, holding=sorted(self.held))
        self.gone.set()
        self.leaving.set()
        self.gate.resume()

    def join(self, seconds=20):
        for thread in self.threads:
            thread.join(seconds)

    def stop(self):
        """SIGSTOP."""
        self.scene.history.note("grader stopped", worker=self.id)
        self.gate.stop()

    def resume(self):
        """SIGCONT."""
        self.scene.history.note("grader resumed", worker=self.id)
        self.gate.resume()

    # ---- Its calls ----

    def where(self):
        """The replica for the next call."""
        if self.roams:
            return self.random.randrange(len(self.scene.urls))
        return self.home

    def elsewhere(self):
        self.home = (self.home + 1) % len(self.scene.urls)
        self.leaving.wait(0.05)

    def register(self):
        """Registers, repeatedly until it has an id."""
        stated = {"hostname": self.caller.name, "concurrency": self.concurrency}
        query = {"token": self.scene.cluster.cluster_token, **{name: stated[name] for name in self.states}}
        while not self.leaving.is_set():
            answer = self.caller.call(
                "register", self.where(), "GET", "/worker_register", query=query, timeout_s=CALL_TIMEOUT_S
            )
            if answer.status == 200:
                self.id = answer.json["worker_id"]
                return
            self.elsewhere()

    def _ask(self, wait, replica):
        self.gate.is_open.wait()
        query = {"worker_id": self.id, "wait": self.wait if wait is None else wait}
        place = self.where() if replica is None else replica
        return self.caller.call(
            "poll", place, "GET", "/grading_job", query=query, timeout_s=self.poll_timeout_s, worker=self.id
        )

    def poll_once(self, wait, replica):
        """The status of a poll that must not return a job."""
        return self._ask(wait, replica).status

    def poll(self, wait=None, replica=None):
        """Polls for a job, or None; changes the replica without an answer."""
        answer = self._ask(wait, replica)
        if answer.status in (200, 498):
            self.answered_s = time.monotonic()
        if answer.status == 200:
            job = answer.json
            self.taken.append((job["job_id"], job.get("attempt", 1)))
            return job
        if answer.status != 498:
            self.elsewhere()
        return None

    def take(self, seconds=15, **where):
        """Polls until it has a job."""
        return self.scene.until(lambda: self.poll(wait=0.5, **where), seconds, f"{self.caller.name} gets a job")

    def beat(self, replica=None):
        """Sends a heartbeat; changes the replica without an answer."""
        self.gate.is_open.wait()
        place = self.where() if replica is None else replica
        timeout_s = max(1.0, self.scene.plan.heartbeat)
        answer = self.caller.call(
            "beat", place, "POST", "/heartbeat", query={"worker_id": self.id}, timeout_s=timeout_s, worker=self.id
        )
        if answer.kind != "ok" and replica is None:
            self.home = (place + 1) % len(self.scene.urls)
        return answer

    def send(self, job, value, replica=None, success=True, logs=None, timeout_s=25):
        """Tries once to deliver a result."""
        self.gate.is_open.wait()
        job_id = job if isinstance(job, str) else job["job_id"]
        body = {"worker_id": self.id, "result": value, "success": success}
        if logs:
            body["logs"] = logs
        place = self.where() if replica is None else replica
        facts = {"worker": self.id, "job": job_id, "value": result_digest(value)}
        return self.caller.call(
            "result", place, "POST", f"/grading_job/{job_id}", body=body, timeout_s=timeout_s, **facts
        )

    # ---- Its threads ----

    def _work(self):
        self.register()
        while not self.leaving.is_set():
            job = self.poll()
            if job is not None:
                self._do(job)

    def _do(self, job):
        self.held[job["job_id"]] = job.get("attempt", 1)
        value = self.grade(job)
        if value is VANISH:
            self.vanish()
            return
        logs = {"stdout": "graded\n" * 3} if self.random.random() < self.logs_share else None
        self.deliver(job, value, logs)
        self.held.pop(job["job_id"], None)

    def deliver(self, job, value, logs=None):
        """Sends a result until it is accepted or refused."""
        deadline = time.monotonic() + DELIVER_S
        while not self.gone.is_set() and time.monotonic() < deadline:
            answer = self.send(job, value, logs=logs)
            if answer.kind == "ok":
                self.accepted.append(job["job_id"])
                if self.random.random() < OWN_SHARE:
                    self.read_own(job)
                return
            if answer.kind == "fail":
                self.refused.append((job["job_id"], answer.text))
                return
            self.elsewhere()
        if not self.gone.is_set():
            self.scene.history.note("result not delivered", worker=self.id, job=job["job_id"])

    def read_own(self, job):
        """Reads back a delivered result through any replica: it must be visible at once."""
        run = job["job_id"][:24]
        self.caller.call(
            "own",
            self.random.randrange(len(self.scene.urls)),
            "GET",
            f"/grading_run/{run}",
            query={"results": "true"},
            run=run,
            job=job["job_id"],
        )

    def _beat(self):
        pause = self.scene.plan.heartbeat * 0.4
        while not self.gone.is_set() and self.threads[0].is_alive():
            if self.id is not None and not (self.temperament == CLASSIC and self.held):
                self.beat()
            self.gone.wait(pause)
