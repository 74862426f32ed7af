"""Why is it waiting? Each test makes a situation, reads what explain says of it, makes the change that it names, and
sees the job handed out, or the next reason."""

import json
import threading
import time

import pytest
from broadway import ROUTE, ClassicGrader
from course import Course, CourseGrader, config_of
from course_names import bearer, unique
from harness import run_stack
from pipelines import POST, STUDENT, job_id_of, run_of
from socket_grader import SocketGrader
from waiting import soon, wait_until

TOKEN, QUERY = "staff-of-all", "may-only-look"
NAMES = [f"course-{number}" for number in range(60)]
COURSES = {name: {"tokens": [TOKEN], "query_tokens": [QUERY], "classes": ["exam", "normal"]} for name in NAMES}
fresh_names = iter(NAMES)
GONE_S = 10  # after that a grader that sends nothing is dead, with a heartbeat of a second


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory):
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(
        tmp_path_factory,
        "explain",
        both=("heartbeat-interval=1",),
        api=(f"course-config={config}", "course-poll-wait=0"),
        scheduler=("leader-lease=1",),
    )


class Side:
    """A course, what it may ask, and the operator's view of its graders."""

    def __init__(self, stack):
        self.stack = stack
        self.made = []
        self.reserved = []
        self.beating = {}
        self.is_over = threading.Event()
        self.beats = threading.Thread(target=self._beat, daemon=True)
        self.beats.start()
        self.course = self.new_course()
        self.assignment = self.course.configure(config_of())

    # ---- What happens ----

    def new_course(self):
        return self.keep(Course(self.stack.urls[0], next(fresh_names), TOKEN))

    def run(self, count=1, course=None, **more):
        if course is None:
            return self.course.start(self.assignment, count, **more)
        return course.start(course.configure(config_of()), count, **more)

    def configured(self, config, count=1):
        return self.course.start(self.course.configure(config), count)

    def idle(self, **more):
        """A grader that is alive and does not ask."""
        grader = self.keep(CourseGrader(self.stack.urls[0], self.stack.cluster_token, concurrency=1, **more))
        self.beating[grader.name] = grader
        return grader

    def waiting(self, **more):
        """A grader that asks from now on, by its websocket."""
        return self.keep(SocketGrader(self.stack.urls[0], self.stack.cluster_token, **more))

    def silence(self, grader):
        self.beating.pop(grader.name)

    def operate(self, method, path, body=None):
        headers = bearer(self.stack.cluster_token)
        answer = self.stack.api.request(method, f"{ROUTE}{path}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json().get("data", answer.json())

    def reserve(self, tag, courses):
        self.reserved.append(f"for-{tag}")
        self.operate("POST", f"/scheduling/reservations/for-{tag}", {"tags": [tag], "courses": courses})

    def end_reservation(self, tag):
        self.reserved.remove(f"for-{tag}")
        self.operate("POST", f"/scheduling/reservations/for-{tag}/delete")

    # ---- What is said ----

    def job(self, run, index=0, kind=STUDENT, course=None):
        course = course or self.course
        return course.data("GET", f"/grading_job/{course.name}/{job_id_of(run, kind, index)}/explain")

    def of_run(self, run):
        return self.course.data("GET", f"/grading_run/{self.course.name}/{run}/explain")

    def grader(self, grader):
        return self.operate("GET", f"/worker/{grader.name}/explain")

    def says(self, ask, *words, state="waiting"):
        """Waits until the answer has exactly these reasons; returns them."""
        seen = {}

        def is_so():
            seen.update(answer=ask())
            answer = seen["answer"]
            return answer["state"] == state and [reason["reason"] for reason in answer["reasons"]] == list(words)

        try:
            wait_until(is_so, GONE_S, f"the reasons are {words}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen['answer']}") from None
        for reason in seen["answer"]["reasons"]:
            assert reason["detail"] and reason["changes_when"], reason
        return seen["answer"]["reasons"]

    # ---- The end ----

    def keep(self, made):
        self.made.append(made)
        return made

    def close(self):
        self.is_over.set()
        self.beats.join()
        while self.made:
            self.made.pop().close()
        for name in self.reserved:
            self.operate("POST", f"/scheduling/reservations/{name}/delete")
        self.operate("POST", "/cluster_resume")
        for run in self.stack.database.active_runs():
            course = self.stack.database.run(run).get("course")
            path = run if course is None else f"{course}/{run}"
            headers = {} if course is None else bearer(TOKEN)
            assert self.stack.api.request(
                "POST", f"{ROUTE}/grading_run/{path}/cancel", headers=headers
            ).status_code in (200, 409)
        wait_until(lambda: not self.stack.database.active_runs(), 5, "all runs are over")
        live = {"alive": True}
        wait_until(lambda: not self.stack.database.db.workers.find_one(live), GONE_S, "all graders are dead")

    def _beat(self):
        while not self.is_over.wait(0.5):
            for grader in list(self.beating.values()):
                grader.beat()


@pytest.fixture
def side(module_stack):
    side = Side(module_stack)
    yield side
    side.close()


def run_of_job(job):
    return (job.get("grading_job_id") or job["job_id"])[:24]


def takes(grader, run):
    """The grader gets a job of the run; returns it."""
    job = grader.take(soon())
    assert run_of_job(job) == run
    return job


# ---- Graders of a job ----


def test_no_grader_until_one_asks(side):
    run = side.run()
    (reason,) = side.says(lambda: side.job(run), "no_grader")
    assert (reason["protocol"], reason["detail"].split(";")[0]) == (
        "course",
        "no grader of the course protocol is alive",
    )
    takes(side.idle(), run)


def test_a_grader_of_the_other_protocol_is_none(side):
    run = side.run()
    grader = side.keep(ClassicGrader(side.stack.urls[0], side.stack.cluster_token))
    assert grader.poll() is None
    side.says(lambda: side.job(run), "no_grader")
    takes(side.waiting(), run)


def test_a_grader_that_does_not_ask(side):
    grader, run = side.idle(), side.run()
    (reason,) = side.says(lambda: side.job(run), "grader_not_asking")
    assert reason["graders"] == 1
    takes(grader, run)


def test_a_grader_that_is_full(side):
    grader, run = side.idle(), side.run(2)
    job = takes(grader, run)
    (reason,) = side.says(lambda: side.job(run, 1), "grader_full")
    assert reason["graders"] == 1
    grader.finish(job)
    side.says(lambda: side.job(run, 1), "grader_not_asking")
    takes(grader, run)


def test_a_grader_that_is_paused(side):
    grader = side.idle()
    side.operate("POST", f"/worker/{grader.name}/pause", {"note": "old"})
    run = side.run()
    assert grader.poll() is None
    (reason,) = side.says(lambda: side.job(run), "grader_paused")
    assert reason["graders"] == 1
    side.operate("POST", f"/worker/{grader.name}/resume")
    side.says(lambda: side.job(run), "grader_not_asking")
    takes(grader, run)


def test_a_grader_that_has_a_fault(side):
    grader, run = side.idle(fault="no disk"), side.run()
    (reason,) = side.says(lambda: side.job(run), "grader_faulty")
    assert reason["graders"] == 1
    of_grader = side.says(lambda: side.grader(grader), "grader_faulty", "grader_not_asking")
    assert of_grader[0]["fault"] == "no disk"
    assert grader.http.post(f"/heartbeat/{grader.name}", params={"fault": ""}).status_code == 200
    side.says(lambda: side.job(run), "grader_not_asking")
    takes(grader, run)


def test_a_grader_that_fails_each_job(side):
    grader, run = side.idle(), side.run(6)
    for _ in range(5):
        grader.finish(takes(grader, run), success=False)
    (reason,) = side.says(lambda: side.job(run, 5), "grader_failing")
    assert reason["graders"] == 1
    of_grader = side.says(lambda: side.grader(grader), "grader_failing", "grader_not_asking")
    assert 0 < of_grader[0]["retry_in_ms"] <= 60000
    side.operate("POST", f"/worker/{grader.name}/resume")
    side.says(lambda: side.job(run, 5), "grader_not_asking")
    takes(grader, run)


def test_several_graders_are_counted_by_their_reasons(side):
    full, idle, paused = side.idle(), side.idle(), side.idle()
    side.operate("POST", f"/worker/{paused.name}/pause", {})
    run = side.run(2)
    takes(full, run)
    reasons = side.says(lambda: side.job(run, 1), "grader_paused", "grader_full", "grader_not_asking")
    assert [reason["graders"] for reason in reasons] == [1, 1, 1]
    takes(idle, run)


# ---- Tags and reservations ----


def test_no_grader_has_the_tags(side):
    gpu, large = unique("gpu"), unique("large")
    side.idle(tags=large)
    run = side.run(requires=[gpu, large])
    (reason,) = side.says(lambda: side.job(run), "tags_missing")
    assert (reason["tags"], reason["missing"], reason["graders"]) == (sorted([gpu, large]), [gpu], 1)
    able = side.idle(tags=f"{large},{gpu}")
    side.says(lambda: side.job(run), "grader_not_asking")
    takes(able, run)


def test_the_graders_with_the_tags_are_reserved(side):
    lab = unique("lab")
    side.reserve(lab, [side.new_course().name])
    grader, run = side.idle(tags=lab), side.run()
    (reason,) = side.says(lambda: side.job(run), "reserved")
    assert reason["graders"] == 1 and "reservations" not in reason  # whose name may be another course's
    assert grader.poll() is None
    side.end_reservation(lab)
    side.says(lambda: side.job(run), "grader_not_asking")
    takes(grader, run)


# ---- Returned jobs, retries ----


def return_of(job):
    return {"grading_job_id": job["grading_job_id"], "outcome": "infrastructure", "reason": "no image"}


def returning(grader, job):
    answer = grader.http.post(f"/grading_job/{grader.name}", json=return_of(job))
    assert answer.status_code == 200, answer.text


def test_the_only_grader_has_returned_it(side):
    grader, run = side.idle(), side.run()
    returning(grader, takes(grader, run))
    (reason,) = side.says(lambda: side.job(run), "returned")
    assert reason["graders"] == 1 and 0 < reason["retry_in_ms"] <= 30000
    (of_grader,) = [it for it in side.grader(grader)["reasons"] if it["reason"] == "returned"]
    assert of_grader["jobs"] == 1 and 0 < of_grader["retry_in_ms"] <= 30000
    assert grader.poll() is None
    other = side.idle()
    takes(other, run)


def test_a_job_that_those_who_wait_have_returned_is_put_off(side):
    grader, run = side.waiting(), side.run()
    job = takes(grader, run)
    grader.send({"type": "job_result", "args": return_of(job)})
    reasons = side.says(lambda: side.job(run), "put_off", "returned")
    assert 0 <= reasons[0]["retry_in_ms"] <= 500
    takes(side.waiting(), run)


def test_a_retry_that_is_not_due(side):
    first, second, run = side.idle(), side.idle(), side.run()
    returning(first, takes(first, run))
    returning(second, takes(second, run))
    (reason,) = side.says(lambda: side.job(run), "retry_not_due")
    assert 0 < reason["retry_in_ms"] <= 5000 and reason["attempt"] == 3
    third = side.waiting()
    begun, left = time.monotonic(), reason["retry_in_ms"] / 1000
    job = third.take(10)
    assert run_of_job(job) == run and left - 1 < time.monotonic() - begun < left + soon()


# ---- The run ----


@pytest.mark.parametrize("what", ["run", "assignment", "course", "cluster"])
def test_what_a_job_belongs_to_is_paused(side, what):
    course = side.course.name
    takes(side.waiting(), side.run())
    run = side.run()
    paths = {
        "run": f"/grading_run/{course}/{run}",
        "assignment": f"/assignment/{course}/{side.assignment}",
        "course": f"/course/{course}",
    }

    def do(verb, body=None):
        if what == "cluster":
            return side.operate("POST", f"/cluster/{verb}", body)
        return side.course.data("POST", f"{paths[what]}/{verb}", body or {})

    pause = do("pause", {"note": "wrong tests", "timeout": 600})["paused"]
    other = side.waiting()
    (reason,) = side.says(lambda: side.job(run), "paused")
    assert reason["pause"] == pause and pause["kind"] == what
    assert reason["detail"] == f"the {what} is paused by {pause['by']} since {pause['at']}: wrong tests"
    assert other.receives_nothing(0.2)
    do("resume")
    takes(other, run)


def test_a_pause_that_ends_by_itself(side):
    run = side.run()
    side.course.data("POST", f"/grading_run/{side.course.name}/{run}/pause", {"timeout": 2})
    grader = side.waiting()
    (reason,) = side.says(lambda: side.job(run), "paused")
    assert reason["pause"]["until"] is not None
    takes(grader, run)


def test_a_students_job_waits_for_the_job_before_it(side):
    run = side.configured(config_of(pre=True))
    grader = side.idle()
    job = takes(grader, run)
    side.says(lambda: side.job(run), "preprocessing_not_done")
    grader.finish(job)
    side.says(lambda: side.job(run), "grader_not_asking")
    assert takes(grader, run)["grading_job_id"] == job_id_of(run, STUDENT)


def test_the_last_job_waits_for_the_students(side):
    run = side.configured(config_of(post=True), 2)
    grader = side.idle()
    (reason,) = side.says(lambda: side.job(run, kind=POST), "students_not_done")
    assert reason["jobs"] == 2
    grader.finish(takes(grader, run))
    assert side.says(lambda: side.job(run, kind=POST), "students_not_done")[0]["jobs"] == 1
    grader.finish(takes(grader, run))
    side.says(lambda: side.job(run, kind=POST), "grader_not_asking")
    assert takes(grader, run)["grading_job_id"] == job_id_of(run, POST)


def test_a_paused_job_before_the_students_holds_them_back_twice(side):
    run = side.configured(config_of(pre=True))
    side.course.data("POST", f"/grading_run/{side.course.name}/{run}/pause", {})
    grader = side.idle()
    side.says(lambda: side.job(run), "paused", "preprocessing_not_done")
    side.course.data("POST", f"/grading_run/{side.course.name}/{run}/resume")
    side.says(lambda: side.job(run), "preprocessing_not_done")
    grader.finish(takes(grader, run))
    takes(grader, run)


def test_a_job_without_stages_of_a_paused_run(side):
    run = side.configured({**config_of(pre=True), "student_pipeline": []})
    grader = side.idle()
    job = takes(grader, run)
    side.course.data("POST", f"/grading_run/{side.course.name}/{run}/pause", {})
    grader.finish(job)
    side.says(lambda: side.job(run), "paused", "no_stages")
    side.course.data("POST", f"/grading_run/{side.course.name}/{run}/resume")
    side.says(lambda: side.job(run), state="ended")
    assert side.job(run) == {"state": "ended", "outcome": "succeeded", "reasons": []}


# ---- The order ----


def test_jobs_ahead_of_its_own_run_and_of_an_earlier_one(side):
    grader = side.idle()
    early, run = side.run(2), side.run(3)
    job = takes(grader, early)
    ahead, _ = side.says(lambda: side.job(run, 2), "jobs_ahead", "grader_full")
    assert (ahead["count"], ahead["of_run"]) == (3, 2)
    assert ahead["ahead"] == [{"course": side.course.name, "jobs": 3}]
    for left in (2, 1, 0):
        grader.finish(job)
        job = grader.take(soon())
        reasons = side.says(lambda: side.job(run, 2), *(["jobs_ahead"] if left else []), "grader_full")
        assert not left or reasons[0]["count"] == left
    grader.finish(job)
    assert takes(grader, run)["grading_job_id"] == job_id_of(run, STUDENT, 2)


def test_the_share_is_used_up_and_the_others_are_not_named(side):
    other = side.new_course()
    grader = side.idle()
    run = side.run(2)
    job = takes(grader, run)
    theirs = side.run(2, other)
    ahead, share, full = side.says(lambda: side.job(run, 1), "jobs_ahead", "share_used_up", "grader_full")
    assert ahead["ahead"] == [{"course": None, "jobs": ahead["count"]}] and ahead["count"] in (1, 2)
    assert (share["course"], share["courses"], share["weight"]) == (side.course.name, 1, 100)
    assert theirs[:24] not in json.dumps([ahead, share, full])
    grader.finish(job)
    job = takes(grader, theirs)
    for _ in range(2):
        if run_of_job(job) == theirs:
            grader.finish(job)
            job = grader.take(soon())
    assert run_of_job(job) == run


def test_a_class_goes_first_whichever_share_is_used_up(side):
    other = side.new_course()
    grader = side.idle()
    held = side.run(1, other)
    job = takes(grader, held)
    run, exam = side.run(), side.run(1, other, **{"class": "exam"})
    ahead, _ = side.says(lambda: side.job(run), "jobs_ahead", "grader_full")
    assert ahead["ahead"] == [{"course": None, "jobs": 1}] and ahead["of_run"] == 0
    grader.finish(job)
    job = takes(grader, exam)
    side.says(lambda: side.job(run), "grader_full")
    grader.finish(job)
    takes(grader, run)


@pytest.mark.parametrize("change", ["a job of the course ends", "its limit max_running is raised"])
def test_the_course_runs_as_many_jobs_as_it_may(side, change):
    side.operate("POST", f"/scheduling/courses/{side.course.name}", {"max_running": 1})
    second, run = side.waiting(), side.run(2)
    job = takes(second, run)
    first = side.idle()
    reason, *_ = side.says(lambda: side.job(run, 1), "course_limit", "grader_full", "grader_not_asking")
    assert (reason["course"], reason["running"], reason["max_running"]) == (side.course.name, 1, 1)
    assert change in reason["changes_when"]
    assert first.poll() is None
    if change.startswith("a job"):
        second.finish(job)
    else:
        side.operate("POST", f"/scheduling/courses/{side.course.name}", {"max_running": 2})
    takes(first if not change.startswith("a job") else second, run)
    side.operate("POST", f"/scheduling/courses/{side.course.name}/delete")


# ---- Runs ----


def test_a_run_is_a_summary_of_its_jobs(side):
    run = side.configured(config_of(post=True), 4)
    grader = side.idle()
    grader.finish(takes(grader, run))
    takes(grader, run)
    side.says(lambda: side.of_run(run), "grader_full", state="running")
    answer = side.of_run(run)
    assert answer["jobs"] == {"waiting": 3, "running": 1, "ended": 1}
    assert answer["next_job"] == job_id_of(run, STUDENT, 2)
    assert answer["waiting"] == [
        {"reason": "students_not_done", "jobs": 1},
        {"reason": "jobs_ahead", "jobs": 1},
        {"reason": "grader_full", "jobs": 1},
    ]
    side.course.data("POST", f"/grading_run/{side.course.name}/{run}/pause", {})
    side.says(lambda: side.of_run(run), "paused", state="running")
    assert side.of_run(run)["waiting"] == [{"reason": "paused", "jobs": 3}]


def test_a_job_that_runs_and_one_that_ended(side):
    grader, run = side.idle(hostname="lab-9"), side.run(2)
    job = takes(grader, run)
    answer = side.job(run)
    assert (answer["state"], answer["reasons"]) == ("running", [])
    assert (answer["grader"]["worker"], answer["grader"]["hostname"]) == (grader.name, "lab-9")
    assert answer["grader"]["attempt"] == 1 and answer["grader"]["since"].endswith("Z")
    grader.finish(job, success=False)
    assert side.job(run) == {"state": "ended", "outcome": "failed", "reasons": []}
    grader.finish(takes(grader, run))
    wait_until(lambda: side.of_run(run)["state"] == "ended", 5, "the run is over")
    assert side.job(run, 1) == {"state": "ended", "outcome": "succeeded", "reasons": []}
    assert side.of_run(run) == {"state": "ended", "outcome": "finished", "reasons": []}
    wait_until(lambda: side.stack.database.run(run).get("finished_at"), 5, "its end is recorded")
    assert side.job(run, 0)["outcome"] == "failed" and side.of_run(run)["outcome"] == "finished"


# ---- Graders ----


def test_a_grader_for_which_no_job_waits(side):
    grader = side.waiting()
    side.says(lambda: side.grader(grader), "no_job")
    takes(grader, side.run())
    reasons = side.says(lambda: side.grader(grader), "grader_full", "grader_not_asking", "no_job", state="working")
    assert (reasons[0]["held"], reasons[0]["concurrency"]) == (1, 1)


def test_a_grader_without_the_tags_of_all_jobs_that_wait(side):
    gpu, grader = unique("gpu"), side.waiting(tags="cpu")
    run = side.run(3, requires=[gpu])
    (reason,) = side.says(lambda: side.grader(grader), "tags_missing")
    assert (reason["jobs"], reason["tags"]) == (3, ["cpu"])
    less = side.run()
    takes(grader, less)
    takes(side.waiting(tags=gpu), run)


def test_a_reserved_grader_and_a_paused_run(side):
    lab, ours = unique("lab"), side.new_course()
    side.reserve(lab, [ours.name])
    grader = side.waiting(tags=lab)
    ours.data("POST", f"/course/{ours.name}/pause", {})
    run, paused = side.run(2), side.run(1, ours)
    of_paused, of_others = side.says(lambda: side.grader(grader), "paused", "reserved")
    assert of_paused["jobs"] == 1
    assert of_others["jobs"] == 2 and of_others["reservations"] == [f"for-{lab}"]
    ours.data("POST", f"/course/{ours.name}/resume")
    grader.finish(takes(grader, paused))
    (of_others,) = side.says(lambda: side.grader(grader), "reserved")
    side.end_reservation(lab)
    takes(grader, run)


def test_a_dead_grader(side):
    grader, run = side.idle(), side.run()
    assert side.grader(grader)["state"] == "waiting"
    side.silence(grader)
    reasons = side.says(lambda: side.grader(grader), "grader_dead", "grader_not_asking", state="dead")
    assert reasons[0]["silent_ms"] >= 3000
    side.says(lambda: side.job(run), "no_grader")
    assert side.job(run)["reasons"][0]["graders"] >= 1
    takes(grader, run)


# ---- The classic protocol ----


@pytest.fixture
def ask(module_stack):
    def ask(path, status=200, **request):
        answer = module_stack.api.request("GET", f"{ROUTE}{path}", **request)
        assert answer.status_code == status, answer.text
        return answer.json()

    return ask


def words_of(answer):
    return [reason["reason"] for reason in answer["reasons"]]


def test_a_classic_run_is_not_started_then_waits_then_runs(side, ask):
    api = side.stack.api
    run = api.submit(run_of(2))
    job = job_id_of(run, STUDENT)
    for path in (f"/grading_run/{run}", f"/grading_job/{job}"):
        assert (ask(f"{path}/explain")["state"], words_of(ask(f"{path}/explain"))) == ("waiting", ["not_started"])
    api.start(run)
    side.says(lambda: ask(f"/grading_job/{job}/explain"), "no_grader")
    grader = side.keep(ClassicGrader(side.stack.urls[0], side.stack.cluster_token, hostname="old", concurrency=1))
    grader.take()
    answer = ask(f"/grading_job/{job}/explain")
    assert (answer["state"], answer["grader"]["worker"]) == ("running", grader.id[:8])
    second = ask(f"/grading_job/{job_id_of(run, STUDENT, 1)}/explain")
    assert words_of(second) == ["grader_full"]
    assert ask(f"/grading_run/{run}/explain")["jobs"] == {"waiting": 1, "running": 1, "ended": 0}
    operator = {"headers": bearer(side.stack.cluster_token), "params": {"worker_id": grader.id}}
    of_grader = ask("/worker_explain", **operator)
    assert (of_grader["state"], words_of(of_grader)[0]) == ("working", "grader_full")
    grader.finish(job)
    assert grader.take()["job_id"] == job_id_of(run, STUDENT, 1)


def test_classic_jobs_ahead_are_of_no_course(side, ask):
    api = side.stack.api
    grader = side.keep(ClassicGrader(side.stack.urls[0], side.stack.cluster_token, hostname="old", concurrency=1))
    run = api.submit_and_start(run_of(4))
    grader.take()
    ahead, _ = ask(f"/grading_job/{job_id_of(run, STUDENT, 3)}/explain")["reasons"]
    assert ahead["ahead"] == [{"course": "", "jobs": 2}] and ahead["of_run"] == 2
    api.request("POST", f"{ROUTE}/grading_job/{job_id_of(run, STUDENT, 1)}/cancel")
    ahead, _ = ask(f"/grading_job/{job_id_of(run, STUDENT, 3)}/explain")["reasons"]
    assert ahead["count"] == 1


# ---- Who may ask, and what is refused ----


def test_what_may_not_be_read_is_not_explained(side, ask):
    run, other = side.run(), side.new_course()
    for path in (
        f"/grading_run/{other.name}/{run}/explain",
        f"/grading_job/{other.name}/{job_id_of(run, STUDENT)}/explain",
    ):
        answer = other.ask("GET", path)
        assert answer.status_code == 400 and "not found" in answer.text
    looks = Course(side.stack.urls[0], side.course.name, QUERY)
    assert looks.ask("GET", f"/grading_run/{side.course.name}/{run}/explain").status_code == 401
    looks.close()
    assert side.course.ask("GET", "/worker/somebody/explain").status_code == 401
    ask(f"/grading_run/{run}/explain", 400)  # not of the classic protocol
    ask(f"/grading_run/{'0' * 24}/explain", 400)
    ask(f"/grading_job/{'0' * 32}/explain", 400)
    operator = bearer(side.stack.cluster_token)
    unknown = ask("/worker_explain", 400, headers=operator, params={"worker_id": "x"})
    assert unknown["error"] == "there is no grader with this id"
    assert ask("/worker/nobody/explain", 400, headers=operator)["data"]["message"] == "there is no grader with this id"


# ---- Without a leader, without the database ----


def test_no_leader(side):
    run = side.run()
    side.stack.kill("scheduler-0")
    (reason,) = side.says(lambda: side.job(run), "no_leader", state="unknown")
    assert reason["changes_when"] == "a scheduler leads"
    side.says(lambda: side.of_run(run), "no_leader", state="unknown")
    side.stack.restart("scheduler-0")
    side.says(lambda: side.job(run), "no_grader")
    takes(side.waiting(), run)


def test_the_database_is_unavailable(side, ask):
    run = side.run()
    side.stack.kill("database")
    path = f"/grading_run/{side.course.name}/{run}/explain"

    def refused():
        answer = side.course.ask("GET", path)
        return answer.json() if answer.status_code == 503 else None

    assert wait_until(refused, 10, "the run can't be read")["reason"] == "database_unavailable"
    side.stack.restart("database")
    wait_until(lambda: side.course.ask("GET", path).status_code == 200, 20, "the run can be read")
    side.says(lambda: side.job(run), "no_grader")
    takes(side.waiting(), run)
