"""`backlog`: the cost of a queue of 1,000 to 1,000,000 jobs."""

import time

from broadway_tools import processes
from broadway_tools.stack import operations

from broadway_bench.setting import rss_bytes, system

QUEUES = {"1k": 1, "100k": 100, "1M": 1000}
STUDENTS = 1000
SPARE_RUNS = 6
GRADERS = 256
JOBS = 5000
CONNECTIONS = 16


def backlog(wanted):
    """Measures jobs a second over 5,000 jobs, the scheduler's memory, and its cold start."""
    figures = {}
    for name, runs in QUEUES.items():
        figures.update(_one(wanted, name, runs))
    return figures


def _one(wanted, name, runs):
    """The queue has this length at the end: the jobs that are graded are added to it."""
    jobs = wanted.count(JOBS, 1000)
    with system(wanted) as running:
        generator = running.generator
        empty = rss_bytes(running.scheduler().pid)
        generator.ask("describe", STUDENTS, 0)
        generator.ask("submit", runs + jobs // STUDENTS, CONNECTIONS, 0)
        generator.ask("start", CONNECTIONS)
        total = (runs + jobs // STUDENTS) * STUDENTS
        running.wait(lambda: running.metric(running.scheduler(), "broadway_scheduler_queued_jobs") == total)
        figures = {f"{name} queued: scheduler, MiB": rss_bytes(running.scheduler().pid) / 2**20}
        figures[f"{name} queued: scheduler, MiB more than empty"] = (rss_bytes(running.scheduler().pid) - empty) / 2**20
        generator.ask("graders", GRADERS)
        generator.begin("poll")
        generator.answer()
        answer = generator.ask("jobs", jobs, 1, 120)
        figures[f"{name} queued: jobs/s"] = answer["reported"] / answer["seconds"]
        generator.ask("rest")
        time.sleep(1)
        figures[f"{name} queued: cold start, s"] = _cold_start(running)
        figures.update({f"{name} queued: {fault}": value for fault, value in running.faults().items()})
    return figures


def _cold_start(running):
    """From the start of a scheduler, while nobody leads, to the first job in a grader's hands."""
    scheduler = running.scheduler()
    processes.stop([(scheduler.pid, scheduler.identity)], 10)
    running.generator.ask("poll")
    time.sleep(0.5)
    begun = time.monotonic()
    operations.start(running.stack, scheduler)
    held = running.generator.ask("trace", 8)["held_at"]
    return held[0] - begun if held else float("nan")
