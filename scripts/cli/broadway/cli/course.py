"""`broadway course` and `broadway config`: the commands for courses and the configs of their assignments."""

import difflib
import json
import sys
from pathlib import Path
from typing import Any

import click

from broadway.cli.estimate import of_all, show_estimate
from broadway.cli.files import read_object
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
)
from broadway.cli.profiles import load_profiles
from broadway.cli.run import NOTE, TIMEOUT, say_paused, say_resumed
from broadway.cli.session import COURSE_NAME, FILE, JOB, Session, connected
from broadway.models import Share
from broadway.plan import config_problems

ASSIGNMENT = click.argument("assignment", type=COURSE_NAME)
CONFIG = click.argument("config", type=FILE)
# Members that the server's answer has as null where the config has none.
ABSENT = ("pre_processing_pipeline", "post_processing_pipeline", "env")


@click.group()
def course() -> None:
    """Courses: those of your profiles, their queues and pauses."""


@course.command("list")
@output_option
def list_courses(output: str) -> None:
    """List the courses of your profiles, without asking a server."""
    profiles, default = load_profiles()
    rows = [
        {"course": settings.course, "profile": name, "servers": list(settings.servers), "default": name == default}
        for name, settings in sorted(profiles.items())
        if settings.course is not None
    ]
    columns = [
        Column("Course", lambda row: row["course"]),
        Column("Profile", lambda row: row["profile"]),
        Column("Servers", lambda row: " ".join(row["servers"])),
        Column("Default", lambda row: row["default"]),
    ]
    show_list(rows, columns, output)


@course.command()
@click.option("--job", type=JOB, help="Show the place of this job in place of the length.")
@output_option
@connected()
def queue(session: Session, job: str | None, output: str) -> None:
    """Show how many jobs of the course wait."""
    name = session.course
    if job is None:
        answer: dict[str, Any] = {"course": name, "waiting": session.client.queue_length()}
    else:
        answer = {"course": name, "job": job, "position": session.client.queue_position(job)}
    show_object(answer, answer, output)


OF_ASSIGNMENT = click.option("--assignment", type=COURSE_NAME, help="Only the runs of this assignment.")


@course.command()
@json_option
@connected()
def estimate(session: Session, as_json: bool) -> None:
    """Say when all jobs of the course that wait now will be done."""
    found = session.client.estimate_course()
    show_estimate(found, of_all(found), as_json)


@course.command()
@OF_ASSIGNMENT
@NOTE
@TIMEOUT
@json_option
@connected()
def pause(session: Session, assignment: str | None, note: str | None, timeout: int | None, as_json: bool) -> None:
    """Hand out no more jobs of the course, or of an assignment, until it is resumed; running jobs go on."""
    name = session.course
    if assignment is None:
        pause = session.client.pause_course(note, timeout)
    else:
        pause = session.client.pause_assignment(assignment, note, timeout)
    say_paused(assignment or name, pause, as_json)


@course.command()
@OF_ASSIGNMENT
@json_option
@connected()
def resume(session: Session, assignment: str | None, as_json: bool) -> None:
    """End the pause of the course, or of an assignment; other pauses stay."""
    name = session.course
    if assignment is None:
        say_resumed(name, session.client.resume_course(), as_json)
    else:
        say_resumed(assignment, session.client.resume_assignment(assignment), as_json)


SHARE_COLUMNS = [
    Column("Course", lambda share: share["course"]),
    Column("Weight", lambda share: share["weight"]),
    Column("Max running", lambda share: share["max_running"] or "no limit"),
    Column("Classes", lambda share: " ".join(share["classes"])),
    Column("By", lambda share: share["by"] or "course file"),
    Column("Since", lambda share: share["at"], is_wide=True),
]


@course.command()
@click.argument("course", type=COURSE_NAME)
@click.option("--weight", type=click.IntRange(1, 10_000), help="200: twice the time of a course with 100.")
@click.option("--max-running", type=click.IntRange(0, 100_000), help="How many jobs run at once; 0: no limit.")
@click.option("--reset", is_flag=True, help="Return to the share of the course file.")
@output_option
@connected(course=False, operator=True)
def share(session: Session, weight: int | None, max_running: int | None, reset: bool, output: str) -> None:
    """Show or set the share of a course.

    To set it needs the cluster token; what is not given is that of the course file. To show it, a token of the course
    is enough.
    """
    name = session.course
    is_set = weight is not None or max_running is not None
    if reset and is_set:
        raise Problem("--reset returns to the course file: leave out --weight and --max-running")
    if reset:
        found = session.operator.reset_share(name)
    elif is_set:
        found = session.operator.set_share(name, weight, max_running)
    elif session.settings.cluster_token.read() is None:
        found = session.client.share()
    else:
        found = _share_of(session, name)
    pairs = {column.title.lower(): column.value(found) for column in SHARE_COLUMNS}
    show_object(pairs, found, output)


def _share_of(session: Session, name: str) -> Share:
    for share in session.operator.scheduling()["courses"]:
        if share["course"] == name:
            return share
    raise Problem(f"there is no course {name!r}")


@course.command()
@output_option
@connected(course=False, token=False, operator=True)
def weights(session: Session, output: str) -> None:
    """List the shares of all courses."""
    show_list(session.operator.scheduling()["courses"], SHARE_COLUMNS, output)


@click.group()
def config() -> None:
    """Configs of a course's assignments: read, compare, check and store them."""


@config.command()
@ASSIGNMENT
@connected()
def get(session: Session, assignment: str) -> None:
    """Print the config of an assignment as JSON."""
    _ = session.course
    show_json(session.client.config(assignment))


@config.command("set")
@ASSIGNMENT
@CONFIG
@json_option
@connected()
def store(session: Session, assignment: str, config: Path, as_json: bool) -> None:
    """Store a JSON file as the config of an assignment."""
    _ = session.course
    document = _checked(config)
    session.client.set_config(assignment, document)
    show_done(f"stored: {config} is the config of {assignment}", {"stored": assignment}, as_json)


@config.command()
@ASSIGNMENT
@CONFIG
@connected()
def diff(session: Session, assignment: str, config: Path) -> None:
    """Compare the stored config with a JSON file.

    Exits with 1 if they differ.
    """
    _ = session.course
    document = read_object(config)
    stored, local = (_lines(each) for each in (session.client.config(assignment), document))
    lines = list(difflib.unified_diff(stored, local, f"stored config of {assignment}", str(config), lineterm=""))
    for line in lines:
        click.echo(safe(line))
    sys.exit(FAILED if lines else SUCCESS)


@config.command()
@CONFIG
def validate(config: Path) -> None:
    """Check a JSON file as the config of an assignment, without a server."""
    _checked(config)
    click.echo(f"{config}: is a config")


def _checked(path: Path) -> dict[str, Any]:
    document = read_object(path)
    problems = config_problems(document)
    for problem in problems[:-1]:
        click.echo(f"{path}: {safe(problem)}", err=True)
    if problems:
        raise Problem(f"{path}: {safe(problems[-1])}")
    return document


def _lines(config: dict[str, Any]) -> list[str]:
    """The config in one form: keys in order, nothing that is absent."""
    present = {key: value for key, value in config.items() if key not in ABSENT or value}
    return json.dumps(present, ensure_ascii=False, indent=2, sort_keys=True).split("\n")
