"""The command line of scripts/bench."""

import subprocess
import sys
import time
from pathlib import Path

import click
from broadway_tools import processes
from broadway_tools.files import ROOT, SCRIPTS

from broadway_bench import curves, machine, report
from broadway_bench.backlog import backlog
from broadway_bench.floor import floor
from broadway_bench.handout import handout
from broadway_bench.jobs import jobs
from broadway_bench.recover import recover
from broadway_bench.setting import Wanted
from broadway_bench.status import status
from broadway_bench.submit import submit
from broadway_bench.waiting import waiting

EXPERIMENTS = {
    function.__name__: function for function in (floor, jobs, handout, waiting, submit, backlog, status, recover)
}
HELP = "\n\n".join(f"  {name}  {function.__doc__}" for name, function in EXPERIMENTS.items())


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=HELP)
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(EXPERIMENTS)))
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write everything here.")
@click.option("--mongodb-uri", help="Measure on this database instead of private ones.")
@click.option("--rounds", type=click.IntRange(1, 99), default=3, show_default=True)
@click.option(
    "--draw",
    "draw_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: draw the curves of docs/performance from such a JSON file.",
)
@click.option("--quick", is_flag=True, help="A fifth of the load, for a look; the figures are rough.")
def bench(names, json_path, mongodb_uri, rounds, draw_path, quick):
    """Measure Broadway on this machine: all experiments, or those named. Builds the release first. Each round runs
    each experiment once, on a fresh database."""
    if draw_path is not None:
        for path in curves.draw(draw_path, ROOT / "docs" / "performance"):
            click.echo(path)
        return
    build()
    wanted = Wanted(mongodb_uri=mongodb_uri, scale=0.2 if quick else 1.0)
    facts = machine.describe()
    measured = []
    for number in range(rounds):
        measured.append(one_round(names or EXPERIMENTS, wanted, f"round {number + 1} of {rounds}"))
        if json_path is not None:
            report.write(json_path, facts, measured)
    report.show(facts, measured)


def one_round(names, wanted, title):
    """{(experiment, figure): value}"""
    figures = {}
    for name in names:
        begun = time.monotonic()
        found = EXPERIMENTS[name](wanted)
        figures.update({(name, figure): value for figure, value in found.items()})
        click.echo(f"{title}: {name}, {time.monotonic() - begun:.0f} s", err=True)
    return figures


def build():
    """Builds the release and the load generator."""
    for command in (
        [SCRIPTS / "build", "release"],
        ["cmake", "--build", "--preset", "release", "--target", "bench"],
    ):
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            raise click.ClickException(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")


def main():
    """Runs the command; interrupted, it takes down what it started."""
    processes.interrupt_on_signals()
    try:
        bench(prog_name="scripts/bench")
    except (RuntimeError, OSError) as error:
        click.echo(f"bench: {error}", err=True)
        sys.exit(1)
