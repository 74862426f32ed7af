"""Why something waits, for people: the commands `explain` of runs, jobs and graders."""

import click

from broadway.cli.output import safe, show_json
from broadway.models import Explanation


def show_explained(answer: Explanation, as_json: bool) -> None:
    """Prints the state, and for each reason what is so and what would change it."""
    if as_json:
        show_json(answer)
        return
    click.echo(safe(_state(answer)))
    for reason in answer["reasons"]:
        click.echo(safe(f"- {reason['detail']}"))
        click.echo(safe(f"  until {reason['changes_when']}"))
    groups = answer.get("waiting", [])
    if len(groups) > 1:
        shown = ", ".join(f"{group['jobs']} {group['reason']}" for group in groups)
        click.echo(safe(f"waiting jobs by their first reason: {shown}"))


def _state(answer: Explanation) -> str:
    if "outcome" in answer:
        return f"ended: {answer['outcome']}"
    if "grader" in answer:
        grader = answer["grader"]
        where = grader.get("hostname") or grader["worker"]
        return f"running on {where} since {grader['since']}, attempt {grader['attempt']}"
    if "jobs" in answer:
        jobs = answer["jobs"]
        return f"{answer['state']}: {jobs['waiting']} jobs wait, {jobs['running']} run, {jobs['ended']} have ended"
    return answer["state"]
