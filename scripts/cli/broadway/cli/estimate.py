"""What an estimate says, in a sentence."""

from datetime import datetime
from typing import Any

import click

from broadway.cli.output import safe, show_json
from broadway.models import Estimate

NUMBERS = {1: "one", 2: "two", 4: "four", 6: "six", 8: "eight", 12: "twelve"}
# More graders are worth a word if they save a quarter of the time that is left.
WORTH = 0.75


def _date(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _clock(text: str, now: str) -> str:
    """The time of day here; with the day of the week, if it is not today."""
    then, today = _date(text).astimezone(), _date(now).astimezone()
    return then.strftime("%H:%M" if then.date() == today.date() else "%a %H:%M")


def span(seconds: float) -> str:
    """About how long, as people say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} second{'' if round(seconds) <= 1 else 's'}"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


def _left(found: Estimate, text: str) -> float:
    return (_date(text) - _date(found["at"])).total_seconds()


def _graders(found: Estimate, row: dict[str, Any]) -> str:
    """`six more graders would make it 23:20`."""
    number = row["graders"]
    more = "more " if found["graders"] > 0 else ""
    noun = "grader" if number == 1 else "graders"
    return f"{NUMBERS.get(number, number)} {more}{noun} would make it {_clock(row['p50'], found['at'])}"


def more_graders(found: Estimate) -> str | None:
    """What a few more graders would change; None: not much."""
    ends = found["ends"]
    for row in found["more_graders"]:
        if ends is None or _left(found, row["p50"]) <= WORTH * _left(found, ends["p50"]):
            return _graders(found, row)
    return None


def of_all(found: Estimate) -> str:
    """`all done by 23:41, 90 % sure by 23:58; six more graders would make it 23:20`."""
    ends, more = found["ends"], more_graders(found)
    if ends is None:
        said = f"no estimate: {safe(found['reason'])}"
    else:
        said = f"all done by {_clock(ends['p50'], found['at'])}, 90 % sure by {_clock(ends['p90'], found['at'])}"
    return said if more is None else f"{said}; {more}"


def of_job(found: Estimate) -> str:
    """`your job in about 4 minutes, 90 % sure in 6 minutes`; with when it starts, if it waits."""
    starts, ends = found["starts"], found["ends"]
    if ends is None:
        return f"no estimate: {safe(found['reason'])}"
    said = f"your job in about {span(_left(found, ends['p50']))}, 90 % sure in {span(_left(found, ends['p90']))}"
    if starts is None or _left(found, starts["p50"]) < 1:
        return said
    return f"{said}; it starts in about {span(_left(found, starts['p50']))}"


def show_estimate(found: Estimate, said: str, as_json: bool) -> None:
    """Prints the sentence and its basis, or JSON."""
    if as_json:
        show_json(found)
        return
    click.echo(said)
    if found["ends"] is not None:
        click.echo(f"by {found['times_seen']} times of {_basis(found)}", err=True)


def _basis(found: Estimate) -> str:
    return {"assignment": "the assignment", "course": "the course", "all": "all courses"}.get(found["basis"], "none")
