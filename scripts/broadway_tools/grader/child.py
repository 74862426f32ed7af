"""Runs one local process to its end: reads what it writes as it comes, kills it when its time is over."""

import os
import selectors
import signal
import subprocess
import threading
import time

from broadway_tools.grader.stage import Outcome, StageError

CHUNK = 65536
DRAIN_S = 2


class Child:
    """One process in a session of its own. `run` is called once; `kill` at any time, from any thread."""

    def __init__(self, on_kill=None):
        self._lock = threading.Lock()
        self._process = None
        self._is_cancelled = False
        self._on_kill = on_kill or (lambda: None)

    def run(self, argv, stdout, stderr, timeout_s, **options):
        """Returns an Outcome; raises StageError if it can't be started. `stdout`, `stderr`: objects with write().
        `options` go to Popen."""
        started = time.monotonic()
        process = self._start(argv, options)
        timed_out = False
        try:
            streams = {process.stdout: stdout, process.stderr: stderr}
            timed_out = not self._follow(process, streams, started + timeout_s)
        finally:
            self._end(process)
        return self._outcome(process.returncode, time.monotonic() - started, timed_out, timeout_s)

    def kill(self):
        """Ends it at once; if it hasn't started, it never will."""
        with self._lock:
            self._is_cancelled = True
            if self._process is None:
                return
            _kill_group(self._process)
        self._on_kill()

    def _start(self, argv, options):
        with self._lock:
            if self._is_cancelled:
                raise StageError("cancelled before it started")
            try:
                self._process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    start_new_session=True,
                    **options,
                )
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                raise StageError(f"could not be started: {error}") from error
            return self._process

    def _follow(self, process, streams, deadline):
        """Reads until the process has ended, and what it wrote is read. False if its time was over before that."""
        with selectors.DefaultSelector() as selector:
            for stream, sink in streams.items():
                selector.register(stream, selectors.EVENT_READ, sink)
            end = os.pidfd_open(process.pid)
            try:
                selector.register(end, selectors.EVENT_READ, None)
                ended = self._pump(selector, deadline)
                selector.unregister(end)
            finally:
                os.close(end)
            if not ended:
                self._on_kill()
            # What it started in the background ends with it, as in a container; so the pipes come to their end.
            _kill_group(process)
            self._drain(selector, time.monotonic() + DRAIN_S)
        return ended

    def _end(self, process):
        _kill_group(process)
        with self._lock:
            process.wait()
            self._process = None  # from here on its pid may be another's
        process.stdout.close()
        process.stderr.close()

    @staticmethod
    def _pump(selector, deadline):
        """Returns True when the process has ended, False at the deadline."""
        while True:
            ready = selector.select(max(0, deadline - time.monotonic()))
            for key, _ in ready:
                if key.data is not None:
                    _read(selector, key)
            if any(key.data is None for key, _ in ready):
                return True
            if time.monotonic() >= deadline:
                return False

    @staticmethod
    def _drain(selector, deadline):
        """Reads the streams to their end; one that somebody else still holds open is given up at the deadline."""
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0, deadline - time.monotonic())):
                _read(selector, key)

    def _outcome(self, code, seconds, timed_out, timeout_s):
        outcome = Outcome(exit_code=code if code >= 0 else 128 - code, seconds=round(seconds, 3), killed=code < 0)
        if timed_out:
            outcome.killed = True
            outcome.error = f"killed: not done after {timeout_s:g} s"
        elif self._is_cancelled:
            outcome.killed = True
            outcome.error = "killed: the grader was told to stop"
        elif code < 0:
            outcome.error = f"ended by signal {-code}"
        return outcome


def _kill_group(process):
    """Only before the process is waited for: until then its number is its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _read(selector, key):
    chunk = os.read(key.fileobj.fileno(), CHUNK)
    if chunk:
        key.data.write(chunk)
    else:
        selector.unregister(key.fileobj)
