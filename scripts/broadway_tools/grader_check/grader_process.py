"""The grader that the tool has started. It is started again when it ends, as a service manager would."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

from broadway_tools.processes import uninterrupted

AGAIN_S = 1  # between an end and the next start
KILL_S = 5


class GraderProcess:
    """A supervised command. `start` and `stop` are called from one thread. What it prints goes to stderr."""

    def __init__(self, argv: list[str]):
        self._argv = argv
        self._stopping = threading.Event()
        self._spawning = threading.Lock()  # nothing is spawned once stopping is set and this was held
        self._process: subprocess.Popen | None = None
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self.ends: list[int] = []  # exit statuses of ends that nobody asked for

    def start(self) -> None:
        """Starts the command. Raises OSError if it can't be started."""
        with uninterrupted():  # a signal between the fork and the note of its pid would leave the process behind
            self._spawn()
        self._thread.start()

    def drain(self, seconds: float) -> int | None:
        """Sends SIGTERM and waits: the exit status, or None if it still runs. It is not started again."""
        self._end_spawning()
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def stop(self) -> None:
        """Ends the process and all that it has started."""
        self._end_spawning()
        if self._process is None:
            return
        self._signal_group(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(KILL_S)
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _end_spawning(self) -> None:
        with self._spawning:
            self._stopping.set()

    def _spawn(self) -> None:
        with self._spawning:
            if self._stopping.is_set():
                return
            self._process = subprocess.Popen(
                self._argv, stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=sys.stderr, start_new_session=True
            )

    def _supervise(self) -> None:
        while self._process is not None:
            status = self._process.wait()
            if self._stopping.is_set():
                return
            self.ends.append(status)
            if self._stopping.wait(AGAIN_S):
                return
            self._spawn()
