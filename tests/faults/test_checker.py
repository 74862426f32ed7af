"""The checker's own tests: valid histories pass, and at least one invalid history per invariant fails."""

import json

import pytest
from broadway_faults.checker import check, check_directory
from histories import FIRST, JOBS, NAME, OTHER, POST, PRE, RUN, SECOND, WORKER, Story, good_story


def found(story):
    return {violation.invariant for violation in check(story.evidence())}


def test_a_good_history_passes():
    assert check(good_story().evidence()) == []


def test_a_history_with_every_allowed_irregularity_passes():
    story = Story()
    story.lead(1)
    story.register()
    story.register(OTHER)
    story.call("client", "create", kind="unknown", name=NAME, key=NAME)
    story.create()
    story.call("client", "start", kind="unknown", run=RUN)
    story.note("run started", run=RUN)
    story.grade(PRE)
    story.lease(FIRST)
    story.note("grader vanished", worker=WORKER)
    story.tick(2100)
    story.event("workers", "update", WORKER, set={"alive": False})
    story.lead(2)
    story.event("job_leases", "update", f"{FIRST}.1", set={"term": 2})
    story.end(FIRST, term=2)
    story.lease(FIRST, 2, OTHER, term=2)
    story.deliver(FIRST, worker=WORKER, value="late")
    story.deliver(FIRST, worker=OTHER, value="second", kind="fail", is_stored=False, status=400)
    story.lease(SECOND, 1, OTHER, term=2)
    story.deliver(SECOND, worker=OTHER, kind="unknown")
    story.deliver(SECOND, worker=OTHER, is_stored=False)
    story.lease(POST, 1, OTHER, term=2)
    story.deliver(POST, worker=OTHER)
    story.finish()
    assert check(story.evidence()) == []


# ---- I1 ----


def test_an_acknowledged_run_that_is_missing():
    story = good_story()
    story.call("client", "create", answer={"run": "b" * 24}, name="lost", key="lost")
    assert found(story) == {"I1"}


def test_a_run_without_an_attempt_to_create_it():
    story = good_story()
    story.dump["runs"]["c" * 24] = {"name": "ghost", "state": "created", "students": 0}
    assert found(story) == {"I1"}


def test_two_runs_for_one_key():
    story = good_story()
    story.create(run="d" * 24, state="created", started_at=None, students=0, has_pre=False, has_post=False)
    assert found(story) == {"I1"}


def test_a_started_run_that_never_ends():
    story = good_story()
    story.dump["runs"][RUN]["state"] = "students"
    assert "I1" in found(story)


def test_a_run_may_be_removed_only_after_its_end():
    story = good_story()
    for collection in ("runs", "leases", "results"):
        story.dump[collection] = {}
    story.event("grading_runs", "delete", RUN)
    assert found(story) == set()
    story.events[-2] = {**story.events[-2], "set": {"state": "students"}}
    assert found(story) == {"I1"}


# ---- I2 ----


def test_two_senders_with_200():
    story = good_story()
    story.deliver(FIRST, worker=OTHER, value="another", is_stored=False)
    assert found(story) == {"I2"}


def test_a_refused_sender_whose_result_is_stored():
    story = good_story(JOBS[:1])
    story.lease(FIRST)
    story.deliver(FIRST, kind="fail", status=400)
    assert found(story) == {"I2"}


def test_a_result_of_a_worker_that_never_had_the_job():
    story = good_story()
    story.dump["results"][SECOND]["worker"] = OTHER
    story.call("grader", "result", kind="unknown", worker=OTHER, job=SECOND, value="v1")
    assert "I2" in found(story)


REFUSAL = "argument 'success': must be true or false, not text"
UNFIT = {"unfit": "unreadable", "value": "v2"}


def refused_story(reason=REFUSAL, **facts):
    """The job FIRST failed by a refusal, and its grader was answered with one."""
    story = good_story(JOBS[:1])
    story.lease(FIRST)
    answer = {"status": 400, "sentence": REFUSAL, "is_stored": False, **UNFIT, **facts}
    story.deliver(FIRST, kind=answer.pop("kind", "fail"), **answer)
    story.store(FIRST, outcome="failed", worker=WORKER, reason=reason)
    return story


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"status": 413, "unfit": "too large"},
        {"kind": "unknown", "status": 503},
        {"kind": None},
        {"kind": "ok", "status": 200, "unfit": "too large", "protocol": "course"},
    ],
)
def test_a_refused_result_may_have_failed_its_own_job(facts):
    assert check(refused_story(**facts).evidence()) == []


@pytest.mark.parametrize(
    "facts",
    [
        {"unfit": None},  # the result was valid
        {"reason": "grader lost 3 times"},  # another reason
        {"reason": ""},
        {"status": 404},
        {"kind": "ok", "status": 200},
        {"kind": "ok", "status": 200, "unfit": "too large"},  # only in the course protocol
        {"kind": "ok", "status": 200, "protocol": "course"},  # only if it is too large
    ],
)
def test_a_refusal_fails_a_job_in_no_other_way(facts):
    assert "I2" in found(refused_story(**facts))


def test_a_refused_result_does_not_fail_the_job_of_another():
    story = refused_story()
    story.lease(FIRST, 2, OTHER)
    story.dump["results"][FIRST]["worker"] = OTHER
    assert "I2" in found(story)


def test_a_refused_result_whose_value_is_stored():
    story = refused_story()
    story.dump["results"][FIRST]["value"] = "v2"
    assert "I2" in found(story)


# ---- I3 ----


def test_a_gap_in_the_attempts():
    story = good_story(JOBS[:2])
    story.lease(SECOND, 2)
    story.dump["leases"][f"{SECOND}.2"]["ended"] = "lost"
    assert "I3" in found(story)


def test_two_live_leases_at_once():
    story = good_story(JOBS[:1])
    story.lease(FIRST, 1)
    story.lease(FIRST, 2, OTHER)
    story.end(FIRST, 1)
    assert found(story) == {"I3"}


def test_more_failed_attempts_than_allowed():
    story = good_story(JOBS[:1])
    for attempt in (1, 2, 3, 4):
        story.lease(FIRST, attempt)
        story.end(FIRST, attempt)
    assert found(story) == {"I3"}


def test_a_job_given_up_before_its_attempts_are_used_up():
    story = good_story(JOBS[:1])
    story.lease(FIRST)
    story.end(FIRST)
    story.store(FIRST, outcome="failed", reason="grader lost 1 time")
    assert found(story) == {"I3"}


# ---- I4 ----


def test_a_student_before_the_pre_processing_result():
    story = Story()
    story.config["settles"] = False
    story.create()
    story.lease(FIRST)
    assert found(story) == {"I4"}


def test_post_processing_before_the_last_student():
    story = good_story(JOBS[:2])
    story.lease(POST)
    assert found(story) == {"I4"}


def test_students_after_failed_pre_processing():
    story = good_story(JOBS[:2])
    story.dump["results"][PRE]["outcome"] = "failed"
    assert found(story) == {"I4"}


def test_a_run_that_ends_twice():
    story = good_story()
    story.event("grading_runs", "update", RUN, set={"state": "failed"})
    assert found(story) == {"I4"}


# ---- I5, I6, I7 ----


def test_a_live_lease_at_the_end():
    story = good_story()
    del story.dump["results"][POST]
    story.dump["runs"][RUN]["state"] = "postprocessing"
    assert {"I5"} <= found(story)


def test_a_drain_that_took_too_long():
    story = good_story()
    story.note("drained", done=False, took_s=30.0, allowed_s=20.0)
    assert found(story) == {"I5"}


def test_a_term_that_is_skipped():
    story = good_story()
    story.lead(3)
    assert found(story) == {"I6"}


def test_a_term_known_from_its_work_was_not_skipped():
    story = good_story()
    story.lease(SECOND, 2, OTHER, term=2)
    story.lead(3)
    assert "I6" not in found(story)
    story.lead(5)
    assert "I6" in found(story)


def test_a_lease_ended_by_a_former_term():
    story = good_story(JOBS[:1])
    story.lease(FIRST)
    story.lead(2)
    story.event("job_leases", "update", f"{FIRST}.1", set={"term": 2})
    story.end(FIRST, term=1)
    assert found(story) == {"I6"}


def test_a_lease_of_a_job_with_a_result_may_be_ended_by_a_former_term():
    story = good_story(JOBS[:1])
    story.lease(FIRST)
    story.deliver(FIRST)
    story.lead(2)
    story.lease(SECOND, term=2)
    story.event("job_leases", "update", f"{SECOND}.1", set={"term": 2})
    story.end(FIRST, term=1)
    assert "I6" not in found(story)


def test_a_refused_run_that_is_stored():
    story = good_story()
    story.call("client", "create", kind="fail", answer={"status": 409, "text": "conflict"}, name=NAME, key=NAME)
    assert found(story) == {"I7"}


def test_an_acknowledged_start_that_was_not_done():
    story = good_story(JOBS[:0])
    story.dump["runs"][RUN]["started_at"] = None
    assert "I7" in found(story)


def test_an_acknowledged_registration_that_is_missing():
    story = good_story()
    story.call("grader", "register", answer={"worker": OTHER})
    assert found(story) == {"I7"}


# ---- I8 to I11 ----


def test_a_read_that_goes_back():
    story = good_story()
    story.read("students", 2)
    assert found(story) == {"I8"}


def test_a_read_that_does_not_see_its_own_start():
    story = good_story(JOBS[:0])
    story.lines = [line for line in story.lines if line.get("state") != "preprocessing"]
    story.read("created", 0)
    assert "I8" in found(story)


def test_a_grader_that_does_not_see_its_own_result():
    story = good_story()
    story.call("grader", "own", run=RUN, job=FIRST, replica=1, answer={"status": 200, "job_status": "Running"})
    assert found(story) == {"I8"}


def test_a_worker_declared_dead_too_soon():
    story = good_story()
    story.call("grader", "beat", worker=WORKER)
    story.tick(600)
    story.event("workers", "update", WORKER, set={"alive": False})
    assert found(story) == {"I9"}


def test_a_vanished_worker_that_is_never_declared_dead():
    story = good_story()
    story.note("grader vanished", worker=WORKER)
    story.tick(9000)
    story.event("workers", "update", OTHER, set={"alive": True})
    assert found(story) == {"I9"}


@pytest.mark.parametrize("grown", ["threads", "descriptors"])
def test_resources_that_remain_after_the_drain(grown):
    story = good_story()
    before = {"threads": 20, "descriptors": 40}
    story.note("resources", member="api-0", before=before, after={**before, grown: 200})
    assert found(story) == {"I10"}


def test_memory_that_a_second_load_adds():
    story = good_story()
    story.note("second load", member="api-0", before_kb=20000, after_kb=40000)
    assert found(story) == {"I10"}


def test_a_canary_in_the_wrong_answer():
    story = good_story()
    story.poll(FIRST, canaries=["canary-other-yranac"])
    assert found(story) == {"I11"}


# ---- Claims, and files ----


def test_a_violated_claim_of_the_row():
    story = good_story()
    story.note("claim", holds=False, what="the standby leads")
    assert found(story) == {"R"}


def test_a_stored_directory_can_be_checked_again(tmp_path):
    story = good_story()
    story.read("students", 2)
    for name, lines in (("history.jsonl", story.lines), ("events.jsonl", story.events)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "dump.json").write_text(json.dumps(story.dump))
    (tmp_path / "config.json").write_text(json.dumps(story.config))
    assert {violation.invariant for violation in check_directory(tmp_path)} == {"I8"}
