"""`submit`: runs accepted a second."""

from broadway_bench.setting import cpu_figures, system

STUDENTS = (1, 50, 1000)
CONNECTIONS = (64, 256)


def submit(wanted):
    """Submissions over 64 and over 256 connections, for three sizes of runs."""
    figures = {}
    for students in STUDENTS:
        for connections in CONNECTIONS:
            figures.update(_one(wanted, students, connections))
    return figures


def _one(wanted, students, connections):
    name = f"{connections} clients, runs of {students}"
    with system(wanted) as running:
        generator = running.generator
        generator.ask("describe", students, 0)
        generator.ask("submit", connections, connections, 0)
        with running.counting_cpu() as used:
            answer = generator.ask("submit", 0, connections, 5 * wanted.scale)
        figures = {f"{name}: accepted/s": answer["accepted"] / answer["seconds"]}
        for share in ("p50", "p99", "p999"):
            figures[f"{name}: {share} ms"] = answer["latency"][f"{share}_ms"]
        figures.update(cpu_figures(name, used, answer["accepted"], "1,000"))
        figures.update({f"{name}: {fault}": value for fault, value in running.faults().items()})
    return figures
