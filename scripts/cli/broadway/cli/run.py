"""`broadway run`: the commands for a run that was submitted."""

import re
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import click

from broadway.cli.estimate import of_all, show_estimate
from broadway.cli.explained import show_explained
from broadway.cli.files import write_bytes
from broadway.cli.outcome import FAILED, SUCCESS, Problem
from broadway.cli.output import (
    Column,
    json_option,
    output_option,
    safe,
    show_done,
    show_json,
    show_list,
    show_object,
    student_name,
)
from broadway.cli.progress import held_back
from broadway.cli.run_submit import plan, submit
from broadway.cli.run_watch import watch
from broadway.cli.session import CLASSES, COURSE_NAME, RUN, Session, connected
from broadway.client import Client
from broadway.models import Job, Pause

OUTCOMES = click.Choice(["succeeded", "failed", "cancelled", "superseded"])
STREAMS = ("stdout", "stderr")


@click.group()
def run() -> None:
    """Runs: plan, submit, follow, cancel and read them."""


for _command in (plan, submit, watch):
    run.add_command(_command)


def run_command(function: Callable[..., Any]) -> click.Command:
    """A command of `broadway run` about one run."""
    return run.command()(click.argument("run", type=RUN)(connected()(function)))


def who(job: Job) -> str:
    """The student of a job, or its kind."""
    student = job.get("student")
    return job["kind"] if student is None else student_name(student["env"]) or f"student {student['index']}"


JOB_COLUMNS = [
    Column("Job", lambda job: job["job_id"]),
    Column("Who", who),
    Column("State", lambda job: job["outcome"] or job["state"].lower()),
    Column("Attempts", lambda job: job.get("attempts")),
    Column("Score", lambda job: job.get("score")),
    Column("Max score", lambda job: job.get("max_score")),
    Column("Owner", lambda job: job.get("owner")),
    Column("Started", lambda job: job["started_at"], is_wide=True),
    Column("Ended", lambda job: job["ended_at"], is_wide=True),
    Column("Signature", lambda job: job.get("signature"), is_wide=True),
    Column("Env", lambda job: job.get("student", {}).get("env"), is_wide=True),
]


@run.command()
@click.argument("run", type=RUN)
@click.option("--jobs", "with_jobs", is_flag=True, help="List the jobs in place of the run.")
@click.option("--outcome", type=OUTCOMES, help="With --jobs: only those.")
@output_option
@connected()
def status(session: Session, run: str, with_jobs: bool, outcome: str | None, output: str) -> None:
    """Show a run, or its jobs.

    Exits with 1 if the run is over and a job of it has failed.
    """
    if with_jobs:
        show_list(session.client.jobs(run, outcome=outcome, limit=1000), JOB_COLUMNS, output)
        return
    if outcome is not None:
        raise Problem("--outcome needs --jobs")
    found = session.client.status(run)
    pairs = {"run": run, "name": found.answer.get("name"), "state": found.state, "held back": held_back(found) or None}
    pairs |= {key: found.answer.get(key) for key in ("class", "submitter")}
    pairs |= {"requires": " ".join(found.answer.get("requires", [])) or None}
    pairs |= found.progress
    pairs |= {"created": found.created_at, "started": found.started_at, "finished": found.finished_at}
    pairs |= {key: found.answer.get(key) for key in ("rerun_of", "reruns")}
    show_object(pairs, found.answer, output)
    sys.exit(FAILED if found.is_over and not found.is_success else SUCCESS)


@run_command
@json_option
def explain(session: Session, run: str, as_json: bool) -> None:
    """Say why a run waits, and what would change it."""
    show_explained(session.client.explain(run), as_json)


@run_command
@json_option
def estimate(session: Session, run: str, as_json: bool) -> None:
    """Say when a run will be over, by how long such jobs took, and what more graders would change."""
    found = session.client.estimate(run)
    show_estimate(found, of_all(found), as_json)


@run_command
@json_option
def cancel(session: Session, run: str, as_json: bool) -> None:
    """Cancel the jobs of a run that have no result yet."""
    session.client.cancel(run)
    show_done(f"cancelled: {run}", {"cancelled": run}, as_json)


NOTE = click.option("--note", help="Why, for people.")
TIMEOUT = click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="When the pause ends by itself.")


@run.command()
@click.argument("run", type=RUN)
@NOTE
@TIMEOUT
@json_option
@connected()
def pause(session: Session, run: str, note: str | None, timeout: int | None, as_json: bool) -> None:
    """Hand out no more jobs of a run until it is resumed; running jobs go on."""
    say_paused(run, session.client.pause(run, note, timeout), as_json)


@run_command
@json_option
def resume(session: Session, run: str, as_json: bool) -> None:
    """End the pause of a run."""
    say_resumed(run, session.client.resume(run), as_json)


def say_paused(what: str, pause: Pause | None, as_json: bool) -> None:
    """Says that something was paused."""
    show_done(f"paused: {what}", {"paused": what, "pause": pause}, as_json)


def say_resumed(what: str, held: Pause | None, as_json: bool) -> None:
    """Says that something was resumed, and what still holds it."""
    still = f", but the pause of its {held['kind']} (by {held['by']}) still holds it" if held else ""
    show_done(f"resumed: {what}{still}", {"resumed": what, "held": held}, as_json)


@run.command("list")
@click.option("--state", metavar="STATE", help="Only runs in this state, such as students or finished.")
@click.option("--name", help="Only runs of this name.")
@click.option("--label", metavar="KEY=VALUE", help="Only runs with this label.")
@click.option("--assignment", type=COURSE_NAME, help="With a course: only runs of this assignment.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The most runs to list.")
@output_option
@connected()
def list_runs(session: Session, output: str, limit: int, **filters: Any) -> None:
    """List runs, the newest first: those of a course, or those without one."""
    if filters["assignment"] is not None:
        _ = session.course
    show_list(islice(session.client.runs(limit=min(limit, 1000), **filters), limit), RUN_COLUMNS, output)


RUN_COLUMNS = [
    Column("Run", lambda run: run["id"]),
    Column("Name", lambda run: run.get("name")),
    Column("Assignment", lambda run: run.get("assignment")),
    Column("State", lambda run: run["state"]),
    Column("Jobs", lambda run: run["progress"].get("total")),
    Column("Succeeded", lambda run: run["progress"].get("succeeded")),
    Column("Failed", lambda run: run["progress"].get("failed")),
    Column("Created", lambda run: run["created_at"]),
    Column("Started", lambda run: run["started_at"], is_wide=True),
    Column("Finished", lambda run: run["finished_at"], is_wide=True),
    Column("Labels", lambda run: run.get("labels"), is_wide=True),
    Column("Class", lambda run: run.get("class", "normal"), is_wide=True),
    Column("Requires", lambda run: " ".join(run.get("requires", [])), is_wide=True),
    Column("Submitter", lambda run: run.get("submitter"), is_wide=True),
    Column("Rerun of", lambda run: run.get("rerun_of"), is_wide=True),
]


@run.command()
@click.argument("run", type=RUN, required=False)
@click.option("--assignment", type=COURSE_NAME, help="In place of RUN: all runs of this assignment of the course.")
@click.option("--merge", is_flag=True, help="Of each student the newest result that counts, of the run and its reruns.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "csv", "json", "ndjson"]), default="table", show_default=True
)
@connected()
def results(session: Session, run: str | None, assignment: str | None, merge: bool, output: str) -> None:
    """Print the result of each student of a run, or of all runs of an assignment.

    csv has a column for each variable of the students; json and ndjson have what the graders sent.
    """
    if (run is None) == (assignment is None):
        raise Problem("give the id of a run, or --assignment and a course")
    client = session.client
    if assignment is not None:
        _ = session.course
    if output not in ("csv", "ndjson"):
        rows = client.results(run, merge) if run is not None else client.results_of(assignment, merge)
        show_list(rows, RESULT_COLUMNS, output)
        return
    requests = client.protocol.results if run is not None else client.of_course.results_of
    for chunk in client.stream(requests(run or assignment, output, merge)):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


RESULT_COLUMNS = [
    Column("Student", lambda row: who({"kind": "student", **row})),
    Column("Outcome", lambda row: row["outcome"]),
    Column("Score", lambda row: row.get("score")),
    Column("Max score", lambda row: row.get("max_score")),
    Column("Attempts", lambda row: row["attempts"]),
    Column("Owner", lambda row: row.get("owner")),
    Column("Reason", lambda row: row.get("reason")),
    Column("Job", lambda row: row["job_id"], is_wide=True),
    Column("Result", lambda row: row.get("result"), is_wide=True),
]


@run.command()
@click.argument("run", type=RUN)
@click.option("--select", type=click.Choice(["all", "failed", "cancelled"]), help="Students whose jobs ended so.")
@click.option("--signature", metavar="HEX", help="Students whose jobs failed with this signature.")
@click.option("--student", "students", type=click.IntRange(0), multiple=True, help="A student by place, from 0.")
@click.option("--priority", type=click.IntRange(-100, 100), help="Of the new run.  [10 below the earlier one's]")
@click.option("--class", "run_class", type=CLASSES, help="Of the new run.  [that of the earlier one]")
@json_option
@connected()
def rerun(
    session: Session, run: str, students: tuple[int, ...], run_class: str | None, as_json: bool, **given: Any
) -> None:
    """Grade students of a run again, in a new run whose id is printed."""
    selection = {**given, "students": list(students) or None, "class": run_class}
    chosen = {name: value for name, value in selection.items() if value is not None}
    if len(chosen.keys() - {"priority", "class"}) != 1:
        raise Problem("say who is graded again: by exactly one of --select, --signature and --student")
    again = session.client.rerun(run, **chosen)
    if as_json:
        show_json({"id": again})
    else:
        click.echo(again)


@run.command()
@click.argument("run", type=RUN)
@click.option("--outcome", type=OUTCOMES, help="Only jobs that ended so.")
@click.option("--tail", type=click.IntRange(1, 100_000), default=20, show_default=True, help="Lines of each stream.")
@click.option("--dir", "directory", type=click.Path(path_type=Path, file_okay=False), help="Write whole logs there.")
@connected()
def logs(session: Session, run: str, outcome: str | None, tail: int, directory: Path | None) -> None:
    """Print the end of each job's log, or write all logs into a directory, two files a job."""
    for job in session.client.jobs(run, outcome=outcome, limit=1000):
        if directory is None:
            click.echo(safe(f"== {who(job)}  {job['job_id']}  {job['outcome'] or job['state'].lower()}"))
        for stream in STREAMS:
            if directory is None:
                print_log(session.client.log(job["job_id"], stream, tail)["text"])
            else:
                _write_log(session.client, job, stream, directory)


def print_log(text: str) -> None:
    """Prints text of a log. A terminal gets nothing that could control it."""
    if sys.stdout.isatty():
        text = "\n".join(safe(line.replace("\t", "    ")) for line in text.split("\n"))
    click.echo(text.encode("utf-8", "surrogateescape"), nl=bool(text) and not text.endswith("\n"))


def _write_log(client: Client, job: Job, stream: str, directory: Path) -> None:
    name = re.sub(r"[^-A-Za-z0-9_.=]", "_", who(job))[:80]
    text = client.log(job["job_id"], stream)["text"]
    write_bytes(directory / f"{job['job_id']}-{name}.{stream}", text.encode("utf-8", "replace"))
