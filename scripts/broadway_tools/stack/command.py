"""The command line of scripts/stack."""

import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from broadway_tools import processes
from broadway_tools.files import BUILD
from broadway_tools.stack import flags, operations, readiness
from broadway_tools.stack.plan import Wishes
from broadway_tools.stack.record import load

PRESETS = ("release", "debug", "asan", "tsan", "fault")

state_option = click.option(
    "--state",
    "directory",
    metavar="DIR",
    default=str(BUILD / "stack"),
    callback=lambda context, parameter, value: Path(value).absolute(),
    help="Where the stack keeps stack.json, data and logs [build/stack].",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli():
    """A whole Broadway on this machine: a private database, schedulers, replicas of the API and, if wanted, graders,
    on free ports of 127.0.0.1; the same binaries and flags as anywhere else."""


@cli.command()
@state_option
@click.option("--replicas", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--schedulers", type=click.IntRange(1, 8), default=1, show_default=True)
@click.option(
    "--graders",
    type=click.IntRange(0, 64),
    default=0,
    show_default=True,
    help="Reference graders that run jobs as local processes, isolating nothing.",
)
@click.option("--mongodb-uri", help="Use this database instead of starting a private one.")
@click.option("--database", default="broadway", show_default=True, help="Name of the database.")
@click.option("--preset", type=click.Choice(PRESETS), default="release", show_default=True)
@click.option("--api-flag", "api_flags", multiple=True, metavar="NAME=VALUE", help="Passed to every replica.")
@click.option(
    "--scheduler-flag", "scheduler_flags", multiple=True, metavar="NAME=VALUE", help="Passed to every scheduler."
)
def up(api_flags, scheduler_flags, **wishes):
    """Start a stack, and return when it is ready. Data of an earlier stack in the same DIR are kept."""
    stack = operations.up(
        Wishes(api_flags=flags.parse(api_flags), scheduler_flags=flags.parse(scheduler_flags), **wishes)
    )
    click.echo(f"ready; described in {stack.directory / 'stack.json'}")
    print_table(stack)


@cli.command()
@state_option
def down(directory):
    """Stop a stack. Data and logs are kept."""
    stack = load(directory)
    if stack is None:
        click.echo(f"there is no stack in {directory}: nothing to stop")
        return
    killed = operations.down(stack)
    if killed:
        click.echo(f"had to be killed after {operations.GRACE_S} s: {', '.join(killed)}", err=True)
    click.echo("stopped")


@cli.command()
@state_option
def status(directory):
    """Show all processes; exit 1 if any is down or not ready."""
    sys.exit(0 if print_table(existing(directory)) else 1)


@cli.command()
@click.argument("name", metavar="database|scheduler-N|api-N|grader-N")
@state_option
def restart(name, directory):
    """Start one process again, on its old ports, data and flags. N counts from 0."""
    stack = existing(directory)
    operations.restart(stack, name)
    print_table(stack)


def existing(directory):
    """The stack in `directory`; raises StackError if there is none."""
    stack = load(directory)
    if stack is None:
        raise operations.StackError(f"there is no stack in {directory}")
    return stack


def print_table(stack):
    """Prints one line per process. Returns whether all are ready."""
    table = Table("name", "pid", "url", "alive", "ready")
    all_ready = True
    for member in stack.members:
        alive = member.is_alive()
        ready = alive and readiness.is_ready(member)
        all_ready = all_ready and ready
        table.add_row(member.name, str(member.pid), member.url, _yes_no(alive), _yes_no(ready))
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    return all_ready


def _yes_no(value):
    return "yes" if value else "NO"


def main():
    """Runs the command. An `up` that is interrupted by a signal cleans up."""
    processes.interrupt_on_signals()
    try:
        cli(prog_name="stack")
    except (operations.StackError, flags.FlagError, readiness.NotReady, OSError) as error:
        click.echo(f"stack: {error}", err=True)
        sys.exit(1)
