"""The graders of one host: a locked file for each running grader, and cleanup after those that were killed.

The kernel releases the lock when the process ends, however it ends. The containers of a grader have labels with its
id and with the id of the state directory, so graders that can't see each other's files leave each other alone."""

import fcntl
import json
import logging
import os
import secrets
import socket
import stat
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from broadway_tools.grader.container_runner import GRADER_LABEL, JOB_LABEL, NAME_LABEL
from broadway_tools.grader.faults import Fault
from broadway_tools.grader.workspace import wipe

HOST_LABEL = "broadway.host"
DIRECTORY_PREFIX = "broadway-grader-"
SUFFIX = ".lock"
# All containers are looked at this often; the files of graders more often, since that costs little.
SWEEP_S, LOOK_S = 60, 5
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

log = logging.getLogger("grader")


class StateError(Exception):
    """The state directory can't be used; the text has the reason."""


def default_directory():
    """The default of --state-dir."""
    if os.geteuid() == 0:
        return Path("/var/lib/broadway-grader")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "broadway-grader"


def open_directory(path):
    """A private directory; one in the directory for temporary files if `path` is None and the default can't be made."""
    if path is not None:
        return _private(path)
    try:
        return _private(default_directory())
    except (StateError, RuntimeError):
        return _private(Path(tempfile.gettempdir()) / f"broadway-grader-{os.geteuid()}")


def _private(path):
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = path.lstat()
    except OSError as error:
        raise StateError(f"the state directory can't be used: {error}") from error
    # The files there name directories that are removed.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StateError(f"the state directory {path} must be a directory of this user, writable only by its owner")
    return path


@dataclass
class _Record:
    """The file of one grader."""

    path: Path
    descriptor: int
    content: dict

    @property
    def id(self):
        return self.path.name.removesuffix(SUFFIX)


class HostState:
    """The state of the host, with a file for this grader, whose jobs' directories are in `directory`."""

    def __init__(self, state_dir, directory):
        self._dir = state_dir
        self._boot = BOOT_ID.read_text(encoding="ascii").strip()
        self.host_id = self._read_host_id()
        self.id = secrets.token_hex(8)
        self._own = self._lock_new({"directory": str(directory), "pid": os.getpid(), **self._place()})

    def labels(self):
        """Those of this grader's containers."""
        return {HOST_LABEL: self.host_id, GRADER_LABEL: self.id}

    def is_alive(self, grader):
        """Whether the grader with this id lives."""
        path = self._dir / f"{grader}{SUFFIX}"
        record = self._take(path, fcntl.LOCK_SH)
        if record is not None:
            os.close(record.descriptor)
        return record is None and path.exists()

    def dead(self):
        """The ids of dead graders of this host."""
        records = self.take_dead(fcntl.LOCK_SH)
        for record in records:
            self.release(record)
        return {record.id for record in records}

    def take_dead(self, lock=fcntl.LOCK_EX):
        """The records of dead graders of this host, locked; `forget` or `release` each. Shared locks are for looking:
        they don't hide a dead grader from others who look."""
        found = [self._take(path, lock) for path in sorted(self._dir.glob(f"*{SUFFIX}")) if path != self._own.path]
        return [record for record in found if record is not None]

    def forget(self, record):
        """Removes the file: everything of that grader was removed."""
        record.path.unlink(missing_ok=True)
        os.close(record.descriptor)

    def release(self, record):
        """Unlocks the file: the next sweep tries again."""
        os.close(record.descriptor)

    def close(self):
        """Removes this grader's file."""
        self.forget(self._own)

    def _place(self):
        return {"hostname": socket.gethostname(), "boot": self._boot}

    def _read_host_id(self):
        path = self._dir / "id"
        descriptor, temporary = tempfile.mkstemp(dir=self._dir)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(16))
        try:
            os.link(temporary, path)  # the first one wins
        except FileExistsError:
            pass
        finally:
            os.unlink(temporary)
        return path.read_text(encoding="ascii").strip()

    def _lock_new(self, content):
        """Locked before it has its name, so no other process finds it unlocked."""
        descriptor, temporary = tempfile.mkstemp(dir=self._dir)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, json.dumps(content).encode())
        path = self._dir / f"{self.id}{SUFFIX}"
        os.rename(temporary, path)
        return _Record(path, descriptor, content)

    def _take(self, path, lock):
        """The locked record of a dead grader of this host; None if it lives, or is another host's."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, lock | fcntl.LOCK_NB)
            content = json.loads(os.read(descriptor, 65536))
            # A home directory may be shared by hosts; a container of a grader gets another hostname each time.
            if content["boot"] == self._boot or content["hostname"] == socket.gethostname():
                return _Record(path, descriptor, content)
        except (OSError, ValueError, KeyError, TypeError):
            pass
        os.close(descriptor)
        return None


class Sweeper:
    """Removes what dead graders of this host have left, and containers of this one that it does not use.

    `engine` is None, or that of the containers; `active` the names of the containers that this grader uses."""

    def __init__(self, state, engine, active, metrics):
        self._state = state
        self._engine = engine
        self._active = active
        self._metrics = metrics
        self._ended = threading.Event()
        self._last_fault = None

    def start(self):
        """Sweeps once a minute from now on, and soon after a grader has died, in a thread."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self):
        """Sweeps no more, after a last time."""
        self._ended.set()
        self.sweep()

    def sweep(self):
        """Once, now."""
        try:
            are_gone = self._sweep_containers()
        except Fault as fault:
            if str(fault) != self._last_fault:
                log.warning("the containers of dead graders can't be removed: %s", fault)
            self._last_fault = str(fault)
            return
        for record in self._state.take_dead():
            if record.id in are_gone or not self._remove_directory(record):
                self._state.release(record)
            else:
                self._state.forget(record)

    def _run(self):
        swept, known = time.monotonic(), set()
        while not self._ended.wait(LOOK_S):
            dead = self._state.dead()
            if not dead - known and time.monotonic() < swept + SWEEP_S:
                continue
            swept, known = time.monotonic(), dead  # of these what can't be removed now waits for a minute
            self.sweep()

    def _sweep_containers(self):
        """The ids of graders of which a container could not be removed."""
        remaining = set()
        if self._engine is None:
            return remaining
        for found in self._engine.list(f"{HOST_LABEL}={self._state.host_id}"):
            grader = found.labels.get(GRADER_LABEL, "")
            name = found.labels.get(NAME_LABEL)
            if self._is_owned(grader, name) or self._is_gone(grader, name):
                continue
            try:
                self._engine.kill(found.id, "KILL")
                self._engine.remove(found.id)
            except Fault as fault:
                log.warning("a container of a dead grader can't be removed: %s", fault)
                remaining.add(grader)
                continue
            self._metrics.add("broadway_grader_swept_containers_total")
            log.info("removed a container of job %s, whose grader is dead", found.labels.get(JOB_LABEL))
        return remaining

    def _is_owned(self, grader, name):
        return name in self._active if grader == self._state.id else self._state.is_alive(grader)

    def _is_gone(self, grader, name):
        """Whether it is this grader's own, and was removed since it was listed: a stage's end, and nothing is left."""
        return grader == self._state.id and not self._engine.list(f"{NAME_LABEL}={name}")

    def _remove_directory(self, record):
        """True if it no longer exists."""
        path = Path(record.content.get("directory", ""))
        if not path.name.startswith(DIRECTORY_PREFIX) or not path.exists():
            return True
        try:
            wipe(path)
        except OSError as error:
            log.warning("the directory of a dead grader can't be removed: %s", error)
            return False
        self._metrics.add("broadway_grader_swept_directories_total")
        log.info("removed %s, which a dead grader had left", path)
        return True
