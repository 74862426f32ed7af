"""`jobs`: end to end through the public API, with graders that finish at once."""

import contextlib

from broadway_bench.setting import PROTOCOLS, cpu_figures, system

GRADERS = {8: 2500, 32: 5000, 256: 8000}
STUDENTS = (50, 1000)
INSTRUCTORS = 4


def jobs(wanted):
    """Jobs a second and cpu for both sizes of runs and all numbers of graders; course graders, for large runs."""
    figures = {}
    for protocol in PROTOCOLS:
        for students in STUDENTS if protocol == "classic" else STUDENTS[-1:]:
            for graders, count in GRADERS.items():
                figures.update(_one(wanted, protocol, students, graders, wanted.count(count, students)))
    return figures


def _one(wanted, protocol, students, graders, count):
    runs = max(1, count // students)
    name = f"{graders} graders, runs of {students}" + ("" if protocol == "classic" else f", {protocol}")
    with system(wanted, protocol=protocol) as running:
        generator = running.generator
        generator.ask("describe", students, 0)
        generator.ask("submit", runs, INSTRUCTORS, 0)
        running.park(graders)
        with running.counting_cpu() as used:
            answer = generator.ask("jobs", runs * students, INSTRUCTORS, 120)
        figures = {
            f"{name}: jobs/s": answer["reported"] / answer["seconds"],
            f"{name}: result to next job, p50 ms": answer["next_job"]["p50_ms"],
            f"{name}: result to next job, p99 ms": answer["next_job"]["p99_ms"],
            f"{name}: result to next job, p999 ms": answer["next_job"]["p999_ms"],
        }
        figures.update(cpu_figures(name, used, answer["reported"], "1,000 jobs"))
        faults = running.faults()
        faults["missing"] = runs * students - min(answer["held"], _results(running, runs * students))
        figures.update({f"{name}: {fault}": value for fault, value in faults.items()})
    return figures


def _results(running, expected):
    """How many results the scheduler has seen, once it has seen `expected` or the time is over. A result by websocket
    is not answered, so only this shows that it was stored."""
    seen = 0

    def is_complete():
        nonlocal seen
        seen = running.metric(running.scheduler(), "broadway_scheduler_results_total")
        return seen >= expected

    with contextlib.suppress(TimeoutError):
        running.wait(is_complete, 20)
    return seen
