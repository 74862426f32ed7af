"""The expanded size of jobs and runs, and stages that no grader could execute."""

import json
import os
import time

import pytest
from broadway import error_of
from course import Course, config_of, failed
from pipelines import run_of, stage

MAX_ENTRY = 128 * 1024  # NAME=value and a NUL: the limit of Linux
MAX_JOB, MAX_RUN = 2 * 1024 * 1024, 512 * 1024 * 1024
MAX_CONFIG = 1024 * 1024
MAX_EXEC = 2 * 1024 * 1024 - 64 * 1024  # of a whole stage: the limit of Linux is 2 MiB


def submit(stack, definition):
    return stack.api.request("POST", "/api/v1/grading_run", json=definition)


def can_execute(*arguments, env=None):
    """True if this machine starts a program with these arguments and environment."""
    pid = os.fork()
    if pid == 0:
        try:
            os.execve("/bin/true", ["/bin/true", *arguments], env or {})
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def amplified(variables, students):
    """A run's env of 125 KB to which several variables of a stage refer."""
    env = {f"B{number}": "$A" for number in range(variables)}
    return run_of(students, env={"A": "x" * 125_000}, student_pipeline=[stage(), stage(env=env)])


# ---- The classic protocol ----


def test_a_small_submission_can_not_expand_to_a_gigabyte(stack):
    begun = time.monotonic()
    answer = submit(stack, amplified(6, 1000))
    assert time.monotonic() - begun < 5
    assert answer.status_code == 413
    sentence = error_of(answer)
    assert sentence.startswith("student_pipeline[1].env: the stages of all jobs of the run take 1000")
    assert f"the limit is {MAX_RUN} (--max-run-bytes)" in sentence


def test_a_job_that_is_too_large_is_refused_with_its_stage_its_student_and_its_size(stack):
    students = [{"A": "small"}, {"A": "x" * 125_000}]
    env = {f"B{number}": "$A" for number in range(20)}
    definition = run_of(0, students=students, student_pipeline=[stage(), stage(env=env)])
    answer = submit(stack, definition)
    assert answer.status_code == 413
    sentence = error_of(answer)
    assert sentence.startswith("student_pipeline[1].env, student 1: the job's stages take 27")
    assert f"the limit is {MAX_JOB} (--max-job-bytes)" in sentence


def test_jobs_and_runs_of_the_usual_size_are_taken(stack):
    assert submit(stack, amplified(6, 500)).status_code == 200
    assert submit(stack, amplified(14, 10)).status_code == 200
    few_kb = {f"V{number}": "x" * 100 for number in range(40)}
    assert submit(stack, run_of(100_000, env=few_kb)).status_code == 200


def test_the_limits_are_flags(stack, make_replica):
    replica = make_replica(stack, "--max-job-bytes=2000", "--max-run-bytes=1048576").wait_ready()
    large = replica.api.request("POST", "/api/v1/grading_run", json=run_of(1, env={"A": "x" * 2000}))
    many = replica.api.request("POST", "/api/v1/grading_run", json=run_of(1000, env={"A": "x" * 1500}))
    assert large.status_code == many.status_code == 413
    assert "the limit is 2000 (--max-job-bytes)" in error_of(large)
    assert "the limit is 1048576 (--max-run-bytes)" in error_of(many)


@pytest.mark.parametrize("place", ["run", "student", "stage", "reference"])
def test_an_entry_that_can_not_be_executed_is_refused_to_the_byte(stack, place):
    name = "NAME"
    most = MAX_ENTRY - len("NAME=") - 1

    def definition(length):
        value = "x" * length
        if place == "run":
            return run_of(1, env={name: value})
        if place == "student":
            return run_of(0, students=[{name: value}], student_pipeline=[stage()])
        if place == "stage":
            return run_of(1, student_pipeline=[stage(env={name: value})])
        return run_of(0, students=[{"A": value}], student_pipeline=[stage(env={name: "$A"})])

    assert can_execute(env={name: "x" * most}) and not can_execute(env={name: "x" * (most + 1)})
    assert submit(stack, definition(most)).status_code == 200
    answer = submit(stack, definition(most + 1))
    assert answer.status_code == 400 and f"{MAX_ENTRY + 1} bytes" in error_of(answer)


def test_an_argument_that_can_not_be_executed_is_refused_to_the_byte(stack):
    assert can_execute("x" * (MAX_ENTRY - 1)) and not can_execute("x" * MAX_ENTRY)
    for length, status in ((MAX_ENTRY - 1, 200), (MAX_ENTRY, 400)):
        answer = submit(stack, run_of(1, student_pipeline=[stage(entrypoint=["sh", "x" * length])]))
        assert answer.status_code == status
    assert error_of(answer).startswith("student_pipeline[0].entrypoint[1]: takes 131073 bytes")


def crowded(value, argument):
    """A stage with the maximum total size of variables and arguments, each short enough."""
    return stage(
        env={f"V{number:03}": "x" * value for number in range(1000)}, entrypoint=["sh", *["y" * argument] * 999]
    )


def exec_bytes(of_stage):
    entries = [f"{name}={value}" for name, value in of_stage["env"].items()]
    return sum(len(text) + 1 + 8 for text in entries + of_stage["entrypoint"])


def test_a_stage_that_can_not_be_executed_as_a_whole_is_refused(stack):
    too_much, fits = crowded(1035, 1043), crowded(1000, 1000)
    answer = submit(stack, run_of(0, students=[{}], student_pipeline=[stage(), too_much]))
    assert answer.status_code == 400
    assert error_of(answer).startswith("student_pipeline[1], student 0: the stage's arguments and environment take ")
    assert f"take {exec_bytes(too_much)} bytes" in error_of(answer) and f"the limit is {MAX_EXEC}" in error_of(answer)
    assert submit(stack, run_of(1, student_pipeline=[fits])).status_code == 200
    assert can_execute(*fits["entrypoint"], env=fits["env"])


def test_what_a_stage_may_have_can_be_executed():
    """With short entries, so that pointers and NULs dominate, and with long ones."""
    for length in (4, 10_000):
        count = MAX_EXEC // (len("V000000=") + length + 9)
        assert can_execute(env={f"V{number:06}": "x" * length for number in range(count)})


@pytest.mark.parametrize("key", ["host_name", "hostname"])
def test_a_host_name_that_linux_refuses_is_refused(stack, key):
    assert submit(stack, run_of(1, student_pipeline=[stage(**{key: "h" * 64})])).status_code == 200
    answer = submit(stack, run_of(1, student_pipeline=[stage(**{key: "h" * 65})]))
    assert answer.status_code == 400 and f"student_pipeline[0].{key}: " in error_of(answer)
    assert "64" in error_of(answer)


# ---- The course protocol ----


@pytest.fixture
def course(staff):
    client = Course(staff.stack.urls[0])
    yield client
    client.close()


def test_a_config_has_a_largest_size(course):
    values = {f"V{number}": "x" * 100_000 for number in range(10)}
    room = MAX_CONFIG - len(json.dumps(config_of(env={**values, "PAD": ""}), separators=(",", ":")))
    assert course.configure(config_of(env={**values, "PAD": "x" * room}))
    answer = course.ask("POST", "/grading_config/cs225/large", config_of(env={**values, "PAD": "x" * (room + 1)}))
    assert answer.status_code == 413
    assert answer.json()["status"] == "error" and f"the limit is {MAX_CONFIG}" in answer.json()["message"]


def test_a_courses_run_that_is_too_large_is_refused_when_it_is_started(course):
    values = {f"V{number}": "x" * 100_000 for number in range(9)}
    two = [stage(), stage(env={"OWN": "x" * 1000})]
    assignment = course.configure(config_of(student_pipeline=two, env=values))
    body = {"students_env": [{"A": "x"}] * 1000}
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", body)
    assert answer.status_code == 413 and answer.json()["code"] == 413
    assert "student_pipeline[1].env: the stages of all jobs of the run take 18" in answer.json()["message"]
    large = {"students_env": [{"A": "x"}, {f"W{number}": "x" * 100_000 for number in range(3)}]}
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", large)
    assert answer.status_code == 413
    assert "student_pipeline[1].env, student 1: the job's stages take 24" in answer.json()["message"]


@pytest.mark.parametrize("value", ["x" * (MAX_ENTRY - 2), ["x" * (MAX_ENTRY - 6)]], ids=["a string", "a list"])
def test_a_courses_entry_that_can_not_be_executed_is_refused(course, value):
    """A value that is not a string is converted to JSON text."""
    answer = course.ask("POST", "/grading_config/cs225/long", config_of(env={"A": value}))
    assert answer.status_code == 400
    assert answer.json()["status"] == "fail" and answer.json()["data"].startswith("env: A=... takes 131073 bytes")
    assignment = course.configure(config_of())
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", {"students_env": [{}, {"A": value}]})
    assert answer.status_code == 400
    assert answer.json()["data"].startswith("students_env[1]: A=... takes 131073 bytes")
    assert answer.json() != failed("")


def test_a_courses_argument_that_can_not_be_executed_is_refused(course):
    answer = course.ask(
        "POST", "/grading_config/cs225/long", {"student_pipeline": [stage(entrypoint=["x" * MAX_ENTRY])]}
    )
    assert answer.status_code == 400 and "entrypoint[0]: takes 131073 bytes" in answer.json()["data"]


def test_a_courses_stage_that_can_not_be_executed_as_a_whole_is_refused_when_the_run_is_started(course):
    config = config_of(student_pipeline=[stage(entrypoint=["y" * 950] * 999)])
    assignment = course.configure(config)
    env = {f"V{number:04}": "x" * 1080 for number in range(1000)}
    answer = course.ask("POST", f"/grading_run/cs225/{assignment}", {"students_env": [{}, env]})
    assert answer.status_code == 400
    sentence = answer.json()["data"]["message"]
    assert sentence.startswith("student_pipeline[0], student 1: the stage's arguments and environment take ")


def test_a_courses_host_name_that_linux_refuses_is_refused(course):
    assert course.configure(config_of(student_pipeline=[stage(hostname="h" * 64)]))
    config = config_of(student_pipeline=[stage(hostname="h" * 65)])
    answer = course.ask("POST", "/grading_config/cs225/long", config)
    assert answer.status_code == 400 and "student_pipeline[0].hostname: " in answer.json()["data"]
