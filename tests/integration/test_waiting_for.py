"""A run's status says if no grader of its protocol is alive; workers are listed and counted by protocol."""

import json

import pytest
from broadway import Api, ClassicGrader
from course import COURSES, Staff, stage
from harness import run_stack
from pipelines import run_of
from test_health import sample_values
from waiting import holds_for, soon, wait_until

CLASSIC, COURSE = (f"no grader of the {protocol} protocol is alive" for protocol in ("classic", "course"))


@pytest.fixture(scope="module")
def empty_stack(tmp_path_factory):
    """A stack of both protocols without registered workers."""
    config = tmp_path_factory.mktemp("waiting") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(
        tmp_path_factory, "waiting", replicas=2, both=("heartbeat-interval=1",), api=(f"course-config={config}",)
    )


@pytest.fixture
def staff(empty_stack):
    staff = Staff(empty_stack)
    yield staff
    staff.close()


def metrics(stack):
    api = Api(stack.described["scheduler"][0]["url"])
    try:
        return sample_values(api.request("GET", "/metrics").text)
    finally:
        api.close()


def test_runs_without_graders_of_their_protocol_say_so(empty_stack, staff):
    stack, course = empty_stack, staff.course()
    classic = stack.api.submit_and_start(run_of(2))
    run = course.run([{}], {"student_pipeline": [stage()]})
    assert set(course.status(run)) == {
        "state",
        "pre_processing_job_state",
        "post_processing_job_state",
        "student_jobs_state",
    }
    for api in stack.apis:
        wait_until(
            lambda api=api: api.status(classic).get("waiting_for") == CLASSIC, soon(3), "the classic run says so"
        )

    grader = stack.grader(hostname="classic-1", concurrency=1)

    def says_so():
        return grader.beat().status_code == 200 and course.status(run).get("waiting_for") == COURSE

    wait_until(lambda: "waiting_for" not in stack.api.status(classic), soon(3), "a grader is there")
    wait_until(says_so, 15 + soon(3), "so does the course's")
    values = wait_until(lambda: _unserved(stack), soon(2), "the jobs without graders are counted")
    assert values['broadway_scheduler_workers_alive{protocol="classic"}'] == 1
    assert values['broadway_scheduler_workers_alive{protocol="course"}'] == 0
    assert values['broadway_scheduler_unserved_jobs{protocol="classic"}'] == 0
    assert [row["protocol"] for row in course.workers()] == ["classic"]

    stack.kill("scheduler-0")
    stack.restart("scheduler-0")
    wait_until(says_so, 10 + soon(3), "a new leader too")

    other = staff.grader()
    wait_until(
        lambda: other.beat() and "waiting_for" not in course.status(run), soon(5), "a grader of courses is there"
    )
    assert sorted(row["protocol"] for row in course.workers()) == ["classic", "course"]
    other.finish(other.take())
    for _ in range(2):
        grader.finish(grader.take())
    assert "waiting_for" not in stack.api.status(classic)


def _unserved(stack):
    values = metrics(stack)
    return values if values['broadway_scheduler_unserved_jobs{protocol="course"}'] == 1 else None


def test_a_run_that_is_not_started_or_whose_jobs_run_waits_for_no_grader(empty_stack):
    stack = empty_stack
    run = stack.api.submit(run_of(1))
    holds_for(lambda: "waiting_for" not in stack.api.status(run), 2, "a run that is not started says nothing")
    grader = ClassicGrader(stack.urls[0], stack.cluster_token)
    stack.api.start(run)
    job = grader.take()
    assert "waiting_for" not in stack.api.status(run)
    grader.finish(job)
    grader.close()
