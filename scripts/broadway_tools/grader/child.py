"""Runs one local process to its end: reads its output as it arrives, and kills it at its timeout."""

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

    def end(self, grace_s):
        """The same with TERM first: it is killed if it still runs after `grace_s`."""
        with self._lock:
            self._is_cancelled = True
            if self._process is None:
                return
            _signal_group(self._process, signal.SIGTERM)
        killer = threading.Timer(grace_s, self.kill)
        killer.daemon = True
        killer.start()

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
        """Reads until the process has ended and its output is read. False if the timeout came first."""
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
            # Its background processes end with it, as in a container, so the pipes are closed.
            _kill_group(process)
            self._drain(selector, time.monotonic() + DRAIN_S)
        return ended

    def _end(self, process):
        _kill_group(process)
        with self._lock:
            process.wait()
            self._process = None  # from here on the pid may belong to another process
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
        """Reads the streams to their end, or until the deadline if another process holds one open."""
        while selector.get_map() and time.monotonic() < deadline:
            for key, _ in selector.select(max(0, deadline - time.monotonic())):
                _read(selector, key)

    def _outcome(self, code, seconds, timed_out, timeout_s):
        outcome = Outcome(exit_code=code if code >= 0 else 128 - code, seconds=round(seconds, 3), killed=code < 0)
        outcome.signal = -code if code < 0 else None
        if timed_out:
            outcome.killed = outcome.timed_out = True
            outcome.error = f"killed: not done after {timeout_s:g} s"
        elif self._is_cancelled:
            outcome.killed = True
            outcome.error = "killed: the grader was told to stop"
        elif code < 0:
            outcome.error = f"ended by signal {-code}"
        return outcome


def _kill_group(process):
    """Call only before the process is waited for: after that the pid may be reused."""
    _signal_group(process, signal.SIGKILL)


def _signal_group(process, number):
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _read(selector, key):
    chunk = os.read(key.fileobj.fileno(), CHUNK)
    if chunk:
        key.data.write(chunk)
    else:
        selector.unregister(key.fileobj)
