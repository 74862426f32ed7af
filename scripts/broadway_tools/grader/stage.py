"""A stage of a job, as the grader reads it, and the outcome of running it."""

import re
from dataclasses import dataclass

UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


class StageError(Exception):
    """The stage can't be started; the text has the reason."""


@dataclass
class Stage:
    """Absent keys have their defaults. `env` is a list of NAME=value, the later wins."""

    image: str
    env: list
    entrypoint: list
    networking: bool  # None: the grader's default
    hostname: str
    timeout_s: float
    memory: str
    cpuset_cpus: str
    privileged: bool
    logs: bool
    cpus: float = None
    pids: int = None
    disk: str = None
    user: str = None
    read_only: bool = None  # None: the grader's default
    pinned_digest: str = None  # what the image's name stands for in this run; None: not known
    pull_until: float = None  # when its image must be here, by the monotonic clock; None: no limit
    results: str = None  # the path in the container of a file with scores
    results_mount: tuple = None  # (directory of the host, where the container has it), for a path outside of the job's
    secret_env: tuple = ()  # names of variables whose values are masked

    def environment(self):
        """{name: value}; the last entry of a name counts."""
        return dict(entry.partition("=")[::2] for entry in self.env)

    def secrets(self):
        """The values that are masked."""
        environment = self.environment()
        return [environment[name] for name in self.secret_env if environment.get(name)]


@dataclass
class Outcome:
    """How a stage ended. `exit_code` is None if it didn't start; 128 + N if signal N ended it. None: unknown."""

    exit_code: int = None
    seconds: float = 0.0
    killed: bool = False
    error: str = None
    timed_out: bool = None
    signal: int = None
    oom_killed: bool = None
    image_digest: str = None
    peak_memory: int = None  # bytes
    cpu_seconds: float = None

    @property
    def succeeded(self):
        """Whether it ran to its end with exit status 0."""
        return self.exit_code == 0 and not self.killed


def parse_stage(fields, default_timeout_s):
    """A Stage from a hand-out."""
    return Stage(
        image=fields["image"],
        env=fields.get("env") or [],
        entrypoint=fields.get("entrypoint") or [],
        networking=fields.get("enable_networking", fields.get("networking")),
        hostname=fields.get("host_name") or fields.get("hostname"),
        timeout_s=fields.get("timeout") or default_timeout_s,
        memory=fields.get("memory"),
        cpuset_cpus=fields.get("cpuset_cpus"),
        privileged=bool(fields.get("privileged", False)),
        logs=bool(fields.get("logs", True)),
        cpus=fields.get("cpus"),
        pids=fields.get("pids"),
        disk=fields.get("disk"),
        user=fields.get("user"),
        read_only=fields.get("read_only"),
        results=fields.get("results"),
        secret_env=tuple(fields.get("secret_env") or ()),
    )


def memory_bytes(memory):
    """512m, 2g, 1048576 → bytes. Raises StageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([bkmgt]?)b?", str(memory).strip().lower())
    if not match:
        raise StageError(f"memory {memory!r} is not a size such as 512m")
    return int(float(match[1]) * UNITS[match[2]])


def cpu_numbers(cpuset):
    """0-2,4 → {0, 1, 2, 4}. Raises StageError."""
    cpus = set()
    for part in str(cpuset).split(","):
        match = re.fullmatch(r"\s*(\d{1,5})(?:-(\d{1,5}))?\s*", part)
        if not match:
            raise StageError(f"cpuset_cpus {cpuset!r} is not a list such as 0-2,4")
        cpus |= set(range(int(match[1]), int(match[2] or match[1]) + 1))
    return cpus
