"""What a running stage uses: memory and processor time by its control group, and the size of its directory."""

import contextlib
import os
import re
import select
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SAMPLE_S = 0.25
# The size of the directory is taken once a second, or as seldom as its taking is a tenth of the time.
DISK_S, DISK_SHARE, DISK_LIMIT_S = 1, 10, 60
OOM_KILLS = re.compile(r"^oom_kill (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Usage:
    """Peak memory in bytes, processor time in seconds, processes killed for lack of memory. None: unknown."""

    peak_memory: int = None
    cpu_s: float = None
    oom_kills: int = None


@dataclass(frozen=True)
class Size:
    """What a stage has written: in directories of this machine, and `get_more()` bytes elsewhere, None: nothing."""

    directories: list
    get_more: object = None

    def exceeds(self, limit):
        """Whether it is more bytes than this."""
        here = sum(map(directory_size, self.directories))
        return here > limit or (self.get_more is not None and here + self.get_more() > limit)


class Meter:
    """A context, in which a thread looks at a container four times a second: `usage` is the last sample.

    `get_pid`: the pid of the container's first process, 0 if it doesn't run. Once the `size` exceeds `disk_limit` bytes
    (None: no limit), `on_excess` is called, once. The first look is after `first_s`.
    """

    def __init__(self, container, get_pid, size, disk_limit, on_excess, first_s=SAMPLE_S):
        self._container = container
        self._get_pid = get_pid
        self._size = size
        self._disk_limit = disk_limit
        self._on_excess = on_excess
        self._first_s = first_s
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._group = None
        self.usage = Usage()

    def __enter__(self):
        self._end = os.eventfd(0)
        self._thread.start()
        return self

    def __exit__(self, *_):
        os.eventfd_write(self._end, 1)
        self._thread.join()
        os.close(self._end)

    def _watch(self):
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        pause_s, next_size = self._first_s, time.monotonic()
        with contextlib.ExitStack() as stack:
            while self._end not in dict(poll.poll(pause_s * 1000)):
                pause_s = min(2 * pause_s, SAMPLE_S)
                self._sample(poll, stack)
                if self._disk_limit is not None and time.monotonic() >= next_size:
                    next_size = self._check_size()

    def _sample(self, poll, stack):
        if self._group is None and (pid := self._get_pid()):
            self._group = ControlGroup(pid, self._container)
            stack.callback(self._group.close)
            self._group.watch(poll)
        if self._group is not None:
            self.usage = self._group.read(self.usage)

    def _check_size(self):
        """When to check again."""
        started = time.monotonic()
        if self._size.exceeds(self._disk_limit):
            self._disk_limit = None
            self._on_excess()
        ended = time.monotonic()
        return ended + max(DISK_S, DISK_SHARE * (ended - started))


class ControlGroup:
    """The control group of a container, of either version; without files if it is not visible from here.

    Its name must have the container's id: within another container the same pid is another process."""

    def __init__(self, pid, container):
        self._memory = self._find(pid, container, "memory")
        self._cpu = self._find(pid, container, "cpuacct")
        self._event = None

    def watch(self, poll):
        """From now on, `poll` wakes when a process is killed for lack of memory."""
        with contextlib.suppress(OSError, AttributeError):
            if self._has("memory.events"):  # version 2
                self._event = os.open(self._memory / "memory.events", os.O_RDONLY)
                poll.register(self._event, select.POLLPRI)
            elif self._has("memory.oom_control"):
                self._event = os.eventfd(0, os.EFD_NONBLOCK)
                with open(self._memory / "memory.oom_control", "rb") as control:
                    words = f"{self._event} {control.fileno()}"
                    (self._memory / "cgroup.event_control").write_text(words, encoding="ascii")
                poll.register(self._event, select.POLLIN)

    def close(self):
        """Watches no more."""
        if self._event is not None:
            os.close(self._event)

    def read(self, former):
        """The Usage; figures that are not there, or no more, are those of `former`."""
        if self._event is not None:
            with contextlib.suppress(OSError):
                os.read(self._event, 4096)
        peak = self._number("memory.max_usage_in_bytes", self._memory) or self._number("memory.peak", self._memory)
        cpu_ns = self._number("cpuacct.usage", self._cpu)
        cpu_us = self._number("cpu.stat", self._cpu, re.compile(r"^usage_usec (\d+)", re.MULTILINE))
        kills = self._number("memory.oom_control", self._memory, OOM_KILLS)
        if kills is None:
            kills = self._number("memory.events", self._memory, OOM_KILLS)
        cpu_s = cpu_ns / 1e9 if cpu_ns is not None else cpu_us and cpu_us / 1e6
        found = {"peak_memory": peak, "cpu_s": cpu_s, "oom_kills": kills}
        return replace(former, **{name: value for name, value in found.items() if value is not None})

    @staticmethod
    def _find(pid, container, kind):
        """The group's directory, for a kind of resource; None if there is none."""
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8").splitlines()
        except OSError:
            return None
        for _, kinds, path in (line.split(":", 2) for line in lines):
            if container in path and (kinds == "" or kind in kinds.split(",")):
                found = CGROUPS / kinds / path.lstrip("/")
                return found if found.is_dir() else CGROUPS / kind / path.lstrip("/")
        return None

    def _has(self, name):
        return self._memory is not None and (self._memory / name).exists()

    @staticmethod
    def _number(name, directory, pattern=re.compile(r"^(\d+)$", re.MULTILINE)):
        if directory is None:
            return None
        try:
            match = pattern.search((directory / name).read_text(encoding="ascii"))
        except OSError:
            return None
        return int(match[1]) if match else None


def directory_size(path):
    """The bytes on disk of a tree of any depth, which may change meanwhile. Follows no link. 0 if unknown."""
    argv = ["du", "--summarize", "--one-file-system", "--block-size=1", "--", str(path)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=DISK_LIMIT_S, check=False)
        return int(done.stdout.split()[0])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return 0
