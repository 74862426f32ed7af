"""Whether stages get a user namespace, in which their root is an unprivileged user of this machine."""

import logging
import os
import threading
from pathlib import Path

from broadway_tools.grader.faults import Fault

AUTO, HOST = "auto", "host"
PODMAN = "podman"
# The user whose ranges podman takes for `--userns auto`, and the fewest ids that usual images need.
OWNER, LEAST_IDS = "containers", 65536
ETC = Path("/etc")
UNIFIED = Path("/sys/fs/cgroup/cgroup.controllers")  # is there with control groups of version 2 alone

log = logging.getLogger("grader")


class UserNamespace:
    """The mode that an engine gets for each stage; None: the engine's default. Any thread may call.

    `asked` is a mode of the engine; AUTO: a namespace if the engine can, else None. With AUTO all stages of a grader
    have the same ids, since the stages of a job share files, and the engine can keep an image's copy for these ids."""

    def __init__(self, asked, engine, etc=ETC):
        self._engine = engine  # its name is known once it has answered
        self._etc = etc
        self._lock = threading.Lock()  # guards the fields of this paragraph
        self._mode = None if asked == AUTO else asked
        self._candidate = None
        self._is_found = asked != AUTO  # whether it is known which mode to try
        self._is_new = True

    def find(self):
        """Logs why there is no namespace. True the first time. The engine must have answered."""
        with self._lock:
            is_first, self._is_new = self._is_new, False
            self._find()
            return is_first

    def ignores_limits(self):
        """Whether the engine ignores the limits of stages, as podman without root does with control groups of version
        1. It must have answered."""
        return self._has_engines_own() and not UNIFIED.exists()

    def is_there(self, mode):
        """Whether a stage with this mode has a namespace. docker's own setting, for all containers, is not known."""
        return self._has_engines_own() if mode is None else mode != HOST

    def _has_engines_own(self):
        return self._engine is not None and self._engine.name == PODMAN and os.geteuid() != 0

    def may_be_there(self):
        """The same of the first stage, as far as it is known before."""
        with self._lock:
            self._find()
            return self._candidate is not None or self.is_there(self._mode)

    def mode(self, try_mode):
        """The mode of the next stage. The first time, `try_mode(mode)` runs a container like the stage's; it raises
        Fault if the machine can't. So does this, if that is not because of the namespace."""
        with self._lock:
            self._find()
            if self._candidate is not None:
                self._decide(try_mode)
            return self._mode

    def _find(self):
        if self._is_found:
            return
        self._candidate, why_not = _find_mode(self._engine.name, self._etc)
        self._is_found = True
        if why_not:
            log.info("stages have no user namespace of their own: %s", why_not)

    def _decide(self, try_mode):
        try:
            try_mode(self._candidate)
            self._mode = self._candidate
            log.info("stages run in a user namespace: %s", self._mode)
        except Fault as fault:
            try_mode(None)
            log.warning("stages have no user namespace of their own: %s", fault)
        self._candidate = None


def _find_mode(engine_name, etc):
    """(a mode to try, None), or (None, why there is none)."""
    if engine_name != PODMAN:
        return None, f"with {engine_name} that is a setting of its daemon (userns-remap), for all containers"
    if os.geteuid() != 0:
        return None, "podman without root has one for all its containers"
    ranges = [_first_range(etc / name) for name in ("subuid", "subgid")]
    if None in ranges:
        return None, f"/etc/subuid and /etc/subgid have no range of {LEAST_IDS} ids for {OWNER}"
    count = min(count for _, count in ranges)
    uids, gids = (f"0:{start}:{count}" for start, _ in ranges)
    return f"auto:size={count},uidmapping={uids},gidmapping={gids}", None


def _first_range(path):
    """(first id, number) of the owner's first range that is large enough; None if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        owner, *numbers = line.strip().split(":")
        if owner == OWNER and len(numbers) == 2 and all(number.isdigit() for number in numbers):
            start, count = map(int, numbers)
            if count >= LEAST_IDS:
                return start, count
    return None
