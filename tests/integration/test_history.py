"""The history: the load over time, as the leading scheduler samples it every ten seconds."""

import datetime
import json

import pytest
from broadway import ROUTE, error_of
from course import COURSES, Course, CourseGrader
from course_names import bearer
from harness import run_stack
from pipelines import run_of
from test_docs import check
from waiting import wait_until

STEP = datetime.timedelta(seconds=10)


@pytest.fixture(scope="module")
def sampled(tmp_path_factory):
    """A stack of its own, so that its counts are known."""
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    api = ("course-poll-wait=0", f"course-config={config}")
    yield from run_stack(tmp_path_factory, "sampled", replicas=2, both=("heartbeat-interval=1",), api=api)


def ask(stack, **arguments):
    return stack.api.request("GET", f"{ROUTE}/history", params=arguments, headers=bearer(stack.cluster_token))


def history(stack, **arguments):
    answer = ask(stack, **arguments)
    assert answer.status_code == 200, answer.text
    check("history", answer.json())
    return answer.json()


def date_of(text):
    return datetime.datetime.fromisoformat(text)


def total(points, key, course=None):
    """The sum over all points, of the classic runs or of a course."""
    loads = [load for point in points for load in point["courses"] if load.get("course") == course]
    return sum(load["results"][key] if key in load["results"] else load[key] for load in loads)


def last_load(points, course=None):
    return next((load for load in points[-1]["courses"] if load.get("course") == course), None)


def test_the_load_is_sampled_by_course(sampled):
    course = Course(sampled.urls[1])
    run = sampled.api.submit_and_start(run_of(3))
    waiting = course.run(2)
    grader = sampled.grader()
    for success in (True, True, False):
        grader.finish(grader.take(), success=success)
    wait_until(lambda: total(history(sampled)["points"], "handed_out") == 3, 25, "the hand-outs are in a sample")
    found = history(sampled)
    points = found["points"]
    assert (total(points, "succeeded"), total(points, "failed"), total(points, "cancelled")) == (2, 1, 0)
    queued = last_load(points, "cs225")
    assert (queued["protocol"], queued["queued"], queued["running"]) == ("course", 2, 0) and queued["oldest"] > 0
    assert sum(point["waits"]["jobs"] for point in points) == 3
    assert points[-1]["graders"]["working"] == 0
    dates = [date_of(point["date"]) for point in points]
    assert all(date.second % 10 == 0 and date.microsecond == 0 for date in dates) and dates == sorted(set(dates))
    # A longer step has the same counts.
    coarse = history(sampled, step=600)["points"]
    assert (total(coarse, "handed_out"), total(coarse, "succeeded")) == (3, 2)
    # One moment has one point, that of the step in which it lies.
    (point,) = history(sampled, **{"from": points[-1]["date"], "to": points[-1]["date"]})["points"]
    assert point == points[-1]
    # Only the named course.
    named = history(sampled, course="cs225")["points"]
    assert {load["course"] for point in named for load in point["courses"]} == {"cs225"}
    course.cancel(waiting)
    sampled.api.wait_over(run)
    wait_until(lambda: last_load(history(sampled)["points"], "cs225") is None, 25, "the course has no load any more")
    course.close()


def test_a_course_sees_only_its_own_load(sampled):
    mine, other = Course(sampled.urls[0]), Course(sampled.urls[0], "cs241")
    run = mine.run(1)
    grader = CourseGrader(sampled.urls[0], sampled.cluster_token)
    wait_until(
        lambda: any(point["courses"] for point in mine.data("GET", "/history/cs225")["points"][-1:]),
        25,
        "it is sampled",
    )
    found = mine.data("GET", "/history/cs225")
    check("history", found)
    assert all("waits" not in point and "others" not in point for point in found["points"])
    assert {load["course"] for point in found["points"] for load in point["courses"]} == {"cs225"}
    assert all(point["courses"] == [] for point in other.data("GET", "/history/cs241")["points"])
    assert other.ask("GET", "/history/cs225").status_code == 401
    answer = mine.ask("GET", "/history/cs225", params={"course": "cs241"})
    assert (answer.status_code, answer.json()["data"]["message"]) == (400, "unknown argument 'course'")
    mine.cancel(run)
    for client in (mine, other, grader):
        client.close()


def test_a_time_without_a_leader_is_a_gap(sampled):
    before = wait_until(lambda: history(sampled)["points"], 25, "there is a sample")[-1]["date"]
    sampled.kill("scheduler-0", 15)
    gone = date_of(before) + 3 * STEP
    wait_until(lambda: datetime.datetime.now(datetime.UTC) > gone, 60, "two steps have passed")
    sampled.restart("scheduler-0")
    wait_until(lambda: history(sampled)["points"][-1]["date"] > gone.isoformat(), 40, "the new leader samples")
    dates = [date_of(point["date"]) for point in history(sampled)["points"]]
    assert not any(date_of(before) + STEP < date < gone for date in dates), dates
    assert len(dates) == len(set(dates))


NOW = "2026-09-01T12:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"from": "yesterday"}, "from: 'yesterday' is not a date such as 2026-09-01T23:59:00Z"),
        ({"to": "2026-02-30T00:00:00Z"}, "to: '2026-02-30T00:00:00Z' is not a date such as 2026-09-01T23:59:00Z"),
        ({"from": NOW, "to": "2026-09-01T11:59:00Z"}, "from: must not be later than 'to'"),
        (
            {"from": "2026-08-30T12:00:00Z", "to": NOW},
            "from: must be at most 24 hours before 'to': ask for each day by itself",
        ),
        ({"step": 15}, "step: must be a multiple of 10 seconds, not 15"),
        ({"step": 0}, "step: must be between 10 and 86400, not 0"),
        (
            {"from": "2026-08-31T12:00:00Z", "to": NOW, "step": 10},
            "step: 10 s would make more than 1440 points: use 70 s at least, or ask for a shorter time",
        ),
        ({"until": NOW}, "unknown argument 'until'"),
    ],
)
def test_bad_arguments_are_refused(sampled, arguments, words):
    answer = ask(sampled, **arguments)
    assert (answer.status_code, error_of(answer)) == (400, words)


def test_only_the_operator_sees_the_cluster(sampled):
    assert sampled.api.request("GET", f"{ROUTE}/history").status_code == 401
    assert sampled.api.request("GET", f"{ROUTE}/history", headers=bearer("wrong")).status_code == 401


def test_a_day_has_at_most_as_many_points_as_a_screen_is_wide(sampled):
    found = history(sampled, **{"from": "2026-08-31T12:00:00Z", "to": NOW})
    assert found["points"] == [] and found["step"] == 220
