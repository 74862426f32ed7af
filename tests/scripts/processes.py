"""Waits for conditions, and reads the state of processes that are not children of the test."""

import time
from pathlib import Path


def wait_until(condition, what, seconds=10):
    """The first true value of condition(); fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}"
        time.sleep(0.02)


def is_running(pid):
    """False for a zombie, too."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def running_with(text):
    """The command lines of all processes with `text` in their command line or environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            command_line, environment = ((directory / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue  # it has ended, or belongs to another user
        if text.encode() in command_line + environment:
            found.append(command_line.replace(b"\0", b" ").decode(errors="replace"))
    return found


def pids_in(path, count):
    """The pids, one per line, that a process has written to `path`, once there are `count`."""
    wait_until(lambda: path.exists() and path.read_text().count("\n") >= count, f"{count} pids stand in {path}")
    return [int(word) for word in path.read_text().split()]
