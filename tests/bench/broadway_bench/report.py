"""Makes a JSON file and tables from the figures of several rounds."""

import json
import math
import statistics

from rich.console import Console
from rich.table import Table

from broadway_bench.targets import FAULTS, TARGETS, fault_count


def summarize(rounds):
    """{experiment: {figure: {median, min, max, rounds}}}; faults are added up separately."""
    summary = {}
    for key in dict.fromkeys(key for figures in rounds for key in figures):
        values = [figures[key] for figures in rounds if key in figures]
        summary.setdefault(key[0], {})[key[1]] = _spread(values)
    return summary


def evaluate(rounds):
    """Compares the measurements with the targets that they cover: [{name, wish, median, min, max, met}]."""
    evaluated = []
    for target in TARGETS:
        values = [value for value in (_compute(target, figures) for figures in rounds) if value is not None]
        if values:
            spread = _spread(values)
            evaluated.append(
                {"name": target.name, "wish": target.wish(), **spread, "met": target.is_met(spread["median"])}
            )
    faults = sum(fault_count(figures) for figures in rounds)
    evaluated.append(
        {"name": "lost, refused, handed out twice, missing", "wish": "0", **_spread([faults]), "met": faults == 0}
    )
    return evaluated


def write(path, machine, rounds):
    """Everything, as JSON."""
    document = {"machine": machine, "targets": evaluate(rounds), "experiments": summarize(rounds)}
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def show(machine, rounds):
    """Everything, as tables."""
    console = Console(width=120)
    console.print(", ".join(f"{name}: {value}" for name, value in machine.items()), style="dim")
    for experiment, figures in summarize(rounds).items():
        table = Table("figure", "median", "least", "most", title=experiment, title_justify="left")
        for name, row in figures.items():
            if name.rpartition(": ")[2] not in FAULTS or row["max"] > 0:
                table.add_row(name, *(_text(row[key]) for key in ("median", "min", "max")))
        console.print(table)
    table = Table("what must show", "wanted", "median", "least", "most", "", title="targets", title_justify="left")
    for row in evaluate(rounds):
        texts = (_text(row[key]) for key in ("median", "min", "max"))
        table.add_row(row["name"], row["wish"], *texts, "met" if row["met"] else "MISSED")
    console.print(table)


def _compute(target, figures):
    try:
        return target.compute(figures)
    except KeyError:
        return None  # its experiment was not run


def _spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def _text(value):
    if math.isnan(value):
        return "none"
    if value == int(value) and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
