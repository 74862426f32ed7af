"""`handout`: how long from the start of a run to the job in a grader's hands, while so many graders wait; on a
database that is as old for few graders as for many."""

from broadway_bench.floor import AGE
from broadway_bench.setting import system

WAITING = (8, 50, 1000, 10000)
SAMPLES = 200


def handout(wanted):
    """From the start request sent, and from a result sent, to the job that it makes possible held."""
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
