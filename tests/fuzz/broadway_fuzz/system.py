"""The fuzzed system: a fresh stack of one replica and one scheduler, with fixed tokens, a course, runs and a worker."""

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from broadway_tools import processes
from broadway_tools.files import BUILD, ROOT
from broadway_tools.stack import operations, readiness
from broadway_tools.stack.plan import Wishes
from broadway_tools.stack.record import API, SCHEDULER, Member, Stack

from broadway_fuzz import seeds
from broadway_fuzz.oracle import Target

COURSES = {"fuzz": {"tokens": [seeds.STAFF_TOKEN.decode()], "query_tokens": [seeds.LOOK_TOKEN.decode()]}}
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "quarantine_size_mb=64:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"suppressions={ROOT / 'tests' / 'tsan.supp'}:halt_on_error=0",
}

RESTARTS = 20


def slowness(preset: str) -> float:
    """The factor for deadlines."""
    return 3.0 if preset in ("asan", "tsan") else 1.0


class System:
    """A running stack, and its values for the placeholders of the cases."""

    def __init__(self, stack: Stack):
        self.stack = stack
        self.targets = {
            "public": self._target("public", stack.of_kind(API)[0]),
            "internal": self._target("internal", stack.of_kind(API)[0]),
            "scheduler": self._target("scheduler", stack.of_kind(SCHEDULER)[0]),
        }
        self.pairs = self._prepare()

    def revive(self) -> None:
        """Restarts dead processes, so that the fuzzing continues."""
        for name, target in self.targets.items():
            member = next(member for member in self.stack.members if member.name == target.member)
            if not member.is_alive():
                self._restart(member.name)
            self.targets[name] = self._target(name, member)

    def _restart(self, name: str) -> None:
        """Restarts a process; its port may be used by a connection for a moment."""
        for left in reversed(range(RESTARTS)):
            try:
                operations.restart(self.stack, name)
                return
            except readiness.NotReady:
                if left == 0:
                    raise
                time.sleep(1)

    def _target(self, name: str, member: Member) -> Target:
        health = _address(member.internal_url or member.url)
        address = _address(member.url) if name == "public" else health
        log = member.log(self.stack.directory)
        return Target(name, member.name, address, health, member.pid, member.identity, log)

    def _prepare(self) -> dict[bytes, bytes]:
        """Submits and starts a run of each protocol, and registers a worker."""
        staff = {"Authorization": f"Bearer {seeds.STAFF_TOKEN.decode()}"}
        base = self.stack.of_kind(API)[0].url + "/api/v1"
        with httpx.Client(base_url=base, timeout=60, trust_env=False) as http:
            definition = {**seeds.RUN_DEFINITION, "students": [{"NETID": f"s{n}"} for n in range(300)]}
            run = _data(http.post("/grading_run", json=definition))["id"]
            _data(http.post(f"/grading_run/{run}"))
            worker = _data(http.get("/worker_register", params={"token": seeds.CLUSTER_TOKEN.decode()}))["worker_id"]
            _data(http.post("/grading_config/fuzz/hw", json=seeds.COURSE_CONFIG, headers=staff))
            envs = {"students_env": [{"NETID": f"s{n}"} for n in range(300)]}
            course_run = _data(http.post("/grading_run/fuzz/hw", json=envs, headers=staff))["data"]["grading_run_id"]
        reals = {seeds.RUN: run, seeds.WORKER: worker, seeds.COURSE_RUN: course_run}
        return {stand_in: real.encode() for stand_in, real in reals.items()}


@contextlib.contextmanager
def system(preset: str) -> Iterator[System]:
    """Starts a stack, and removes it afterwards. Raises operations.StackError."""
    (BUILD / "fuzz").mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=BUILD / "fuzz", prefix="stack-"))
    for name, value in SANITIZER_OPTIONS.items():
        os.environ.setdefault(name, value)
    courses = directory / "courses.json"
    courses.write_text(json.dumps(COURSES), encoding="utf-8")
    both = {
        "cluster-token": seeds.CLUSTER_TOKEN.decode(),
        "internal-token": seeds.INTERNAL_TOKEN.decode(),
        "heartbeat-interval": "60",
        "log-level": "warning",
    }
    api = {**both, "course-config": courses, "course-poll-wait": "0", "poll-wait": "1", "request-timeout": "5"}
    stack = operations.up(Wishes(directory=directory, preset=preset, api_flags=api, scheduler_flags=both))
    try:
        yield System(stack)
    finally:
        with processes.uninterrupted():
            operations.down(stack)
            shutil.rmtree(directory, ignore_errors=True)


def _data(answer: httpx.Response) -> dict:
    answer.raise_for_status()
    return answer.json()


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port
