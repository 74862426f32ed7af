"""The command line of tests/faults/run."""

import json
import sys
from pathlib import Path

import click
from broadway_tools.mutated_build import MutatedBuildError, PatchError

from broadway_faults import build, checker, mix, mutants, race_report, runner
from broadway_faults.registry import load_rows

MIX_S = 600


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


def mutants_of(name):
    """The mutants: all, or the named one."""
    try:
        known = mutants.load_mutants()
    except PatchError as reason:
        raise click.ClickException(str(reason)) from reason
    if name is not None and name not in known:
        raise click.UsageError(f"there is no mutant {name} in tests/faults/mutants")
    return list(known.values()) if name is None else [known[name]]


def build_for(row, mutant, with_mutants):
    """Builds what is missing or outdated. Mutants are built when they are run, except one given for a row."""
    build.build_all(with_older=not (mutant or with_mutants))
    if row is not None and mutant:
        try:
            build.build_mutant(mutants_of(mutant)[0].name)
        except (PatchError, MutatedBuildError) as reason:
            raise click.ClickException(str(reason)) from reason


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
@click.option(
    "--jobs", type=int, default=2, show_default=True, help="With --rows, --subset and --mutants: how many at a time."
)
@click.option("--subset", is_flag=True, help="Every row with one seed: under ten minutes.")
@click.option("--mix", "mixes", is_flag=True, help="Random faults for --seconds, then counts.")
@click.option("--soak", type=int, metavar="GRADERS", help="No faults, so many graders, for --seconds.")
@click.option("--races", type=int, metavar="N", help="N races of each pair of acts and events, and who was first.")
@click.option("--seconds", type=float, help="Of --mix and --soak (600); with --races: after these none begins.")
@click.option("--mutants", "with_mutants", is_flag=True, help="Takes guards out: the named row must fail for each.")
@click.option(
    "--mutant",
    metavar="NAME",
    help="The same for one patch of tests/faults/mutants. With --row: the row without that guard.",
)
@click.option("--check", "again", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="DIR")
@click.option("--build-only", is_flag=True, help="Builds what the rows need, and ends.")
@click.option("--no-build", is_flag=True, help="Trusts that it is built.")
@click.option("--keep", is_flag=True, help="With --row: keeps the history of a row that passed.")
@click.option("--list", "lists", is_flag=True, help="The rows, a line each.")
@click.option("--json", "as_json", is_flag=True, help="With --row: the outcome as one line of JSON.")
def main(row, seed, rows, seeds, jobs, subset, mixes, seconds, with_mutants, mutant, again, **how):
    """Runs fault experiments: rows of the matrix, random mixes, and mutants. Histories of failed experiments are kept
    in build/faults."""
    if again:
        check_again(again)
    if how["lists"]:
        for number, found in load_rows().items():
            click.echo(f"{number:>3}  {found.fault}")
        return
    if not how["no_build"]:
        build_for(row, mutant, with_mutants)
    if how["build_only"]:
        return
    if row is not None:
        run_one(row, seed, mutant, how["keep"], how["as_json"])
    if rows:
        run_rows(numbers_of(rows), seeds, jobs)
    if subset:
        run_rows(list(load_rows()), 1, jobs)
    if with_mutants or mutant:
        sys.exit(mutants.run(mutants_of(mutant), jobs))
    if how["races"]:
        sys.exit(race_report.run(how["races"], seed, seconds))
    if mixes:
        sys.exit(mix.run(seconds or MIX_S, seed))
    if how["soak"]:
        sys.exit(mix.soak(seconds or MIX_S, seed, how["soak"]))
    raise click.UsageError(
        "say what to run: --row, --rows, --subset, --mix, --soak, --races, --mutants, --mutant or --check"
    )
