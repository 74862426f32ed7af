"""The command line of tests/attack/run."""

import json
import sys
from pathlib import Path

import click
from broadway_tools import processes
from broadway_tools.stack.command import PRESETS

from broadway_attack.registry import load_attacks
from broadway_attack.runner import run_attacks, table


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", help="Some of them: A2, A5b, A7,A8.")
@click.option("--list", "lists", is_flag=True, help="The attacks, a line each.")
@click.option("--quick", is_flag=True, help="Shorter, and without those that take long: what scripts/test runs.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--preset", type=click.Choice(PRESETS), default="release", show_default=True)
@click.option(
    "--json", "file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The rows as JSON."
)
def main(only: str | None, lists: bool, quick: bool, seed: int, preset: str, file: Path | None) -> None:
    """Attacks a fresh stack of three replicas with all attacks that have stopped Broadway before, while fifty graders
    work through small runs. Prints a row for each attack: the requests, the memory of the attacked replica before, at
    its peak and afterwards, the slowest heartbeat and result meanwhile, and dead processes. Exits 1 if a limit is
    exceeded."""
    processes.interrupt_on_signals()
    known = load_attacks()
    if lists:
        for attack in known.values():
            click.echo(f"{attack.name:<5} {attack.sends}")
        return
    chosen = [attack for attack in known.values() if _is_chosen(attack.name, only) and (attack.is_quick or not quick)]
    if not chosen:
        raise click.UsageError("there is no such attack: see --list")
    rows = run_attacks(chosen, preset, seed, quick, lambda text: click.echo(text, err=True))
    for line in table(rows):
        click.echo(line)
    if file is not None:
        file.write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n", encoding="utf-8")
    sys.exit(1 if any(row.faults for row in rows) else 0)


def _is_chosen(name: str, only: str | None) -> bool:
    """A2 means A2a, A2b, A2c and A2d."""
    return only is None or any(part in (name, name.rstrip("abcd")) for part in only.replace(" ", "").split(","))
