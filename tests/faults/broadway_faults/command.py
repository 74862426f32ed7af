"""The command line of tests/faults/run."""

import json
import sys
from pathlib import Path

import click

from broadway_faults import build, checker, mix, mutants, runner
from broadway_faults.registry import load_rows


def numbers_of(text):
    """ "all", or numbers and ranges: 1,5,8-12."""
    known = load_rows()
    if text == "all":
        return list(known)
    chosen = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        chosen += range(int(first), int(last or first) + 1)
    unknown = [number for number in chosen if number not in known]
    if unknown:
        raise click.UsageError(f"there is no row {unknown[0]}")
    return chosen


def say(pair, outcome):
    click.echo(f"row {pair[0]} seed {pair[1]}: {outcome['result']} ({outcome['seconds']:.1f} s)", err=True)
    for text in outcome["violations"][:8]:
        click.echo(f"    {text}", err=True)


def run_one(number, seed, mutant, keep, as_json):
    outcome = runner.run_row(number, seed, mutant, keep)
    if as_json:
        click.echo(json.dumps(outcome))
    else:
        fault = load_rows()[number].fault
        click.echo(f"row {number} ({fault}), seed {seed}: {outcome['result']}, {outcome['seconds']:.1f} s")
        for text in outcome["violations"]:
            click.echo(f"  {text}")
        if outcome["result"] == runner.CANNOT:
            click.echo(f"  {outcome['reason']}")
        if outcome["result"] == runner.FAILED:
            click.echo(f"  kept in {outcome['directory']}; check it again with --check")
    sys.exit(1 if outcome["result"] == runner.FAILED else 0)


def run_rows(numbers, seeds, jobs):
    outcomes = runner.run_many(numbers, range(1, seeds + 1), jobs, say)
    for line in runner.table(outcomes):
        click.echo(line)
    sys.exit(1 if any(outcome["result"] == runner.FAILED for outcome in outcomes.values()) else 0)


def check_again(directory):
    violations = checker.check_directory(directory)
    for violation in violations:
        click.echo(str(violation))
    click.echo(f"{len(violations)} violation(s)")
    sys.exit(1 if violations else 0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--row", type=int, help="One row of the matrix.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--rows", help="Several: all, or 1,5,8-12. Prints a table.")
@click.option("--seeds", type=int, default=3, show_default=True, help="With --rows: seeds 1 to N for each.")
@click.option("--jobs", type=int, default=2, show_default=True, help="With --rows: how many at a time.")
@click.option("--subset", is_flag=True, help="Every row with one seed: under ten minutes, two at a time.")
@click.option("--mix", "mixes", is_flag=True, help="Random faults for --seconds, then counts.")
@click.option("--soak", type=int, metavar="GRADERS", help="No faults, so many graders, for --seconds.")
@click.option("--seconds", type=float, default=600, show_default=True)
@click.option("--mutants", "with_mutants", is_flag=True, help="Takes guards out: the named row must fail for each.")
@click.option("--mutant", help="With --row: without this guard.")
@click.option("--check", "again", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--build-only", is_flag=True, help="Builds what the rows need, and ends.")
@click.option("--no-build", is_flag=True, help="Trusts that it is built.")
@click.option("--keep", is_flag=True, help="With --row: keeps the history of a row that passed.")
@click.option("--list", "lists", is_flag=True, help="The rows, a line each.")
@click.option("--json", "as_json", is_flag=True, help="With --row: the outcome as one line of JSON.")
def main(row, seed, rows, seeds, jobs, subset, mixes, seconds, with_mutants, mutant, again, **how):
    """Faults, and what comes of them: every row of the matrix, random mixes, and guards taken out. Histories of what
    failed are kept in build/faults."""
    if again:
        check_again(again)
    if how["lists"]:
        for number, found in load_rows().items():
            click.echo(f"{number:>3}  {found.fault}")
        return
    if not how["no_build"]:
        build.build_all()
    if how["build_only"]:
        return
    if row is not None:
        run_one(row, seed, mutant, how["keep"], how["as_json"])
    if rows:
        run_rows(numbers_of(rows), seeds, jobs)
    if subset:
        run_rows(list(load_rows()), 1, jobs)
    if with_mutants:
        sys.exit(mutants.run(jobs))
    if mixes:
        sys.exit(mix.run(seconds, seed))
    if how["soak"]:
        sys.exit(mix.soak(seconds, seed, how["soak"]))
    raise click.UsageError("say what to run: --row, --rows, --subset, --mix, --soak, --mutants or --check")
