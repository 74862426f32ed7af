"""`handout`: the time from the start of a run to its hand-out, for several numbers of waiting graders; the database has
as many documents for few graders as for many."""

from broadway_bench.floor import AGE
from broadway_bench.setting import system

WAITING = (8, 50, 1000, 10000)
SAMPLES = 200


def handout(wanted):
    """Measures from a sent start request, and from a sent result, to the hand-out that it makes possible."""
    figures = {}
    for waiting in WAITING:
        with system(wanted) as running:
            running.generator.ask("describe", 1, 0)
            running.generator.ask("submit", AGE, 256, 0)
            running.park(waiting)
            running.generator.ask("handout", 10)
            answer = running.generator.ask("handout", wanted.count(SAMPLES, 20))
            name = f"{waiting} waiting"
            for what in ("start", "next"):
                for share in ("p50", "p99", "p999"):
                    figures[f"{name}: {what}, {share} ms"] = answer[what][f"{share}_ms"]
            faults = {**running.faults(), "missing": wanted.count(SAMPLES, 20) - answer["done"]}
            figures.update({f"{name}: {fault}": value for fault, value in faults.items()})
    return figures
