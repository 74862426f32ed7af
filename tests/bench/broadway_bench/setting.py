"""The environment of an experiment: a fresh stack with a fresh database, the load generator, and the resources of the
processes."""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from broadway_tools import processes
from broadway_tools.files import BUILD
from broadway_tools.stack import operations
from broadway_tools.stack.plan import Wishes, plan
from broadway_tools.stack.readiness import wait_listening
from broadway_tools.stack.record import API, DATABASE, SCHEDULER

PROGRAMS = BUILD / "release" / "bench"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
PROTOCOLS = ("classic", "course-http", "course-ws")
COURSE_TOKEN = "bench-staff"
COURSE_CONFIG = {"student_pipeline": [{"image": "debian:12-slim", "entrypoint": ["python3", "/job/grade.py"]}]}
PARTS = ("database", "api", "scheduler", "generator")


@dataclass
class Wanted:
    """The options of the command line for all experiments."""

    mongodb_uri: str = None
    scale: float = 1.0

    def count(self, usual, least=1):
        """The number `usual`, or less with --quick."""
        return max(least, int(usual * self.scale))


class Generator:
    """The load generator: a process that reads commands line by line."""

    def __init__(self, urls, token="none"):
        self.process = subprocess.Popen(
            [PROGRAMS / "bench-load", token, *urls], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.faults = {"lost": 0, "refused": 0, "twice": 0, "first_refusal": ""}

    def ask(self, *words):
        """Gives a command and returns its answer."""
        self.begin(*words)
        return self.answer()

    def begin(self, *words):
        """Sends a command; `answer` reads its answer."""
        self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.process.stdin.flush()

    def answer(self):
        """The answer to the last command."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the load generator has ended")
        answer = json.loads(line)
        self.faults = answer["faults"]
        return answer

    def close(self):
        """Ends it."""
        self.process.stdin.close()
        self.process.wait(timeout=30)


class System:
    """A stack for one experiment, with its load generator."""

    def __init__(self, stack, generator):
        self.stack = stack
        self.generator = generator
        self.http = httpx.Client(timeout=120, trust_env=False)

    def pids(self):
        """{part: [pid]} of the measured processes."""
        kinds = {"database": DATABASE, "api": API, "scheduler": SCHEDULER}
        found = {part: [member.pid for member in self.stack.of_kind(kind)] for part, kind in kinds.items()}
        return {**found, "generator": [self.generator.process.pid]}

    def cpu(self):
        """{part: seconds of cpu so far}; without the database if it is external."""
        return {part: sum(map(cpu_seconds, pids)) for part, pids in self.pids().items() if pids}

    @contextlib.contextmanager
    def counting_cpu(self):
        """Yields a dictionary, which has the seconds of cpu of each part at the end of the block."""
        used, before = {}, self.cpu()
        yield used
        used.update({part: now - before[part] for part, now in self.cpu().items()})

    def metric(self, member, name):
        """One number from a member's /metrics: the sum over all labels."""
        base = member.internal_url if member.kind == API else member.url
        lines = self.http.get(f"{base}/metrics").text.splitlines()
        values = [float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))]
        if not values:
            raise KeyError(name)
        return sum(values)

    def api(self, index=0):
        """A replica."""
        return self.stack.of_kind(API)[index]

    def scheduler(self, index=0):
        """A scheduler."""
        return self.stack.of_kind(SCHEDULER)[index]

    def park(self, graders):
        """Registers graders and waits until all of them wait for work, and the scheduler knows."""
        self.generator.ask("graders", graders)
        self.generator.ask("poll")
        self.wait(lambda: self.metric(self.scheduler(), "broadway_scheduler_waiting_polls") == graders)

    def open_course(self, protocol):
        """Stores the course's config; the generator speaks `protocol` from now on."""
        self.http.post(
            f"{self.api().url}/api/v1/grading_config/bench/bench",
            headers={"Authorization": f"Bearer {COURSE_TOKEN}"},
            json=COURSE_CONFIG,
        ).raise_for_status()
        self.generator.ask("protocol", protocol, COURSE_TOKEN)

    def wait(self, condition, seconds=60):
        """Until `condition` holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("what was waited for did not come")
            time.sleep(0.05)

    def faults(self):
        """The figures that must be 0."""
        return {name: self.generator.faults[name] for name in ("lost", "refused", "twice")}


def cpu_seconds(pid):
    """Cpu that a process has used so far."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def cpu_figures(name, used, count, what):
    """Figures: the cpu that each part used per thousand; `what` is how they are called, "1,000 jobs"."""
    return {f"{name}: {part}, cpu s per {what}": used[part] / count * 1000 for part in PARTS if part in used}


def rss_bytes(pid):
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE


def threads(pid):
    """How many threads a process has."""
    return int(_stat(pid)[17])


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


@contextlib.contextmanager
def system(wanted, replicas=1, schedulers=1, protocol="classic"):
    """A stack with an empty database, and a generator whose graders and instructors use `protocol`; both end with the
    block."""
    with _directory() as directory:
        courses = directory / "courses.json"
        courses.write_text(json.dumps({"bench": {"tokens": [COURSE_TOKEN]}}), encoding="utf-8")
        api_flags = {"course-config": courses, "course-poll-wait": "60"} if protocol != "classic" else {}
        stack = operations.up(
            Wishes(
                directory=directory,
                replicas=replicas,
                schedulers=schedulers,
                mongodb_uri=wanted.mongodb_uri,
                database=f"bench_{secrets.token_hex(6)}",
                api_flags={"log-level": "warning", "poll-wait": "60", **api_flags},
                scheduler_flags={"log-level": "warning"},
            )
        )
        generator = Generator([member.url for member in stack.of_kind(API)], stack.cluster_token)
        try:
            running = System(stack, generator)
            if protocol != "classic":
                running.open_course(protocol)
            yield running
        finally:
            with processes.uninterrupted():
                generator.close()
                operations.down(stack)


@contextlib.contextmanager
def database_alone(wanted):
    """(uri, name) of a database without other users."""
    name = f"bench_{secrets.token_hex(6)}"
    if wanted.mongodb_uri is not None:
        yield wanted.mongodb_uri, name
        return
    with _directory() as directory:
        stack = plan(Wishes(directory=directory))
        member = stack.of_kind(DATABASE)[0]
        operations.start(stack, member)
        try:
            wait_listening(stack, member)
            yield stack.mongodb_uri, name
        finally:
            with processes.uninterrupted():
                processes.stop([(member.pid, member.identity)], 10)


@contextlib.contextmanager
def _directory():
    (BUILD / "bench").mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=BUILD / "bench"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def program(name, *arguments):
    """Runs one of the C programs to its end; returns what it measured."""
    finished = subprocess.run(
        [PROGRAMS / name, *map(str, arguments)], stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    return json.loads(finished.stdout)
