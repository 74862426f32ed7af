"""The part of scripts/quickstart after the installation: builds, starts a stack with two graders, grades
the sample of 200 students, and shows the results; then stops the stack, unless --keep is given."""

import contextlib
import itertools
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
from broadway import BroadwayError, Client
from broadway.cli.progress import describe, show_progress
from rich.console import Console
from rich.table import Table

from broadway_tools import processes
from broadway_tools.files import BUILD, ROOT, SCRIPTS, last_lines
from broadway_tools.stack import operations, readiness
from broadway_tools.stack.plan import Wishes
from broadway_tools.stack.record import API, GRADER, load

SAMPLE = SCRIPTS / "samples" / "course-200.json"
KEPT = BUILD / "quickstart"
RESULTS_SHOWN = 3
INTERRUPTED = 130


class QuickstartFailed(Exception):
    """The quick start failed; the text has the reason."""


class PipeSafeConsole(Console):
    """After its reader has closed the pipe, the console prints nothing more, and the work continues."""

    def on_broken_pipe(self):
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


console = PipeSafeConsole(width=None if sys.stdout.isatty() else 110, highlight=False, soft_wrap=True)


@click.command()
@click.option("--keep", is_flag=True, help="Leave the stack running.")
@click.option("--state", type=click.Path(path_type=Path), default=KEPT, help="Directory of a stack with --keep.")
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
        console.print("Everything was removed. To keep the stack running: [bold]./scripts/quickstart --keep[/bold]")
    console.print("Next, read README.md, docs/protocol.md, docs/architecture.md, scripts/samples/README.md")


def build():
    """Builds the binaries. If this is interrupted, the build is stopped too."""
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
        raise QuickstartFailed("scripts/build failed; its last lines above have the reason")


def make_directory():
    """A directory for a stack that is removed at the end."""
    return Path(tempfile.mkdtemp(prefix="broadway-quickstart-"))


def make_kept_directory(directory):
    """The directory for a stack that is kept; it replaces a stopped stack."""
    former = load(directory)
    if former is not None and former.is_running():
        raise QuickstartFailed(f"the stack runs already; stop it with: scripts/stack down --state {_shown(directory)}")
    if former is None and directory.exists() and not (directory / "cluster-token").exists():
        raise QuickstartFailed(f"{_shown(directory)} exists and is not the directory of a stack")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def take_down(directory):
    """Stops the stack in the directory, and removes the directory."""
    with processes.uninterrupted(), step("Stopping the stack"):
        stack = load(directory)
        if stack is not None:
            operations.down(stack)
        shutil.rmtree(directory)


@contextlib.contextmanager
def step(name):
    """Prints a line before and a line after, with the duration."""
    console.print(f"==> {name}")
    begun = time.monotonic()
    yield
    console.print(f"    done in {time.monotonic() - begun:.1f} s")


def start_stack(directory):
    """Starts all processes on free ports of 127.0.0.1."""
    with step("Starting a database, a scheduler, the API and two graders"):
        stack = operations.up(Wishes(directory=directory, graders=2))
    for member in stack.members:
        console.print(f"    {member.name:<12} pid {member.pid:<8} {member.url if member.kind != GRADER else ''}")
    return stack


def grade_sample(stack):
    """Submits, starts and follows the sample. Returns the run's id; raises QuickstartFailed if a job failed."""
    client = Client(stack.of_kind(API)[0].url)
    with step(f"Grading the sample of 200 students ({_shown(SAMPLE)})"):
        run_id = client.submit(json.loads(SAMPLE.read_text(encoding="utf-8")))
        client.start(run_id)
        console.print(f"    run {run_id}")
        status = show_progress(watch(client.follow(run_id), stack), console)
    if not status.is_success:
        show_logs(stack)
        raise QuickstartFailed(f"the run {run_id} did not succeed: {describe(status)}")
    return run_id


def watch(statuses, stack):
    """Yields the statuses; raises QuickstartFailed if a process of the stack has exited."""
    for status in statuses:
        yield status
        for member in stack.members:
            if not member.is_alive():
                show_logs(stack)
                raise QuickstartFailed(f"{member.name} has exited during the run")


def show_outcome(stack, run_id):
    """Prints the counts, and the first few results."""
    client = Client(stack.of_kind(API)[0].url)
    status = client.status(run_id)
    console.print(f"\nThe run has [bold green]{status.state}[/bold green].\n")
    counts = Table("jobs", "count", title="Outcome")
    for name, count in status.progress.items():
        counts.add_row(name, str(count))
    console.print(counts)
    results = Table("student", "outcome", "attempts", "reported result", title="Three of the results")
    students = (job for job in client.jobs(run_id, limit=RESULTS_SHOWN + 1) if job["kind"] == "student")
    for job in itertools.islice(students, RESULTS_SHOWN):
        output = client.job(job["job_id"])["result"]["output"]
        results.add_row(job["student"]["env"]["NETID"], job["outcome"], str(job["attempts"]), json.dumps(output))
    console.print(results)


def show_how_to_go_on(stack, run_id):
    """For --keep: prints commands to use the running stack."""
    url = stack.of_kind(API)[0].url
    token_file = _shown(stack.directory / "cluster-token")
    console.print("\nThe stack is still running. To use it:", markup=False)
    for text in (
        f'curl "{url}/api/v1/grading_run/{run_id}?students=false"',
        f'curl "{url}/api/v1/grading_run/{run_id}?results=true&limit=3"',
        f"scripts/start_run --url {url} --wait scripts/samples/minimal.json",
        f"scripts/grader --url {url} --token-file {token_file} --runner process      # one more grader",
        f"scripts/stack status --state {_shown(stack.directory)}",
    ):
        console.print(f"    {text}", markup=False)
    console.print(f"Its logs are {_shown(stack.directory)}/*.log. To stop all of its processes:")
    console.print(f"    scripts/stack down --state {_shown(stack.directory)}\n", markup=False)


def show_logs(stack):
    """Prints the last lines of all logs, for diagnosis."""
    for member in stack.members:
        console.print(f"the end of {member.name}.log:", markup=False)
        console.print(last_lines(member.log(stack.directory), 5), markup=False)


def _shown(path):
    """The path relative to the project's directory, if it is inside."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main():
    """Runs the command. A terminating signal leaves nothing running."""
    processes.interrupt_on_signals()
    try:
        cli(prog_name="quickstart", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        click.echo("quickstart: interrupted", err=True)
        sys.exit(INTERRUPTED)
    except (QuickstartFailed, operations.StackError, readiness.NotReady, BroadwayError, OSError) as error:
        click.echo(f"quickstart: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
