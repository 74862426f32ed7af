"""The evaluation of measurements: medians, targets, curves. scripts/bench makes the measurements."""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), os.path.join(HERE.parents[1], "scripts")]

from broadway_bench import curves, report  # noqa: E402
from broadway_bench.targets import fault_count  # noqa: E402

FLOOR, RATE = ("floor", "jobs/s at batches of 64"), ("jobs", "256 graders, runs of 1000: jobs/s")


def evaluated(rounds, name):
    return next(row for row in report.evaluate(rounds) if row["name"].startswith(name))


def test_ratios_are_computed_within_a_round():
    rounds = [{FLOOR: 1000, RATE: 700}, {FLOOR: 4000, RATE: 2000}, {FLOOR: 100, RATE: 65}]
    row = evaluated(rounds, "jobs/s with 256 graders")
    assert row["median"] == 0.65 and row["min"] == 0.5 and row["met"]


def test_a_target_without_measurements_is_not_evaluated():
    assert not [row for row in report.evaluate([{FLOOR: 1000}]) if row["name"].startswith("jobs/s")]


def test_a_single_fault_misses_the_target():
    figures = {("jobs", "8 graders, runs of 50: refused"): 1, ("recover", "lost"): 0}
    assert fault_count(figures) == 1
    assert not evaluated([figures], "lost, refused")["met"]
    assert evaluated([{("recover", "lost"): 0}], "lost, refused")["met"]


def test_curves_show_what_was_measured(tmp_path):
    source = tmp_path / "figures.json"
    report.write(source, {}, [{("handout", f"{n} waiting: start, p50 ms"): 4.0 + n / 1e4 for n in (8, 50, 1000)}])
    (picture,) = curves.draw(source, tmp_path / "pictures")
    assert picture.name == "handout.svg"
    assert picture.read_text(encoding="utf-8").count("<circle") == 3
    assert json.loads(source.read_text(encoding="utf-8"))["experiments"]["handout"]
