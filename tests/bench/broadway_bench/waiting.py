"""`waiting`: the cost of waiting graders, and how fast all of them get a job."""

import time

from broadway_bench.setting import cpu_seconds, rss_bytes, system, threads

WAITING = (1000, 5000, 10000)
IDLE_S = 10
NEVER_MS = 600000


def waiting(wanted):
    """Memory, threads and idle cpu of parked polls, and of websockets, on one replica; then a job for each."""
    figures = {}
    for protocol, what in (("classic", "parked"), ("course-ws", "websockets")):
        for graders in WAITING:
            figures.update(_one(wanted, protocol, graders, f"{graders} {what}"))
    return figures


def _one(wanted, protocol, graders, name):
    with system(wanted, protocol=protocol) as running:
        pid, scheduler = running.api().pid, running.scheduler().pid
        rss, kernel, known = rss_bytes(pid), kernel_bytes(), rss_bytes(scheduler)
        running.park(graders)
        figures = {
            f"{name}: replica, KiB each": (rss_bytes(pid) - rss) / graders / 1024,
            f"{name}: kernel, KiB each": (kernel_bytes() - kernel) / 2 / graders / 1024,
            f"{name}: scheduler, KiB each": (rss_bytes(scheduler) - known) / graders / 1024,
            f"{name}: threads": threads(pid),
        }
        time.sleep(2)
        before, begun = cpu_seconds(pid), time.monotonic()
        known_before = cpu_seconds(scheduler)
        time.sleep(IDLE_S)
        took = time.monotonic() - begun
        figures[f"{name}: replica idle, % of a core"] = (cpu_seconds(pid) - before) / took * 100
        figures[f"{name}: scheduler idle, % of a core"] = (cpu_seconds(scheduler) - known_before) / took * 100
        figures.update(_hand_to_all(running, graders, name))
    return figures


def _hand_to_all(running, graders, name):
    """Starts a run with a job for each grader; returns the time until every grader has one."""
    generator = running.generator
    generator.ask("work", NEVER_MS)
    generator.ask("describe", graders, 0)
    generator.ask("submit", 1, 1, 0)
    answer = generator.ask("hold", graders, 1, 120)
    faults = {**running.faults(), "missing": graders - answer["held"]}
    return {
        f"{name}: a job for all, s": answer["all_held_seconds"],
        **{f"{name}: {fault}": value for fault, value in faults.items()},
    }


def kernel_bytes():
    """The kernel's memory for sockets of Broadway and the generator: slabs and their buffers."""
    with open("/proc/meminfo", encoding="ascii") as file:
        rows = dict(line.split(":") for line in file)
    slab = int(rows["Slab"].split()[0]) * 1024
    with open("/proc/net/sockstat", encoding="ascii") as file:
        buffers = next(int(line.split()[-1]) * 4096 for line in file if line.startswith("TCP:"))
    return slab + buffers
