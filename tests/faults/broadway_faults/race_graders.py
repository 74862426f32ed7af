"""The graders of races: each takes any job of its protocol and does with it what the job's race says."""

import secrets
import threading
import time

from broadway_faults.courses import CourseWorker
from broadway_faults.dump import result_digest
from broadway_faults.graders import Grader

GRADE, HOLD, VANISH, RETURN, LATE = "grade", "hold", "vanish", "return", "late"
REASON = "no space left on device"
BEAT_S = 0.5
WAIT_S = 1.5
LATE_S = 6.5  # longer than the 5 s that a job waits that was returned twice
INSIST_S = 120


class ClassicHands:
    """A registered grader of the classic protocol."""

    def __init__(self, scene, number):
        self.grader = Grader(scene, number, starts=False, wait=WAIT_S)
        self.grader.register()

    def poll(self):
        """A job and its id, or None."""
        job = self.grader.poll()
        return job and (job, job["job_id"])

    def beat(self):
        self.grader.beat()

    def report(self, job):
        return self.grader.send(job, {"by": self.grader.number, "nonce": secrets.token_hex(4)})

    def give_back(self, job):
        body = {"worker_id": self.grader.id, "outcome": "infrastructure", "reason": REASON}
        path = f"/grading_job/{job['job_id']}"
        return self.grader.caller.call("return", self.grader.where(), "POST", path, body=body, timeout_s=20)


class CourseHands:
    """A registered grader of the course protocol, which polls."""

    def __init__(self, scene, number):
        self.replica = number % len(scene.urls)
        self.worker = CourseWorker(scene, f"race-{number}")
        self._register()

    def _register(self):
        stated = {"hostname": self.worker.id, "cancel": True}
        self.worker.ask("course-register", "POST", "worker", stated, self.replica)

    def poll(self):
        answer = self.worker.ask("course-poll", "GET", "grading_job", None, self.replica)
        if answer.status == 200:
            job = answer.json["data"]
            return job, job["grading_job_id"]
        if answer.status != 498:
            time.sleep(0.05)
            self._register()  # it was silent too long on a busy machine
        return None

    def beat(self):
        self.worker.beat(self.replica)

    def report(self, job):
        results = [{"by": self.worker.id, "nonce": secrets.token_hex(4)}]
        body = {"grading_job_id": job["grading_job_id"], "success": True, "results": results, "logs": {}}
        return self.worker.send_body(job["grading_job_id"], body, self.replica, value=result_digest(results))

    def give_back(self, job):
        body = {"grading_job_id": job["grading_job_id"], "outcome": "infrastructure", "reason": REASON}
        return self.worker.ask("return", "POST", "grading_job", body, self.replica)


class Crowd:
    """Graders in a thread each. `find(run)` returns the race of a run."""

    def __init__(self, scene, find, count):
        self.scene, self.find = scene, find
        self.leaving = threading.Event()
        self.lock, self.number = threading.Lock(), 1000
        kinds = [ClassicHands] * count + [CourseHands] * count
        self.threads = [threading.Thread(target=self._work, args=(kind,), daemon=True) for kind in kinds]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.leaving.set()
        for thread in self.threads:
            thread.join(30)

    def _hands(self, kind):
        with self.lock:
            self.number += 1
            number = self.number
        return kind(self.scene, number)

    def _work(self, kind):
        hands = self._hands(kind)
        while not self.leaving.is_set():
            taken = hands.poll()
            if taken is not None and self._do(hands, *taken) == VANISH:
                hands = self._hands(kind)  # what it was is silent from now on

    def _do(self, hands, job, job_id):
        race = self.find(job_id[:24])
        order = race.order(job_id) if race else GRADE
        if order == HOLD:
            order = self._hold(hands, race)
        if order == LATE:
            order = self._be_late(hands)
        if order == RETURN:
            self._insist(hands.give_back, job)
        if order == GRADE:
            self._insist(hands.report, job)
            if race:
                race.graded(job_id)
        return order

    def _hold(self, hands, race):
        """Holds the job until the race's moment; returns what is done with it then."""
        race.is_held.set()
        while not race.is_aimed.wait(BEAT_S):
            hands.beat()
            if self.leaving.is_set():
                return GRADE
        time.sleep(max(0.0, race.event_at - time.monotonic()))
        return race.order_at_event

    def _be_late(self, hands):
        ends = time.monotonic() + LATE_S
        while time.monotonic() < ends and not self.leaving.wait(BEAT_S):
            hands.beat()
        return GRADE

    def _insist(self, call, job):
        deadline = time.monotonic() + INSIST_S
        while call(job).kind == "unknown" and time.monotonic() < deadline:
            time.sleep(0.05)
