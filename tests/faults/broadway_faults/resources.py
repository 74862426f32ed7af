"""Threads, descriptors and memory of the processes under test, from /proc."""

import os
from pathlib import Path


def usage(pid):
    """{threads, descriptors, resident_kb} of a process; None if it has ended."""
    try:
        threads = len(os.listdir(f"/proc/{pid}/task"))
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    resident = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    return {"threads": threads, "descriptors": descriptors, "resident_kb": resident}


def cpu_seconds(pid):
    """The CPU time of a process so far, which depends little on the load of the machine."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
