"""Mutants: for each guard that is removed from the code, the named row must fail.

A mutant is a patch in tests/faults/mutants, which is applied to a copy of the sources. Its first line names the guard
and the row.
"""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import click
from broadway_tools.mutated_build import MutatedBuildError, PatchError

from broadway_faults import build, runner

FIRST_LINE = re.compile(r"(?P<guard>.+)\. Row (?P<row>\d+) must fail(?: with seed (?P<seed>\d+))?\.")
FOUND, MISSED, NOT_RUN = "found out", "NOT NOTICED", "NOT RUN"


@dataclass(frozen=True)
class Mutant:
    """A removed guard, the row that must fail without it, and the seed."""

    name: str
    guard: str
    row: int
    seed: int = 1


def read_mutant(patch):
    """The mutant of a patch file."""
    first = patch.read_text(encoding="utf-8").partition("\n")[0]
    parts = FIRST_LINE.fullmatch(first)
    if parts is None:
        raise PatchError(f"{patch.name} must begin with a line like: The guard. Row 12 must fail.")
    return Mutant(patch.stem, parts["guard"], int(parts["row"]), int(parts["seed"] or 1))


def load_mutants():
    """All mutants, by name."""
    return {patch.stem: read_mutant(patch) for patch in sorted(build.MUTANTS.glob("*.patch"))}


def verdict_of(outcome):
    """The verdict of a row. A row that could not be run to its end has not detected the mutant."""
    if outcome["result"] == runner.FAILED:
        return NOT_RUN if outcome.get("is_harness") else FOUND
    return MISSED if outcome["result"] == runner.PASSED else NOT_RUN


def run_mutant(mutant):
    """Builds the mutant, runs its row, and removes the build: {verdict, first, seconds}."""
    try:
        build.build_mutant(mutant.name)
    except (PatchError, MutatedBuildError) as reason:
        return {"verdict": NOT_RUN, "first": str(reason), "seconds": 0.0}
    outcome = runner.run_apart(mutant.row, mutant.seed, mutant.name)
    verdict = verdict_of(outcome)
    shutil.rmtree(build.binaries_without(mutant.name), ignore_errors=True)
    if verdict == FOUND:
        shutil.rmtree(runner.directory_of(mutant.row, mutant.seed, mutant.name), ignore_errors=True)
    first = (outcome["violations"] or [outcome.get("reason", "")])[0]
    return {"verdict": verdict, "first": first, "seconds": outcome["seconds"]}


def run(mutants, jobs):
    """Runs several mutants; returns 0 if each was detected."""
    found = {}

    def one(mutant):
        outcome = found[mutant.name] = run_mutant(mutant)
        click.echo(f"{mutant.name}: {outcome['verdict']} ({outcome['seconds']:.1f} s)", err=True)
        if outcome["verdict"] == NOT_RUN:
            click.echo(outcome["first"], err=True)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, mutants))
    click.echo(f"{'mutant':<24} {'row':>3}  {'result':<12} what said so")
    for mutant in mutants:
        outcome = found[mutant.name]
        click.echo(f"{mutant.name:<24} {mutant.row:>3}  {outcome['verdict']:<12} {outcome['first'][:90]}")
    missed = [name for name, outcome in found.items() if outcome["verdict"] != FOUND]
    click.echo(f"{len(found) - len(missed)} of {len(found)} found out")
    return 1 if missed else 0
