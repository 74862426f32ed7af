"""`broadway grader`, `broadway cluster` and `broadway audit`: the commands for operators."""

import sys
from itertools import islice
from typing import Any

import click

from broadway.cli.explained import show_explained
from broadway.cli.outcome import FAILED, SUCCESS
from broadway.cli.output import Column, json_option, output_option, show_done, show_list, show_object
from broadway.cli.run import NOTE, TIMEOUT, say_paused, say_resumed
from broadway.cli.session import CLASSES, COURSE_NAME, RUN, Session, connected
from broadway.models import Grader

WORKER = click.argument("worker")


def _describe(grader: Grader) -> str:
    if not grader["alive"]:
        return "dead"
    if "paused" in grader:
        return "paused"
    if "fault" in grader:
        return "faulty"
    return "busy" if grader["busy"] else "waits"


GRADER_COLUMNS = [
    Column("Host", lambda grader: grader["hostname"]),
    Column("State", _describe),
    Column("Jobs", lambda grader: grader["jobs_processed"]),
    Column("Protocol", lambda grader: grader["protocol"]),
    Column("Tags", lambda grader: " ".join(grader.get("tags", []))),
    Column("Fault", lambda grader: grader.get("fault")),
    Column("Paused by", lambda grader: (grader.get("paused") or {}).get("by"), is_wide=True),
    Column("Note", lambda grader: (grader.get("paused") or {}).get("note"), is_wide=True),
]


@click.group()
def grader() -> None:
    """Graders: list them as a course, pause and drain them as the operator."""


@grader.command("list")
@output_option
@connected()
def list_graders(session: Session, output: str) -> None:
    """List all graders of the cluster, with the token of a course."""
    _ = session.course
    show_list(session.client.graders(), GRADER_COLUMNS, output)


@grader.command("status")
@WORKER
@output_option
@connected(course=False, token=False, operator=True)
def show_grader(session: Session, worker: str, output: str) -> None:
    """Show one grader, by its id."""
    found = session.operator.grader(worker)
    keys = ("id", "hostname", "state", "alive", "held", "jobs_processed", "protocol", "tags", "fault", "paused")
    pairs = {key: found.get(key) for key in keys}
    if "fault" in found and found["state"] == "active":
        pairs["state"] = "faulty"
    show_object(pairs, found, output)


@grader.command("explain")
@WORKER
@json_option
@connected(course=False, token=False, operator=True)
def explain_grader(session: Session, worker: str, as_json: bool) -> None:
    """Say why a grader gets no job, and what would change it."""
    show_explained(session.operator.explain_grader(worker), as_json)


@grader.command("pause")
@WORKER
@NOTE
@TIMEOUT
@json_option
@connected(course=False, token=False, operator=True)
def pause_grader(session: Session, worker: str, note: str | None, timeout: int | None, as_json: bool) -> None:
    """Give a grader no more jobs until it is resumed."""
    say_paused(worker, session.operator.pause_grader(worker, note, timeout), as_json)


@grader.command()
@WORKER
@NOTE
@json_option
@connected(course=False, token=False, operator=True)
def drain(session: Session, worker: str, note: str | None, as_json: bool) -> None:
    """Give a grader no more jobs: it is to end when its jobs are done."""
    pause = session.operator.pause_grader(worker, note, drain=True)
    sentence = f"draining: {worker}; broadway grader status says when it holds no job any more"
    show_done(sentence, {"draining": worker, "pause": pause}, as_json)


@grader.command("resume")
@WORKER
@json_option
@connected(course=False, token=False, operator=True)
def resume_grader(session: Session, worker: str, as_json: bool) -> None:
    """End the pauses of a grader."""
    say_resumed(worker, session.operator.resume_grader(worker), as_json)


RESERVATION = click.argument("name", type=COURSE_NAME)
RESERVATION_COLUMNS = [
    Column("Name", lambda reservation: reservation["name"]),
    Column("Tags", lambda reservation: " ".join(reservation["tags"])),
    Column("Courses", lambda reservation: "any" if (names := reservation["courses"]) is None else " ".join(names)),
    Column("Classes", lambda reservation: " ".join(reservation["classes"])),
    Column("By", lambda reservation: reservation["by"]),
    Column("Until", lambda reservation: reservation["until"]),
    Column("Note", lambda reservation: reservation["note"]),
    Column("Since", lambda reservation: reservation["at"], is_wide=True),
]


@grader.command()
@output_option
@connected(course=False, token=False, operator=True)
def reservations(session: Session, output: str) -> None:
    """List the reservations of graders."""
    found = session.operator.scheduling()["reservations"]
    show_list(found, RESERVATION_COLUMNS, output)
    if output == "table" and not found:
        click.echo("no grader is reserved", err=True)


@grader.command()
@RESERVATION
@click.option("--tag", "tags", multiple=True, required=True, help="A tag of the graders; repeat it: they have all.")
@click.option("--course", "courses", type=COURSE_NAME, multiple=True, help="For jobs of this course.  [any]")
@click.option("--class", "classes", type=CLASSES, multiple=True, help="For jobs of this class.  [any]")
@NOTE
@click.option("--timeout", type=click.IntRange(1), metavar="SECONDS", help="When the reservation ends by itself.")
@json_option
@connected(course=False, token=False, operator=True)
def reserve(
    session: Session,
    name: str,
    tags: tuple[str, ...],
    courses: tuple[str, ...],
    classes: tuple[str, ...],
    note: str | None,
    timeout: int | None,
    as_json: bool,
) -> None:
    """Reserve the graders with these tags for jobs of some courses and classes; running jobs go on.

    A reservation with the same NAME is replaced.
    """
    made = session.operator.reserve(name, list(tags), list(courses) or None, list(classes) or None, note, timeout)
    show_done(f"reserved: {name}", made, as_json)


@grader.command()
@RESERVATION
@json_option
@connected(course=False, token=False, operator=True)
def unreserve(session: Session, name: str, as_json: bool) -> None:
    """End a reservation of graders."""
    session.operator.unreserve(name)
    show_done(f"ended: {name}", {"ended": name}, as_json)


@click.group()
def cluster() -> None:
    """The cluster: what is paused in it, pause and resume all of it."""


PAUSE_COLUMNS = [
    Column("Paused", lambda pause: pause["kind"]),
    Column("Name", lambda pause: pause.get("name")),
    Column("By", lambda pause: pause["by"]),
    Column("Since", lambda pause: pause["at"]),
    Column("Until", lambda pause: pause["until"]),
    Column("Note", lambda pause: pause["note"]),
]


@cluster.command("status")
@output_option
@connected(course=False, token=False, operator=True)
def show_cluster(session: Session, output: str) -> None:
    """List the pauses in force.

    Exits with 1 if the whole cluster is paused.
    """
    pauses = list(session.operator.pauses())
    show_list(pauses, PAUSE_COLUMNS, output)
    if output == "table" and not pauses:
        click.echo("nothing is paused", err=True)
    sys.exit(FAILED if any(pause["kind"] == "cluster" for pause in pauses) else SUCCESS)


@cluster.command("pause")
@NOTE
@TIMEOUT
@json_option
@connected(course=False, token=False, operator=True)
def pause_cluster(session: Session, note: str | None, timeout: int | None, as_json: bool) -> None:
    """Hand out no more jobs at all until the cluster is resumed; running jobs go on."""
    say_paused("the cluster", session.operator.pause_cluster(note, timeout), as_json)


@cluster.command("resume")
@json_option
@connected(course=False, token=False, operator=True)
def resume_cluster(session: Session, as_json: bool) -> None:
    """End the pause of the cluster; other pauses stay."""
    say_resumed("the cluster", session.operator.resume_cluster(), as_json)


BARS = " ▁▂▃▄▅▆▇█"


def _bar(value: int, largest: int) -> str:
    """One character, as high as the value is among those of the column; blank only for 0."""
    return BARS[0 if value == 0 else 1 + (len(BARS) - 2) * value // max(largest, 1)]


def _total(point: dict[str, Any], key: str) -> int:
    return sum(load[key] for load in point["courses"]) + point.get("others", {}).get(key, 0)


def _results(point: dict[str, Any], outcome: str) -> int:
    loads = [*point["courses"], *([point["others"]] if "others" in point else [])]
    return sum(load["results"][outcome] for load in loads)


def _wait(point: dict[str, Any], quantile: str) -> str:
    seconds = point.get("waits", {}).get(quantile)
    return "" if seconds is None else f"{seconds:.3g} s"


def _history_columns(points: list[dict[str, Any]]) -> list[Column]:
    most = max((_total(point, "queued") for point in points), default=0)
    return [
        Column("Date", lambda point: point["date"][:19].replace("T", " ")),
        Column("Queued", lambda point: _total(point, "queued")),
        Column("", lambda point: _bar(_total(point, "queued"), most)),
        Column("Running", lambda point: _total(point, "running")),
        Column("Handed out", lambda point: _total(point, "handed_out")),
        Column("Succeeded", lambda point: _results(point, "succeeded")),
        Column("Failed", lambda point: _results(point, "failed")),
        Column("Wait p50", lambda point: _wait(point, "p50")),
        Column("p95", lambda point: _wait(point, "p95")),
        Column("Graders", lambda point: sum(point["graders"].values())),
        Column("Working", lambda point: point["graders"]["working"], is_wide=True),
        Column("Idle", lambda point: point["graders"]["idle"], is_wide=True),
        Column("Paused", lambda point: point["graders"]["paused"], is_wide=True),
        Column("Faulty", lambda point: point["graders"]["faulty"], is_wide=True),
    ]


@cluster.command()
@click.option("--from", metavar="DATE", help="The first date, such as 2026-09-01T23:00:00Z. Default: an hour before.")
@click.option("--to", metavar="DATE", help="The last date. Default: now.")
@click.option("--step", type=click.IntRange(10), help="Seconds between two rows, a multiple of 10.")
@output_option
@connected(operator=True)
def history(session: Session, output: str, **arguments: Any) -> None:
    """Show the load over time: what was queued, running, handed out and graded.

    In a course, or without one as the operator of the cluster. A time without a leading scheduler has no row.
    """
    client = session.operator if session.settings.course is None else session.client
    points = client.history(**{name: value for name, value in arguments.items() if value is not None})["points"]
    show_list(points, _history_columns(points), output)


AUDIT_COLUMNS = [
    Column("Date", lambda entry: entry.get("date")),
    Column("Action", lambda entry: entry.get("action")),
    Column("Who", lambda entry: (entry.get("actor") or {}).get("name") or (entry.get("actor") or {}).get("kind")),
    Column("Course", lambda entry: entry.get("course")),
    Column(
        "What",
        lambda entry: next((entry[key] for key in ("job", "run", "worker", "file", "reservation") if key in entry), ""),
    ),
    Column("Address", lambda entry: entry.get("address"), is_wide=True),
    Column("Token", lambda entry: (entry.get("actor") or {}).get("token"), is_wide=True),
    Column("Request", lambda entry: entry.get("request_id"), is_wide=True),
]


@click.command()
@click.option("--run", type=RUN, help="Only entries of this run and its jobs.")
@click.option("--actor", help="Only entries whose token has this name or fingerprint.")
@click.option("--action", help="Only entries of this action, such as run.cancel.")
@click.option("--since", metavar="DATE", help="Only entries of this moment or later, such as 2026-09-01T23:59:00Z.")
@click.option("--until", metavar="DATE", help="Only entries before this moment.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="The most entries to list.")
@output_option
@connected(operator=True)
def audit(session: Session, output: str, limit: int, **filters: Any) -> None:
    """List who did what, the newest first: in a course, or without one as the operator."""
    client = session.operator if session.settings.course is None else session.client
    show_list(islice(client.audit(limit=min(limit, 1000), **filters), limit), AUDIT_COLUMNS, output)
