"""`submit`: runs accepted a second."""

from broadway_bench.setting import system

STUDENTS = (1, 50, 1000)
CONNECTIONS = 64


def submit(wanted):
    """Submissions over 64 connections, for three sizes of runs."""
    figures = {}
    for students in STUDENTS:
        with system(wanted) as running:
            generator = running.generator
            generator.ask("describe", students, 0)
            generator.ask("submit", CONNECTIONS, CONNECTIONS, 0)
            with running.counting_cpu() as used:
                answer = generator.ask("submit", 0, CONNECTIONS, 5 * wanted.scale)
            name = f"runs of {students}"
            figures[f"{name}: accepted/s"] = answer["accepted"] / answer["seconds"]
            figures[f"{name}: p50 ms"] = answer["latency"]["p50_ms"]
            figures[f"{name}: p99 ms"] = answer["latency"]["p99_ms"]
            figures[f"{name}: api, cpu s per 1,000"] = used["api"] / answer["accepted"] * 1000
            figures.update({f"{name}: {fault}": value for fault, value in running.faults().items()})
    return figures
