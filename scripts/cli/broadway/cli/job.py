"""`broadway job`: the commands for one job."""

import click

from broadway.cli.estimate import of_job, show_estimate
from broadway.cli.explained import show_explained
from broadway.cli.outcome import Problem
from broadway.cli.output import json_option, output_option, show_done, show_object
from broadway.cli.run import STREAMS, print_log, who
from broadway.cli.session import FOLLOW_S, JOB, Session, connected


@click.group()
def job() -> None:
    """Jobs: show one, say why it waits, estimate its end, read its log, cancel it."""


@job.command()
@click.argument("job", type=JOB)
@output_option
@connected()
def show(session: Session, job: str, output: str) -> None:
    """Show all that is known of a job."""
    found = session.client.job(job)
    pairs = {"job": job, "run": found["run_id"], "who": who(found), "state": found["outcome"] or found["state"].lower()}
    pairs |= {key: found.get(key) for key in ("score", "max_score", "owner", "reason", "note", "signature")}
    pairs |= {"started": found["started_at"], "ended": found["ended_at"]}
    for attempt in found["attempts"]:
        where = attempt.get("hostname") or attempt["worker"]
        pairs[f"attempt {attempt['attempt']}"] = f"on {where} from {attempt['started_at']}: {attempt['end'] or 'runs'}"
    pairs["result"] = found.get("result")
    show_object(pairs, found, output)


@job.command()
@click.argument("job", type=JOB)
@json_option
@connected()
def explain(session: Session, job: str, as_json: bool) -> None:
    """Say why a job waits, and what would change it."""
    show_explained(session.client.explain_job(job), as_json)


@job.command()
@click.argument("job", type=JOB)
@click.option("--stream", type=click.Choice(STREAMS), default="stdout", show_default=True)
@click.option("--tail", type=click.IntRange(1, 100_000), help="Only so many lines of its end.")
@click.option("-f", "--follow", is_flag=True, help="Print the log as it comes, until the job ends.")
@connected()
def log(session: Session, job: str, stream: str, tail: int | None, follow: bool) -> None:
    """Print a job's log, also while the job runs."""
    if not follow:
        print_log(session.client.log(job, stream, tail)["text"])
        return
    if tail is not None:
        raise Problem("--tail and --follow can't be given together")
    session.client.retry_for = max(session.client.retry_for, FOLLOW_S)
    for event in session.client.follow_log(job, stream):
        if event.name == "attempt" and event.data.get("attempt", 0) > 1:
            click.echo(f"-- attempt {event.data['attempt']} --", err=True)
        elif event.name == "log":
            print_log(str(event.data.get("text", "")))
        elif event.name == "end":
            click.echo(f"the job has {event.data.get('state', 'ended')}", err=True)


@job.command()
@click.argument("job", type=JOB)
@json_option
@connected()
def estimate(session: Session, job: str, as_json: bool) -> None:
    """Say when a job will be done, by how long such jobs took."""
    found = session.client.estimate_job(job)
    show_estimate(found, of_job(found), as_json)


@job.command()
@click.argument("job", type=JOB)
@json_option
@connected()
def cancel(session: Session, job: str, as_json: bool) -> None:
    """Cancel one job; its run goes on."""
    state = session.client.cancel_job(job)
    show_done(f"cancelled: {job}", {"cancelled": job, "state": state}, as_json)
