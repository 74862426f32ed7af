"""The environment of a stage: an ordered list for graders, an object in the status."""

import pytest
from pipelines import run_of, stage


def handed_out_env(stack, definition, jobs=1):
    """The env lists of all stages of the first `jobs` jobs."""
    grader = stack.grader()
    run = stack.api.submit_and_start(definition)
    lists = []
    for _ in range(jobs):
        job = grader.take()
        lists += [stage["env"] for stage in job["stages"]]
        grader.finish(job)
    return run, lists


def test_the_list_has_the_entries_of_run_student_and_stage_in_order(stack):
    definition = {
        "student_pipeline": [stage(env={"Z": "stage", "A": "own"}), stage()],
        "students": [{"S2": "student", "S1": "x"}],
        "env": {"R9": "run", "R1": "y"},
    }
    _, lists = handed_out_env(stack, definition)
    common = ["R9=run", "R1=y", "S2=student", "S1=x"]
    assert lists == [[*common, "Z=stage", "A=own"], common]


def test_an_empty_value_refers_to_the_same_name(stack):
    definition = {
        "student_pipeline": [stage(env={"TERM": "", "NETID": ""})],
        "students": [{"NETID": "ada"}],
        "env": {"TERM": "fall"},
    }
    _, lists = handed_out_env(stack, definition)
    assert lists == [["TERM=fall", "NETID=ada", "TERM=fall", "NETID=ada"]]


def test_a_reference_prefers_the_run_to_the_student(stack):
    definition = {
        "student_pipeline": [stage(env={"A": "$BOTH", "B": "$NETID", "BOTH": ""})],
        "students": [{"NETID": "ada", "BOTH": "student"}],
        "env": {"BOTH": "run"},
    }
    _, lists = handed_out_env(stack, definition)
    assert lists == [["BOTH=run", "NETID=ada", "BOTH=student", "A=run", "B=ada", "BOTH=run"]]


def test_other_values_are_literal(stack):
    own = {"A": "x$NETID", "B": "a=b=c", "C": " ", "D": "{NETID}", "E": "ü\n\t"}
    definition = {"student_pipeline": [stage(env=own)], "students": [{"NETID": "$HOME"}], "env": {"R": "", "Q": "$R"}}
    _, lists = handed_out_env(stack, definition)
    assert lists == [["R=", "Q=$R", "NETID=$HOME", *(f"{name}={value}" for name, value in own.items())]]


def test_the_status_shows_an_object_with_the_later_value(stack):
    definition = {
        "student_pipeline": [stage(env={"A": "stage", "C": "$B"})],
        "students": [{"A": "student", "B": "student"}],
        "env": {"A": "run", "B": "run"},
    }
    run, lists = handed_out_env(stack, definition)
    assert lists == [["A=run", "B=run", "A=student", "B=student", "A=stage", "C=run"]]
    (job,) = stack.api.status(run)["student_statuses"]
    assert job["stages"][0]["env"] == {"A": "stage", "B": "student", "C": "run"}


def test_pre_and_post_jobs_have_no_student_env(stack):
    definition = run_of(1, pre=True, post=True, env={"TERM": "fall"})
    _, lists = handed_out_env(stack, definition, jobs=3)
    assert lists[0] == ["TERM=fall", "STEP=pre"]
    assert lists[1] == ["TERM=fall", "NETID=student0", "NETID=student0"]
    assert lists[2] == ["TERM=fall", "STEP=post"]


def test_each_student_gets_its_own_values(stack):
    definition = {"student_pipeline": [stage(env={"WHO": "$NETID"})], "students": [{"NETID": n} for n in "abc"]}
    _, lists = handed_out_env(stack, definition, jobs=3)
    assert lists == [[f"NETID={n}", f"WHO={n}"] for n in "abc"]


def test_with_no_students_the_student_pipeline_is_not_resolved(stack):
    stack.api.submit({"student_pipeline": [stage(env={"A": "$NOWHERE"})], "students": []})


@pytest.mark.parametrize(
    "value", ["x" * 100000, 'quote" back\\slash', "\u2028 \U0001f600"], ids=["long", "quoted", "wide"]
)
def test_values_arrive_unchanged(stack, value):
    _, lists = handed_out_env(stack, {"student_pipeline": [stage(env={"V": value})], "students": [{}]})
    assert lists == [[f"V={value}"]]
