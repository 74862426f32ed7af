"""How many jobs at a time this machine has room for."""

import os
from pathlib import Path

import click

MOST = 256
RESERVE = 512 * 1024 * 1024  # for the grader, the engine and the system
MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Concurrency(click.ParamType):
    """A number of jobs, or "auto"."""

    name = "number|auto"

    def convert(self, value, param, ctx):
        """ "auto" or an int."""
        if value == "auto":
            return value
        return click.IntRange(1, MOST).convert(value, param, ctx)


def fitting(memory_of_a_job):
    """One job per processor that this process may use, and as many as the memory holds; at least 1."""
    jobs = len(os.sched_getaffinity(0))
    if memory_of_a_job:
        jobs = min(jobs, (machine_memory() - RESERVE) // memory_of_a_job)
    return max(1, min(jobs, MOST))


def machine_memory():
    """Bytes that this machine has, or the control group of this process if it is limited."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in MEMORY_LIMITS:
        try:
            total = min(total, int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # another version of cgroups, or "max"
    return total
