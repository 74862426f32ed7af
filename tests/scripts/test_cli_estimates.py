"""What `broadway run estimate`, `job estimate` and `course estimate` say."""

from datetime import UTC, datetime, timedelta

import pytest
from broadway.cli.estimate import more_graders, of_all, of_job, span

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


def at(minutes):
    return (NOW + timedelta(minutes=minutes)).isoformat()


def clock(minutes):
    """The time of day here."""
    return (NOW + timedelta(minutes=minutes)).astimezone().strftime("%H:%M")


def moment(p50, p90):
    return {"p50": at(p50), "p90": at(p90)}


def estimate(ends, starts=None, more=(), reason=None, graders=3):
    rows = [{"graders": number, **moment(minutes, minutes + 1)} for number, minutes in more]
    found = {"at": at(0), "starts": starts, "ends": ends, "reason": reason, "basis": "assignment", "times_seen": 9}
    return {**found, "graders": graders, "more_graders": rows}


def test_a_job_is_done_in_about_so_many_minutes():
    assert of_job(estimate(moment(4.2, 6))) == "your job in about 4 minutes, 90 % sure in 6 minutes"
    waits = estimate(moment(0.5, 1), starts=moment(0.25, 0.3))
    assert of_job(waits) == "your job in about 30 seconds, 90 % sure in 60 seconds; it starts in about 15 seconds"
    assert of_job(estimate(None, reason="it is paused")) == "no estimate: it is paused"


def test_all_is_done_by_a_time_that_more_graders_would_make_earlier():
    found = estimate(moment(60, 75), more=[(1, 55), (2, 50), (4, 46), (6, 40), (8, 35)])
    said = f"all done by {clock(60)}, 90 % sure by {clock(75)}; six more graders would make it {clock(40)}"
    assert of_all(found) == said
    assert more_graders(estimate(moment(60, 75), more=[(1, 44)])) == f"one more grader would make it {clock(44)}"
    assert more_graders(estimate(moment(60, 75), more=[(1, 59), (16, 58)])) is None
    late = of_all(estimate(moment(60, 24 * 60)))
    assert late.endswith((NOW + timedelta(days=1)).astimezone().strftime(" %a %H:%M"))


def test_without_graders_the_first_one_is_named():
    found = estimate(None, more=[(1, 90)], reason="no grader that may run it is alive", graders=0)
    assert of_all(found) == f"no estimate: no grader that may run it is alive; one grader would make it {clock(90)}"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "1 second"), (1, "1 second"), (45, "45 seconds"), (239, "4 minutes"), (7200, "2.0 hours")],
)
def test_a_span_is_said_as_people_say_it(seconds, said):
    assert span(seconds) == said
