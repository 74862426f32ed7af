"""The environment of an attack: a fresh stack, graders at work, and samples of the memory of the attacked replica and
of the scheduler."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from broadway_tools import processes as known_processes
from broadway_tools.files import BUILD
from broadway_tools.stack import operations
from broadway_tools.stack.plan import Wishes
from broadway_tools.stack.record import API, SCHEDULER, Member, Stack
from processes import resident_bytes
from raw import Answer, Link

COURSE, STAFF_TOKEN, LOOK_TOKEN = "attacked", "attacked-staff-token", "attacked-look-token"
ROUTE = "/api/v1"
MIB = 1024 * 1024
HEARTBEAT_S = 2


class Load:
    """The process with the graders: see load.py."""

    def __init__(self, token: str, urls: list[str], graders: int):
        argv = [sys.executable, str(Path(__file__).with_name("load.py")), token, str(graders), *urls]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, command: str) -> dict:
        """Gives a command and returns its answer."""
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the process with the graders has ended")
        answer = json.loads(line)
        if answer["broken"]:
            raise RuntimeError(f"the process with the graders is broken: {answer['broken'][:3]}")
        return answer

    def close(self) -> None:
        """Ends it."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class MemoryWatch:
    """Samples the memory of a process and keeps the peak."""

    PAUSE_S = 0.02

    def __init__(self, pid: int):
        self.pid, self.peak = pid, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def now(self) -> int:
        """The current memory in bytes; 0 if the process has ended."""
        try:
            return resident_bytes(self.pid)
        except (OSError, AssertionError):
            return 0

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stop.wait(self.PAUSE_S):
            self.peak = max(self.peak, self.now())


class Scene:
    """The interface for an attack, which attacks the first replica; graders work at all of them."""

    def __init__(self, stack: Stack, load: Load, seed: int, is_quick: bool):
        self.stack, self.load, self.is_quick = stack, load, is_quick
        self.chance = random.Random(seed)
        self.faults: list[str] = []
        self.notes: list[str] = []
        self.attacked: Member = stack.of_kind(API)[0]
        self.memory = MemoryWatch(self.attacked.pid)
        self.scheduler_memory = MemoryWatch(stack.of_kind(SCHEDULER)[0].pid)
        self.before = self.scheduler_before = 0
        self.http = httpx.Client(base_url=self.attacked.url, timeout=20, trust_env=False)
        self._links: list[Link] = []

    @property
    def url(self) -> str:
        """The URL of the attacked replica."""
        return self.attacked.url

    @property
    def seconds(self) -> float:
        """The duration of a continuous attack."""
        return 4.0 if self.is_quick else 8.0

    def begin(self) -> None:
        """Begins the measurement. An attack calls it again after its preparations."""
        self.before = self.memory.now()
        self.scheduler_before = self.scheduler_memory.now()
        self.memory.peak = self.scheduler_memory.peak = 0
        self.load.ask("mark")

    def claim(self, holds: bool, otherwise: str) -> None:
        """Records a condition that must be true."""
        if not holds:
            self.faults.append(otherwise)

    def note(self, text: str) -> None:
        """Adds a remark to the row."""
        self.notes.append(text)

    def connect(self, url: str | None = None, timeout: float = 20) -> Link:
        """A connection to the attacked replica, closed after the attack."""
        link = Link(url or self.url, timeout)
        self._links.append(link)
        return link

    def send(self, data: bytes | str, url: str | None = None) -> Answer | None:
        """Sends one request on a new connection; returns the answer, or None if the connection is closed without
        one."""
        link = self.connect(url)
        link.send(data)
        try:
            return link.read_answer()
        except (AssertionError, OSError):
            return None

    def staff(self) -> dict[str, str]:
        """The authorization header of the course's staff."""
        return {"Authorization": f"Bearer {STAFF_TOKEN}"}

    def let_go(self) -> None:
        """Closes all connections of the attack."""
        for link in self._links:
            link.close()
        self._links.clear()

    def new_connection_answers(self, within_s: float = 1.0) -> bool:
        """True if a request on a new connection is answered."""
        begun = time.monotonic()
        try:
            with socket.create_connection(_address(self.url), timeout=5 * within_s) as link:
                link.sendall(b"GET /nowhere HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                answered = link.recv(100).startswith(b"HTTP/1.1 404")
        except OSError:
            return False
        return answered and time.monotonic() - begun < within_s

    def at_once(self, work: Callable[[int], None], count: int) -> None:
        """Calls work(0) ... work(count - 1), each in a thread, and waits for all. Returns results and exceptions."""
        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(work, number) for number in range(count)]:
                with contextlib.suppress(OSError, AssertionError):
                    done.result()

    def dead(self) -> list[str]:
        """Names of replicas and schedulers that have ended."""
        members = [*self.stack.of_kind(API), *self.stack.of_kind(SCHEDULER)]
        return [member.name for member in members if not member.is_alive()]

    def close(self) -> None:
        self.let_go()
        self.memory.close()
        self.scheduler_memory.close()
        self.http.close()
        self.load.close()


@contextlib.contextmanager
def scene(preset: str, api_flags: dict, graders: int, seed: int, is_quick: bool) -> Iterator[Scene]:
    """A new stack of three replicas and a scheduler, with a course and graders at work. It is removed afterwards,
    except its logs if the attack has found a fault."""
    made = None
    (BUILD / "attack").mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=BUILD / "attack", prefix="stack-"))
    courses = directory / "courses.json"
    courses.write_text(json.dumps({COURSE: {"tokens": [STAFF_TOKEN], "query_tokens": [LOOK_TOKEN]}}), encoding="utf-8")
    both = {"heartbeat-interval": str(HEARTBEAT_S), "log-level": "warning"}
    flags = {**both, "course-config": courses, "course-poll-wait": "0", **api_flags}
    stack = operations.up(Wishes(directory=directory, preset=preset, replicas=3, api_flags=flags, scheduler_flags=both))
    try:
        load = Load(stack.cluster_token, [member.url for member in stack.of_kind(API)], graders)
        made = Scene(stack, load, seed, is_quick)
        try:
            yield made
        finally:
            made.close()
    finally:
        with known_processes.uninterrupted():
            operations.down(stack)
            shutil.rmtree(directory / "database" if made and made.faults else directory, ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """The environment for further processes, without the caller's BROADWAY_* variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BROADWAY_")}
    return {**kept, "MONGOC_DISABLE_SHM": "1"}


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname, parts.port
