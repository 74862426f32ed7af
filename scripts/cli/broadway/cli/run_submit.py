"""`broadway run plan` and `broadway run submit`."""

import contextlib
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from broadway.cli.files import read_object, read_roster
from broadway.cli.outcome import DETACHED, FAILED, SUCCESS, Problem
from broadway.cli.output import Column, json_option, output_option, safe, show_json, show_list, student_name
from broadway.cli.progress import show_progress
from broadway.cli.session import CLASSES, COURSE_NAME, FILE, FOLLOW_S, Session, connected
from broadway.cli.sources import Submission, from_assignment, from_files, from_gradescope
from broadway.client import Client
from broadway.gradescope import IMAGE, MEMORY, TIMEOUT_S, Settings
from broadway.models import RunCreated, RunStatus
from broadway.plan import Plan, PlannedJob, plan_config, plan_run

ROSTER = click.option(
    "--students", "roster", type=FILE, help="A CSV file with a student in each row; each column is a variable."
)


@click.command()
@click.argument("definition", type=FILE)
@ROSTER
@click.option("--config", "is_config", is_flag=True, help="DEFINITION is the config of a course's assignment.")
@output_option
def plan(definition: Path, roster: Path | None, is_config: bool, output: str) -> None:
    """Show what a run would be, without a server: every job with its expanded environment.

    DEFINITION is what would be submitted. Names that can't be resolved, and other mistakes, are listed one by one;
    then the exit code is 2. Values that secret_env names are shown as ***.
    """
    planned = _plan(definition, roster, is_config)
    for problem in planned.problems:
        click.echo(f"{definition}: {safe(problem)}", err=True)
    if output == "table":
        _show_summary(planned)
    columns = [
        Column("Job", lambda job: job.kind if job.student is None else f"student {job.student}"),
        Column("Student", lambda job: student_name(job.env)),
        Column("Bytes", lambda job: job.size),
        Column("Environment", _shown_env),
    ]
    show_list([_described(job) for job in planned.jobs] if output == "json" else planned.jobs, columns, output)
    if planned.problems:
        many = f"{len(planned.problems)} mistakes" if len(planned.problems) > 1 else "a mistake"
        raise Problem(f"{definition} has {many}: the server would refuse the run")


def _plan(definition: Path, roster: Path | None, is_config: bool) -> Plan:
    if is_config:
        return plan_config(read_object(definition), [] if roster is None else read_roster(roster))
    return plan_run(from_files(definition, roster).body)


def _shown_env(job: PlannedJob) -> dict[str, Any] | list[dict[str, Any]]:
    envs = [stage.shown_env() for stage in job.stages]
    return envs[0] if envs and all(env == envs[0] for env in envs) else envs


def _described(job: PlannedJob) -> dict[str, Any]:
    stages = [
        {"image": stage.image, "entrypoint": stage.entrypoint, "env": stage.shown_env(), "limits": stage.limits}
        for stage in job.stages
    ]
    return {"kind": job.kind, "student": job.student, "bytes": job.size, "stages": stages}


def _show_summary(planned: Plan) -> None:
    jobs = planned.jobs
    click.echo(f"{len(jobs)} jobs, {sum(job.size for job in jobs)} bytes, {max((job.size for job in jobs), default=0)} "
               "bytes the largest")  # fmt: skip
    shown: dict[str, str] = {}
    for job in jobs:
        for stage in job.stages:
            limits = ", ".join(f"{name} {value}" for name, value in stage.limits.items())
            shown[stage.place] = f"{stage.place}: {stage.image}; {limits or 'no limits of its own'}"
    for line in shown.values():
        click.echo(safe(line))
    if jobs:
        click.echo(_shown_bound(planned))


def _shown_bound(planned: Plan) -> str:
    """The most time that the graders need for the run, if all stages have a limit."""
    bound = planned.most_seconds
    if bound is None:
        return "no upper bound of the time: a stage has no timeout"
    time = f"{bound / 3600:.1f} hours" if bound >= 3600 else f"{bound:g} seconds"
    return f"at most {time} of graders, if each stage takes its timeout"


def autograder_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a run whose autograder was written for Gradescope."""
    for option in reversed(
        (
            click.option("--gradescope", type=FILE, help="The zip file of a Gradescope autograder, not a DEFINITION."),
            click.option(
                "--submissions",
                type=click.Path(path_type=Path, file_okay=False),
                help="With --gradescope: a directory with a submission per entry (a directory, an archive or a file), "
                "named like the student.",
            ),
            click.option("--image", default=IMAGE, help="With --gradescope: the image.", show_default=True),
            click.option("--skip-setup", is_flag=True, help="With --gradescope: the image has run setup.sh already."),
            click.option(
                "--networking/--no-networking",
                default=None,
                help="With --gradescope: whether the job has a network; by default, if setup.sh runs.",
            ),
            click.option("--memory", default=MEMORY, help="With --gradescope: a limit.", show_default=True),
            click.option(
                "--timeout",
                "timeout_s",
                type=click.FloatRange(min=0, min_open=True),
                default=TIMEOUT_S,
                help="With --gradescope: the limit of a job in seconds.",
                show_default=True,
            ),
        )
    ):
        command = option(command)
    return command


@click.command()
@click.argument("definition", type=FILE, required=False)
@ROSTER
@autograder_options
@click.option("--assignment", type=COURSE_NAME, help="With a course: the assignment whose config is used.")
@click.option("--class", "run_class", type=CLASSES, help="Which jobs go first: those of an exam before all others.")
@click.option("--requires", "tags", multiple=True, metavar="TAG", help="A tag that graders must have; repeat it.")
@click.option("--submitter", help="For whom the run is, such as a student or a team.")
@click.option("--wait", is_flag=True, help="Follow the run to its end, and exit with 1 if a job failed.")
@json_option
@connected()
def submit(
    session: Session,
    definition: Path | None,
    roster: Path | None,
    assignment: str | None,
    run_class: str | None,
    tags: tuple[str, ...],
    submitter: str | None,
    wait: bool,
    as_json: bool,
    **autograder: Any,
) -> None:
    """Submit a run, start it and print its id.

    Without a course, DEFINITION is the run, as docs/protocol.md describes it. With --course, it is the body of the
    run, or missing if --students has all that it would say. --class, --requires and --submitter replace those of
    DEFINITION.
    """
    with tempfile.TemporaryDirectory(prefix="broadway-") as directory:
        course = session.settings.course
        submission = _read_submission(course, definition, roster, assignment, autograder, Path(directory))
        stated = {"class": run_class, "requires": list(tags) or None, "submitter": submitter}
        submission.body.update({name: value for name, value in stated.items() if value is not None})
        created = _send(session.client, submission)
    _follow_if(session.client, created, wait, as_json)


def carry_out(client: Client, submission: Submission, wait: bool) -> None:
    """Submits, starts and, if asked, follows a run; exits with its outcome."""
    _follow_if(client, _send(client, submission), wait, as_json=False)


def _follow_if(client: Client, created: dict[str, Any], wait: bool, as_json: bool) -> None:
    run = created["id"]
    if as_json:
        show_json(created)
    else:
        click.echo(run)
        _show_webhooks(created)
    sys.stdout.flush()
    console = Console(stderr=True)
    if not wait:
        console.print("started", highlight=False)
        return
    client.retry_for = max(client.retry_for, FOLLOW_S)
    sys.exit(follow(client, run, console))


def _read_submission(
    course: str | None,
    definition: Path | None,
    roster: Path | None,
    assignment: str | None,
    autograder: dict[str, Any],
    directory: Path,
) -> Submission:
    if autograder["gradescope"] is not None:
        if (definition, roster) != (None, None):
            raise Problem("--gradescope makes a run of its own: leave out DEFINITION and --students")
        _check_assignment(course, assignment)
        return _read_autograder(directory, assignment, **autograder)
    if autograder["submissions"] is not None:
        raise Problem("--submissions needs --gradescope")
    _check_assignment(course, assignment)
    return from_files(definition, roster) if assignment is None else from_assignment(assignment, definition, roster)


def _check_assignment(course: str | None, assignment: str | None) -> None:
    if course is not None and assignment is None:
        raise Problem("a run of a course needs --assignment")
    if course is None and assignment is not None:
        raise Problem("--assignment needs a course: give it by --course, BROADWAY_COURSE or a profile")


def _read_autograder(
    directory: Path,
    assignment: str | None,
    gradescope: Path,
    submissions: Path | None,
    skip_setup: bool,
    **settings: Any,
) -> Submission:
    chosen = Settings(has_setup=not skip_setup, title=gradescope.stem, **settings)
    return from_gradescope(gradescope, submissions, directory, chosen, assignment)


def _send(client: Client, submission: Submission) -> RunCreated:
    """Stores the files of a run and the config of its assignment, submits the run and starts it."""
    for note in submission.notes:
        click.echo(f"note: {note}", err=True)
    for path in submission.files:
        client.store_file(path)
    if submission.config is not None and submission.assignment is not None:
        client.set_config(submission.assignment, submission.config)
    created = client.create(submission.body, submission.assignment)
    if not client.protocol.starts_at_once:
        client.start(created["id"])
    return created


def _show_webhooks(created: RunCreated) -> None:
    """Says the ids and secrets of the run's webhooks: no later answer has the secrets."""
    for webhook in created.get("webhooks", []):
        click.echo(safe(f"webhook {webhook['id']}: its secret is {webhook.get('secret')}"), err=True)


def follow(client: Client, run: str, console: Console) -> int:
    """Shows the progress of a run to its end; returns the exit code. Ctrl-C detaches, or cancels the run if the user
    chooses that, and then goes on to its end."""
    with _interruptible():
        while True:
            try:
                status = show_progress(_said_again(client, run, console), console)
                return SUCCESS if status.is_success else FAILED
            except KeyboardInterrupt:
                if not _offer_to_cancel(client, run):
                    return DETACHED


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """While it is open, SIGINT interrupts, also in a program that a shell has started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _said_again(client: Client, run: str, console: Console) -> Iterator[RunStatus]:
    client.on_retry = lambda why: console.print(f"waiting: {why}", highlight=False, markup=False, soft_wrap=True)
    return client.follow(run)


def _offer_to_cancel(client: Client, run: str) -> bool:
    """Whether the run was cancelled; else the user has detached."""
    try:
        if sys.stdin.isatty() and sys.stderr.isatty():
            question = "\nCancel the run, or detach and let it go on? [c/D]"
            if click.prompt(question, default="d", show_default=False, err=True).strip().lower().startswith("c"):
                client.cancel(run)
                return True
    except (KeyboardInterrupt, click.Abort):
        pass
    click.echo(f"detached: the run goes on; follow it with: broadway run watch {run}", err=True)
    return False
