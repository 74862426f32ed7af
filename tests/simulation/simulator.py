"""Builds the simulator, as it is or with a guard of the scheduler taken out, and runs it."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
from broadway_tools.files import BUILD, ROOT
from broadway_tools.mutated_build import MutatedBuildError, PatchError, build_mutated

HERE = Path(__file__).resolve().parent
MUTANTS = HERE / "mutants"
TARGET = "simulation/simulation"
MARGIN = 5  # a guard taken out is found in a fifth of the seeds that its patch names
FAILURE = re.compile(r"seed (?P<seed>\d+): (?P<text>I\d+: .+)$")
FIRST_LINE = re.compile(r"(?P<guard>.+)\. Found within (?P<seeds>\d+) seeds\.")


class BuildError(Exception):
    """The simulator does not compile; the text is what the compiler said last."""


@dataclass(frozen=True)
class Mutant:
    """A guard that a patch takes out, and within how many seeds that is found."""

    patch: Path
    guard: str
    seeds: int


def read_mutant(patch):
    """The mutant of a patch file: its first line says what it is."""
    first = patch.read_text(encoding="utf-8").partition("\n")[0]
    parts = FIRST_LINE.fullmatch(first)
    if parts is None:
        raise PatchError(f"{patch.name} must begin with a line like: The guard. Found within 200 seeds.")
    return Mutant(patch, parts["guard"], int(parts["seeds"]))


def build(preset="release"):
    """The simulator's path, built if that is needed."""
    directory = BUILD / preset
    steps = [["cmake", "--build", "--preset", preset, "--target", TARGET]]
    if not (directory / "build.ninja").exists():
        steps.insert(0, ["cmake", "--preset", preset])
    for step in steps:
        done = subprocess.run(step, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BuildError(f"{' '.join(step)}:\n{(done.stdout + done.stderr)[-3000:]}")
    return directory / TARGET


def build_mutant(mutant):
    """The path of a simulator without the guard. PatchError, MutatedBuildError."""
    into = BUILD / "simulation-mutants" / mutant.patch.stem
    build_mutated(
        mutant.patch,
        into,
        targets=(TARGET,),
        preset="release",
        also=("tests/simulation",),
        options=("-DBROADWAY_TESTS=OFF", "-DBROADWAY_SIMULATION=ON"),
    )
    return into / Path(TARGET).name


def first_failure(simulator, seeds):
    """(seed, what it says) of the first of `seeds` that fails, played one after the other; None: none does."""
    words = [str(simulator), "--seeds", str(seeds), "--jobs", "1"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        found = next(filter(None, map(FAILURE.match, process.stdout)), None)
        process.kill()
    return (int(found["seed"]), found["text"]) if found else None


def print_mutants():
    """A row for each guard that a patch takes out. True: each is found with a margin."""
    all_in_time = True
    for patch in sorted(MUTANTS.glob("*.patch")):
        mutant = read_mutant(patch)
        seed, text = first_failure(build_mutant(mutant), mutant.seeds) or (None, "not found")
        is_in_time = seed is not None and seed * MARGIN <= mutant.seeds
        all_in_time = all_in_time and is_in_time
        late = "" if is_in_time else "  LATE"
        click.echo(f"{patch.stem:24} {seed or '-':>4} of {mutant.seeds:>4} seeds  {text}{late}")
    return all_in_time


def play(simulator, *words):
    """Runs it: (exit status, what it said)."""
    done = subprocess.run([str(simulator), *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=2000, show_default=True, help="How many seeds are played.")
@click.option("--first", type=int, default=1, show_default=True, help="The first of them.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default=True, help="Processes at once.")
@click.option("--seed", type=int, help="Play this one alone; if it fails, show the smallest history that was found.")
@click.option("--trace", is_flag=True, help="With --seed: show the whole history.")
@click.option("--fail-fast", is_flag=True, help="End after the first seed that fails.")
@click.option("--races", is_flag=True, help="Print how often each action met each other event within 100 ms.")
@click.option("--digest", is_flag=True, help="Print a digest of each seed's history.")
@click.option("--mutants", is_flag=True, help="Take out each guard of mutants/*.patch, and show which seed finds it.")
@click.option("--preset", default="release", show_default=True, help="The build: release, debug or asan.")
def main(seeds, first, jobs, seed, trace, fail_fast, races, digest, mutants, preset):
    """Plays hours of a cluster in virtual time, and holds them against docs/reliability.md.

    Exits 1 if a check fails. What fails is made smaller, and its history is shown. --mutants exits 1 if a guard that
    is taken out is found late.
    """
    try:
        if mutants:
            sys.exit(not print_mutants())
        simulator = build(preset)
    except (BuildError, PatchError, MutatedBuildError) as reason:
        sys.exit(str(reason))
    words = ["--seeds", seeds, "--first", first, "--jobs", jobs, *["--digest"] * digest]
    words += ["--fail-fast"] * fail_fast + ["--races"] * races
    if seed is not None:
        words = ["--seed", seed, *["--trace"] * trace]
    sys.stdout.flush()
    os.execv(simulator, [str(simulator), *map(str, words)])
