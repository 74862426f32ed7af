"""The processors of each slot, so that jobs which run at the same time don't slow each other down."""

import contextlib
import itertools
import os
import queue
from pathlib import Path

from broadway_tools.grader.stage import StageError, cpu_numbers

SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


class CpuSets:
    """Lends each running job one of the sets. Any thread may call."""

    def __init__(self, sets):
        self._free = queue.SimpleQueue()
        for cpus in sets:
            self._free.put(cpus)

    @contextlib.contextmanager
    def borrow(self):
        """A context: a set as `cpuset_cpus` of a stage. Waits if all are lent."""
        cpus = self._free.get()
        try:
            yield cpus
        finally:
            self._free.put(cpus)


def split(processors, slots, siblings=None):
    """A list such as 0,8 for each slot: the processors in equal parts, threads of one core together. Raises ValueError
    if there are fewer processors than slots."""
    if slots > len(processors):
        raise ValueError(f"{slots} slots need as many processors, and there are {len(processors)}")
    first_of_core = siblings or _first_sibling
    ordered = sorted(processors, key=lambda cpu: (first_of_core(cpu), cpu))
    bounds = [slot * len(ordered) // slots for slot in range(slots + 1)]
    return [",".join(map(str, sorted(ordered[a:b]))) for a, b in itertools.pairwise(bounds)]


def own_processors():
    """The processors that this process may use."""
    return os.sched_getaffinity(0)


def _first_sibling(cpu):
    """The lowest processor of the same core."""
    try:
        return min(cpu_numbers(Path(SIBLINGS.format(cpu)).read_text(encoding="ascii")))
    except (OSError, ValueError, StageError):
        return cpu
