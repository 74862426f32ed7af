"""Plays nights of a deadline, checks what was measured, and draws one night in three orders."""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
from broadway_tools.files import BUILD, ROOT
from picture import draw

SKEW = 10  # the weights of the two courses whose shares are compared
SHARE_ERROR = 0.05
SHARED_S = 600  # for less time than that, shares say nothing
FORETOLD_ERROR = 0.15  # the median course's, ten minutes before its end
FLOODED_S = 180  # the median wait of a student whose course is flooded by another


def build(target):
    """The path of a program, built if that is needed. Raises CalledProcessError."""
    if not (BUILD / "release" / "build.ninja").exists():
        subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True, stdout=2)
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", target], cwd=ROOT, check=True, stdout=2)
    return BUILD / "release" / target


def play(program, seed, order="shares", curves=False):
    """What was measured of one night."""
    words = [program, f"--first={seed}", f"--order={order}", *["--curves"] * curves]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)


def foretold(night):
    """What was foretold of the ends of its courses."""
    return [row["foretold"] for row in night["courses"] if row["foretold"] is not None]


def median(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def complaints(night):
    """What is wrong with a night in the order of shares."""
    error = night["share_ratio"] / SKEW - 1
    found = [f"{night[name]} jobs {name}" for name in ("lost", "twice", "given_up") if night[name]]
    if night["shared_s"] < SHARED_S:
        found.append(f"shares were compared for {night['shared_s']:.0f} s only")
    if abs(error) > SHARE_ERROR:
        found.append(f"weights 10:1, graders' time {night['share_ratio']:.2f}:1")
    if night["flooded_wait_s"] > FLOODED_S:
        found.append(f"students of the flooded course waited {night['flooded_wait_s']:.0f} s")
    errors = [abs(row["error"]) for row in foretold(night)]  # none in other orders
    off = median(errors) if errors else 0
    if off > FORETOLD_ERROR:
        found.append(f"the end of the median course was foretold {100 * off:.0f} % off")
    return found


def play_all(program, first, seeds):
    """The nights of these seeds, and the number of those that failed. Shows progress."""
    nights, failed, shown = [], 0, time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for night in pool.map(lambda seed: play(program, seed), range(first, first + seeds)):
            nights.append(night)
            failed += bool(complaints(night))
            for complaint in complaints(night):
                click.echo(f"seed {night['seed']}: {complaint}")
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                click.echo(f"  {len(nights)} of {seeds} seeds", err=True)
    return nights, failed


def summary(nights):
    """Lines with the least and the most of each figure."""
    errors = [100 * (night["share_ratio"] / SKEW - 1) for night in nights]
    flooded = sorted(night["flooded_wait_s"] for night in nights)
    mean = sum(errors) / len(errors)
    yield f"share error under 10:1: {min(errors):+.1f} % to {max(errors):+.1f} %, mean {mean:+.2f} %"
    yield f"median wait in the flooded course, of others: {flooded[0]:.0f} to {flooded[-1]:.0f} s"
    rows = [row for night in nights for row in foretold(night)]
    within = sum(row["within_p90"] for row in rows) / len(rows)
    off = median([abs(row["error"]) for row in rows])
    yield f"ends of courses, ten minutes before: {100 * off:.1f} % off (median), {100 * within:.0f} % within p90"
    for number in range(len(nights[0]["courses"])):
        rows = [night["courses"][number] for night in nights]
        p50, p95, p99 = (
            sorted(row[f"wait_{quantile}_s"] for row in rows)[len(rows) // 2] for quantile in ("p50", "p95", "p99")
        )
        weight = rows[0]["weight"]
        yield f"course-{number}, weight {weight}: wait p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f} s (medians)"


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=200, show_default=True, help="How many nights.")
@click.option("--first", type=int, default=1, show_default=True, help="The seed of the first.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the first night in three orders, as SVG.")
@click.option("--cost", is_flag=True, help="Measure what a hand-out costs the rules, and play nothing.")
def main(seeds, first, picture, cost):
    """Plays nights of a deadline with the scheduler's rules. Exits 1 if one of them fails a check."""
    if cost:
        sys.exit(subprocess.run([build("night/rules_cost")], check=False).returncode)
    program, begun = build("night/night"), time.monotonic()
    if picture:
        nights = [play(program, first, order, curves=True) for order in ("shares", "turns", "fifo")]
        picture.write_text(draw(nights), encoding="utf-8")
        click.echo(picture)
        return
    nights, failed = play_all(program, first, seeds)
    for line in summary(nights):
        click.echo(line)
    click.echo(f"{seeds} seeds, {failed} failures, {seeds * 8000:,} events, {time.monotonic() - begun:.0f} s")
    sys.exit(failed > 0)
