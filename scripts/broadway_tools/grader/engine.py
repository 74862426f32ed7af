"""Container engines: what the grader asks of one, whether by its API (engine_api) or its command line (engine_cli)."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from broadway_tools.grader.faults import DISK_FULL, engine_fault
from broadway_tools.grader.stage import StageError

ID_PREFIX = "sha256:"
NO_LIMIT = -1  # of pids, as engines know it
JOB_DIRECTORY, INPUT_DIRECTORY = "/job", "/job/input"
# Messages of engines for a stage that can't be started. Anything else is a fault of the machine: no student may fail
# because of a message that is not known here.
STAGE_REFUSED = re.compile(
    r"executable file .*not found|command that was not found|exec: .*(no such file or directory|permission denied)|"
    r"exec .*permission denied|exec format error|argument list too long|exec: .*is a directory|"
    r"insufficient uids or gids|unable to find user|no matching entries in passwd|invalid user|"
    r"uids and gids must be in range|"
    r"no entrypoint|no command( or entrypoint)? (specified|provided)|"
    r"requested cpus are not available|range of cpus is|invalid value .*cpuset|cpuset.*(out of range|invalid argument)|"
    r"minimum memory limit|memory .*too (low|small)|unable to set memory limit|"
    r"invalid hostname|sethostname|invalid environment variable",
    re.IGNORECASE,
)


def digest_of_image(image, inspected):
    """The digest of an image, of which the engine says `inspected`: the one in its name, if the registry knows it by
    that, or if it has no other since its tag was moved; else the first by which a registry knows it, else its id."""
    digests = [name.rpartition("@")[2] for name in inspected.get("RepoDigests") or []]
    own = image.partition("@")[2]
    if own and (own in digests or not digests):
        return own
    return next(iter(digests), f"{ID_PREFIX}{inspected['Id'].removeprefix(ID_PREFIX)}")


@dataclass(frozen=True)
class ContainerSpec:
    """A container to create. Sizes in bytes; None: the engine's default."""

    name: str
    image: str
    entrypoint: list
    env: list  # NAME=value
    directory: str  # of the host, mounted at JOB_DIRECTORY
    inputs: str = None  # of the host, mounted at INPUT_DIRECTORY, not to be written
    results: tuple = None  # (directory of the host, where it is mounted)
    labels: dict = field(default_factory=dict)
    hostname: str = None
    user: str = None
    working_dir: str = None
    networking: bool = False
    userns: str = None  # the mode of its user namespace
    memory: int = None  # without swap beyond it
    cpus: float = None
    cpu_shares: int = None
    pids: int = None  # None: no limit
    cpuset_cpus: str = None
    read_only: bool = False  # with tmpfs at the paths of `tmpfs`
    tmpfs: dict = field(default_factory=dict)  # path → size
    ulimits: dict = field(default_factory=dict)  # name → (soft, hard)
    is_confined: bool = True  # no capabilities, no new privileges
    privileged: bool = False


@dataclass(frozen=True)
class ContainerState:
    """An engine's report of a container. Times are None if it has not started or not ended."""

    is_running: bool
    exit_code: int
    oom_killed: bool
    pid: int
    started: datetime = None
    finished: datetime = None
    error: str = ""

    @property
    def seconds(self):
        """How long it ran; None if the engine does not report it."""
        if self.started is None or self.finished is None:
            return None
        return max(0.0, (self.finished - self.started).total_seconds())


@dataclass(frozen=True)
class ContainerListing:
    """One of a list of containers."""

    id: str
    labels: dict
    is_running: bool


def refusal(text):
    """The exception for an engine's refusal to create or start a container: StageError or Fault."""
    if STAGE_REFUSED.search(text) and not DISK_FULL.search(text):
        return StageError(f"could not be started: {text.strip()}")
    return engine_fault(text.strip())


def parse_state(state):
    """A ContainerState from the State of an engine's inspection, which has the same keys with both engines."""
    return ContainerState(
        is_running=bool(state.get("Running")),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        pid=int(state.get("Pid") or 0),
        started=_time(state.get("StartedAt")),
        finished=_time(state.get("FinishedAt")),
        error=state.get("Error") or "",
    )


def is_created_only(state):
    """Whether the container has never run."""
    return state.started is None and not state.is_running


def _time(text):
    """RFC 3339 with any number of decimals; None for the zero of Go."""
    match = re.fullmatch(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:\.(\d+))? ?(Z|[-+]\d\d:?\d\d)?(?: \w+)?", text or "")
    if not match or match[1].startswith("0001"):
        return None
    decimals = (match[2] or "0")[:6].ljust(6, "0")
    zone = "+0000" if match[3] in (None, "Z") else match[3].replace(":", "")
    return datetime.strptime(f"{match[1].replace(' ', 'T')}.{decimals}{zone}", "%Y-%m-%dT%H:%M:%S.%f%z")
