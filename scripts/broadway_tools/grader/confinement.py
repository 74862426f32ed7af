"""What a stage may use: the grader's defaults, what the stage asks for, and the ceiling of the operator."""

import resource
from dataclasses import dataclass, replace

from broadway_tools.grader.engine import JOB_DIRECTORY
from broadway_tools.grader.stage import StageError, cpu_numbers, memory_bytes

MIB = 1024 * 1024
GIB = 1024 * MIB
USUAL_FILES, MOST_FILES, MOST_PROCESSES = 1024, 65536, 32768
# Writable although the root is not; in memory, so within the stage's limit.
TMPFS = {"/tmp": 256 * MIB, "/var/tmp": 64 * MIB, "/run": 16 * MIB}
# In place of root, where the engine's root is this machine's.
AUTO_USER, NOBODY = "auto", "65534:65534"
ROOT_USERS = {"", "0", "root"}
# Of the processor time that everything wants: the usual group of processes has 1024.
CPU_SHARES = 256


@dataclass(frozen=True)
class Limits:
    """None: no limit. Sizes in bytes."""

    memory: int = None
    cpus: float = None
    pids: int = None
    disk: int = None

    def within(self, ceiling):
        """The same, each lowered to the ceiling's if that is lower."""
        return Limits(**{name: _lower(getattr(self, name), getattr(ceiling, name)) for name in self.names()})

    @staticmethod
    def names():
        return ("memory", "cpus", "pids", "disk")


@dataclass(frozen=True)
class Confinement:
    """The operator's policy. `is_strict`: no capabilities, no new privileges, a read-only root, /job as the working
    directory; else as the engine has it."""

    defaults: Limits
    ceiling: Limits
    networking: bool = False  # of stages without the key
    user: str = None  # of stages without the key; None: the image's; AUTO_USER: also that, but not root
    may_be_privileged: bool = False
    is_strict: bool = True
    # What a stage may ask for.
    may_have_network: bool = True
    may_choose_user: bool = True
    may_write: bool = True

    def limits(self, stage):
        """The limits of a stage. Raises StageError if it asks for something that is not a limit."""
        asked = {
            "memory": stage.memory and memory_bytes(stage.memory),
            "cpus": _positive("cpus", stage.cpus),
            "pids": _whole("pids", stage.pids),
            "disk": stage.disk and memory_bytes(stage.disk),
        }
        given = {name: value for name, value in asked.items() if value}
        return replace(self.defaults, **given).within(self.ceiling)

    def options(self, stage, limits):
        """The fields of a ContainerSpec that confine a stage. Raises StageError."""
        self._check(stage)
        if stage.cpuset_cpus:
            cpu_numbers(stage.cpuset_cpus)
        read_only = self.is_strict or not self.may_write if stage.read_only is None else stage.read_only
        return {
            "networking": self.networking if stage.networking is None else stage.networking,
            "user": stage.user or self.user,
            "memory": limits.memory,
            "cpus": limits.cpus,
            "cpu_shares": CPU_SHARES if self.is_strict else None,
            "pids": limits.pids,
            "cpuset_cpus": stage.cpuset_cpus,
            "working_dir": JOB_DIRECTORY if self.is_strict else None,
            "read_only": read_only and not stage.privileged,
            "tmpfs": TMPFS if read_only and not stage.privileged else {},
            "ulimits": resource_limits(),
            "is_confined": self.is_strict,
            "privileged": stage.privileged,
        }

    def _check(self, stage):
        refused = {
            "a privileged container": (stage.privileged and not self.may_be_privileged, "--allow-privileged"),
            "a network": (stage.networking and not self.may_have_network, "--allow-networking"),
            "a user of its own": (stage.user is not None and not self.may_choose_user, "--allow-user"),
            "a writable root": (stage.read_only is False and not self.may_write, "--allow-writable"),
        }
        for what, (is_refused, option) in refused.items():
            if is_refused:
                raise StageError(f"asks for {what}, which this grader refuses ({option} is off)")


def is_root(user):
    """Whether a user of an image, perhaps with a group, is root."""
    return (user or "").partition(":")[0] in ROOT_USERS


def resource_limits():
    """{name: (soft, hard)} of a container's processes, none higher than this process's own: an engine's defaults may be
    higher than this machine allows, and then no container starts."""
    files = _hard(resource.RLIMIT_NOFILE, MOST_FILES)
    processes = _hard(resource.RLIMIT_NPROC, MOST_PROCESSES)  # the limit of pids is the one that counts
    return {"nofile": (min(files, USUAL_FILES), files), "nproc": (processes, processes)}


def _hard(which, most):
    hard = resource.getrlimit(which)[1]
    return most if hard == resource.RLIM_INFINITY else min(hard, most)


def _lower(value, ceiling):
    known = [number for number in (value, ceiling) if number is not None]
    return min(known, default=None)


def _positive(name, value):
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or not 0 < number < 1e6:
        raise StageError(f"{name} {value!r} is not a number above 0")
    return number


def _whole(name, value):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise StageError(f"{name} {value!r} is not a whole number above 0")
    return value
