"""Processes that outlive their command. An identity distinguishes them from later processes with the same pid."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

# In /proc/PID/stat, counted from behind the name in brackets.
STATE, START_TIME = 0, 19
DEAD_STATES = ("Z", "X")
KILL_WAIT_S = 5
INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_on_signals():
    """From now on every terminating signal acts like Ctrl-C. Signals that are ignored (by nohup) stay ignored."""
    for number in INTERRUPTIONS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def uninterrupted():
    """A context that a terminating signal does not interrupt; the signal is handled at its end."""
    came = []
    heeded = [number for number in INTERRUPTIONS if signal.getsignal(number) != signal.SIG_IGN]
    former = [(number, signal.signal(number, lambda *which: came.append(which))) for number in heeded]
    try:
        yield
    finally:
        for number, handler in former:
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


def spawn(argv, log, cwd, env):
    """Starts `argv` in a session of its own, holding no descriptor of ours; its output goes to the end of `log`."""
    with open(log, "ab", opener=_private_opener) as output:
        return subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            close_fds=True,
            env=env,
            cwd=cwd,
        ).pid


def identity(pid):
    """A unique identity of the process on this machine: boot and start time. None if there is no such process."""
    fields = _stat(pid)
    if fields is None or fields[STATE] in DEAD_STATES:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{fields[START_TIME]}"


def is_alive(pid, known_identity):
    """Whether `pid` is still the process with this identity; false for a zombie."""
    return known_identity is not None and identity(pid) == known_identity


def stop(processes, grace_s):
    """SIGTERM to all of [(pid, identity)], SIGKILL to those still running after `grace_s`. Returns the killed pids."""
    for process in processes:
        _signal(process, signal.SIGTERM)
        _signal(process, signal.SIGCONT)
    if _wait_gone(processes, grace_s):
        return []
    stubborn = [process for process in processes if is_alive(*process)]
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    _wait_gone(stubborn, KILL_WAIT_S)
    return [pid for pid, _ in stubborn]


def _private_opener(path, flags):
    return os.open(path, flags, 0o600)


def _stat(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _signal(process, number):
    if not is_alive(*process):
        return
    try:
        os.kill(process[0], number)
    except ProcessLookupError:
        pass


def _wait_gone(processes, seconds):
    deadline = time.monotonic() + seconds
    while any(is_alive(*process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
