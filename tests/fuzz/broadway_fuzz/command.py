"""The command line of tests/fuzz/run."""

import sys
from pathlib import Path

import click
from broadway_tools import processes
from broadway_tools.files import BUILD
from broadway_tools.stack.command import PRESETS

from broadway_fuzz.case import read_finding
from broadway_fuzz.fuzzer import Fuzzer, new_seed, replay, report
from broadway_fuzz.oracle import MIB, Oracle
from broadway_fuzz.system import slowness, system

GROWTH = {"asan": 1024 * MIB, "tsan": 1024 * MIB}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=float, default=60, show_default=True, help="How long; the start of the stack apart.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which cases; 0 takes one at random, and says it.")
@click.option("--preset", type=click.Choice(PRESETS), default="asan", show_default=True)
@click.option("--first", type=int, default=0, show_default=True, help="Number of the case to begin with.")
@click.option("--max-findings", type=int, default=20, show_default=True, help="Ends after so many.")
@click.option("--replay", "again", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
def main(seconds: float, seed: int, preset: str, first: int, max_findings: int, again: Path | None) -> None:
    """Sends invalid requests to a replica's public and internal port and to a scheduler's port, of a fresh stack, and
    checks that the processes stay alive and answer in HTTP. Findings are kept in build/fuzz; exits 1 if there are
    any."""
    processes.interrupt_on_signals()
    seed = seed or new_seed()
    oracle = Oracle(slowness(preset), GROWTH.get(preset, 256 * MIB))
    with system(preset) as running:
        if again is not None:
            case, earlier = read_finding(again)
            sys.exit(1 if replay(running, oracle, case, earlier, click.echo) else 0)
        click.echo(f"seed {seed}, preset {preset}, {seconds:g} s, stack in {running.stack.directory}")
        fuzzer = Fuzzer(running, oracle, seed, BUILD / "fuzz", max_findings)
        tally = fuzzer.run(seconds, first)
        fuzzer.check_rest()
    click.echo()
    for line in report(tally, oracle):
        click.echo(line)
    sys.exit(1 if tally.failed else 0)
