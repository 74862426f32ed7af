"""What scripts/quickstart does once everything is installed: it builds, starts a stack with two graders, has them grade
the sample of 200 students, and shows what came of it; then it takes down what it started, unless it is to be kept."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from broadway_tools import processes
from broadway_tools.files import BUILD, ROOT, SCRIPTS, last_lines
from broadway_tools.progress import describe, show_progress
from broadway_tools.runs import RunClient, RunRefused, ServerLost, is_success
from broadway_tools.stack import operations, readiness
from broadway_tools.stack.plan import Wishes
from broadway_tools.stack.record import API, GRADER, load

SAMPLE = SCRIPTS / "samples" / "course-200.json"
KEPT = BUILD / "quickstart"
RESULTS_SHOWN = 3
INTERRUPTED = 130


class QuickstartFailed(Exception):
    """It did not come to a good end; the text says why."""


class PatientConsole(Console):
    """When whoever reads along has gone, it says no more, and the work goes on."""

    def on_broken_pipe(self):
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = PatientConsole(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=True)


@click.command()
@click.option("--keep", is_flag=True, help="Leave it running.")
@click.option("--state", type=click.Path(path_type=Path), default=KEPT, help="Where what is kept lives.")
def cli(keep, state):
    """Grade the sample of 200 students on a stack of its own."""
    build()
    directory = make_kept_directory(state.absolute()) if keep else make_directory()
    is_kept = False
    try:
        stack = start_stack(directory)
        run_id = grade_sample(stack)
        show_outcome(stack, run_id)
        if keep:
            show_how_to_go_on(stack, run_id)
            is_kept = True
    finally:
        if not is_kept:
            take_down(directory)
    if not keep:
        console.print("Nothing of it is left. To try things by hand: [bold]./scripts/quickstart --keep[/bold]")
    console.print("Where to look next: README.md, docs/protocol.md, docs/architecture.md, scripts/samples/README.md")


def build():
    """Brings the binaries up to date. If this is broken off, so is the build."""
    with step("Building (scripts/build release)"):
        with processes.uninterrupted():
            builder = subprocess.Popen([SCRIPTS / "build", "release"], start_new_session=True)
        try:
            code = builder.wait()
        except BaseException:
            if builder.poll() is None:
                os.killpg(builder.pid, signal.SIGTERM)
                builder.wait()
            raise
    if code != 0:
        raise QuickstartFailed("scripts/build failed; what it said last, above, is why")


def make_directory():
    """Where a stack lives that is not to stay."""
    return Path(tempfile.mkdtemp(prefix="broadway-quickstart-"))


def make_kept_directory(directory):
    """Where a stack lives that is to stay: in place of one that was stopped."""
    former = load(directory)
    if former is not None and former.is_running():
        raise QuickstartFailed(f"it runs already; stop it with: scripts/stack down --state {_shown(directory)}")
    if former is None and directory.exists() and not (directory / "cluster-token").exists():
        raise QuickstartFailed(f"{_shown(directory)} is there, and is not what a stack has left behind")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def take_down(directory):
    """Ends whatever runs there, and removes it."""
    with processes.uninterrupted(), step("Stopping all of it"):
        stack = load(directory)
        if stack is not None:
            operations.down(stack)
        shutil.rmtree(directory)


@contextlib.contextmanager
def step(name):
    """One line before, one after, with the time that it took."""
    console.print(f"==> {name}")
    begun = time.monotonic()
    yield
    console.print(f"    done in {time.monotonic() - begun:.1f} s")


def start_stack(directory):
    """Everything on free ports of 127.0.0.1."""
    with step("Starting a database, a scheduler, the API and two graders"):
        stack = operations.up(Wishes(directory=directory, graders=2))
    for member in stack.members:
        console.print(f"    {member.name:<12} pid {member.pid:<8} {member.url if member.kind != GRADER else ''}")
    return stack


def grade_sample(stack):
    """Submits and starts the sample and follows it: the run's id. Raises QuickstartFailed if it doesn't end well."""
    client = RunClient(stack.of_kind(API)[0].url)
    with step(f"Grading the sample of 200 students ({_shown(SAMPLE)})"):
        run_id = client.submit(SAMPLE.read_text(encoding="utf-8"))
        client.start(run_id)
        console.print(f"    run {run_id}")
        status = show_progress(watch(client.follow(run_id), stack), console)
    if not is_success(status):
        show_logs(stack)
        raise QuickstartFailed(f"the run {run_id} came to no good end: {describe(status)}")
    return run_id


def watch(statuses, stack):
    """Passes them on, as long as everyone is there to bring the run to its end."""
    for status in statuses:
        yield status
        for member in stack.members:
            if not member.is_alive():
                show_logs(stack)
                raise QuickstartFailed(f"{member.name} has exited in the middle of the run")


def show_outcome(stack, run_id):
    """The counts, and the first few results."""
    status = RunClient(stack.of_kind(API)[0].url).status(run_id, results=True)
    console.print(f"\nThe run has [bold green]{status['state']}[/bold green].\n")
    counts = Table("jobs", "count", title="Outcome")
    for name, count in status["progress"].items():
        counts.add_row(name, str(count))
    console.print(counts)
    results = Table("student", "outcome", "attempts", "what its grader reported", title="Three of the results")
    for job in status["student_statuses"][:RESULTS_SHOWN]:
        student = job["stages"][0]["env"]["NETID"]
        results.add_row(student, job["outcome"], str(job["attempts"]), json.dumps(job["result"]["output"]))
    console.print(results)


def show_how_to_go_on(stack, run_id):
    """For --keep: the commands that work now, here."""
    url = stack.of_kind(API)[0].url
    token_file = _shown(stack.directory / "cluster-token")
    console.print("\nIt goes on running. To talk to it:", markup=False)
    for text in (
        f'curl "{url}/api/v1/grading_run/{run_id}?students=false"',
        f'curl "{url}/api/v1/grading_run/{run_id}?results=true&limit=3"',
        f"scripts/start_run --url {url} --wait scripts/samples/minimal.json",
        f"scripts/grader --url {url} --token-file {token_file} --runner process      # one more grader",
        f"scripts/stack status --state {_shown(stack.directory)}",
    ):
        console.print(f"    {text}", markup=False)
    console.print(f"Its logs are {_shown(stack.directory)}/*.log. To stop all of it, graders and database too:")
    console.print(f"    scripts/stack down --state {_shown(stack.directory)}\n", markup=False)


def show_logs(stack):
    """What everyone said last, for whoever has to find out what went wrong."""
    for member in stack.members:
        console.print(f"the end of {member.name}.log:", markup=False)
        console.print(last_lines(member.log(stack.directory), 5), markup=False)


def _shown(path):
    """The path as one would type it in the project's directory."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main():
    """Runs the command. Whatever signal asks it to end, nothing is left behind."""
    processes.interrupt_on_signals()
    try:
        cli(prog_name="quickstart", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        click.echo("quickstart: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except (QuickstartFailed, operations.StackError, readiness.NotReady, RunRefused, ServerLost, OSError) as error:
        click.echo(f"quickstart: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
