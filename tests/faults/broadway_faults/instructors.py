"""Simulated instructors: each submits a run under its own key, starts it, and reads its state until it is over."""

import random
import threading
import time
import zlib

from broadway_faults.caller import Caller

OVER = ("finished", "failed", "cancelled", "superseded")
CALL_TIMEOUT_S = 12
PATIENCE_S = 90


def stage(**more):
    return {"image": "alpine:3.20", **more}


def canary(key):
    """The text that must appear in answers about this run, and in no others."""
    return f"canary-{key}-yranac"


def run_of(key, students, pre=True, post=True, **more):
    """A run's definition. Its name is its key, so that the dump can be matched with the history. Every second
    definition is too long for the run's own document."""
    env = {"KEY": canary(key)}
    if zlib.crc32(key.encode()) % 2:
        env["PADDING"] = "x" * 5000
    definition = {
        "name": key,
        "env": env,
        "student_pipeline": [stage(env={"NETID": "", "KEY": ""})],
        "students": [{"NETID": f"s{n}"} for n in range(students)],
    }
    if pre:
        definition["preprocessing_pipeline"] = [stage(env={"STEP": "pre", "KEY": ""})]
    if post:
        definition["postprocessing_pipeline"] = [stage(env={"STEP": "post", "KEY": ""})]
    return {**definition, **more}


class Instructor:
    """The owner of one run. Calls go to any replica; calls with an unknown outcome are repeated at another one."""

    def __init__(self, scene, key, definition):
        self.scene, self.key, self.definition = scene, key, definition
        self.random = random.Random(f"{scene.seed}/{key}")
        self.caller = Caller(f"client-{key}", scene.history, scene.urls)
        self.has_key = True  # sends Idempotency-Key
        self.run = None
        self.state = None
        self.thread = None
        self.gives_up = threading.Event()

    def start_thread(self):
        self.thread = threading.Thread(target=self._live, name=self.caller.name, daemon=True)
        self.thread.start()
        return self

    def _live(self):
        if self.create() and self.start():
            self.follow()

    def _any(self):
        return self.random.randrange(len(self.scene.urls))

    def create(self, first=None):
        """Submits until the run has an id. With a key that the server supports, a repeated POST is the same run."""
        replica = self._any() if first is None else first
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self.gives_up.is_set():
            answer = self.create_once(replica)
            if answer.status == 200:
                self.run = answer.json["id"]
                return True
            if answer.kind == "fail":
                return False
            self.gives_up.wait(0.1)
            replica = (replica + 1) % len(self.scene.urls)
        return False

    def create_once(self, replica):
        key = self.key if self.has_key else None
        return self.caller.call(
            "create",
            replica,
            "POST",
            "/grading_run",
            body=self.definition,
            headers={"Idempotency-Key": key} if key else {},
            timeout_s=CALL_TIMEOUT_S,
            key=key,
            name=self.definition["name"],
        )

    def start(self):
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self.gives_up.is_set():
            answer = self.caller.call(
                "start", self._any(), "POST", f"/grading_run/{self.run}", timeout_s=CALL_TIMEOUT_S, run=self.run
            )
            # A second POST after an unknown first one may be refused because the first was done: the state decides.
            if answer.kind == "ok" or (answer.kind == "fail" and self.read() not in (None, "created")):
                self.scene.history.note("run started", run=self.run)
                return True
            self.gives_up.wait(0.1)
        return False

    def read(self, replica=None, **query):
        """The run's state, or None."""
        answer = self.caller.call(
            "status",
            self._any() if replica is None else replica,
            "GET",
            f"/grading_run/{self.run}",
            query={"students": "false", **query},
            timeout_s=CALL_TIMEOUT_S,
            run=self.run,
        )
        if answer.status == 200:
            self.state = answer.json["state"]
            return self.state
        return None

    def cancel(self, replica=None):
        return self.caller.call(
            "cancel",
            self._any() if replica is None else replica,
            "POST",
            f"/grading_run/{self.run}/cancel",
            timeout_s=CALL_TIMEOUT_S,
            run=self.run,
        )

    def follow(self):
        while not self.gives_up.is_set() and self.read() not in OVER:
            self.gives_up.wait(self.random.uniform(0.08, 0.25))

    def is_over(self):
        return self.state in OVER
