"""What the scheduler makes of classes, priorities, shares, submitters, required tags and reservations, in both
protocols. Orders are read with one grader that finishes each job at once: all jobs cost the same then, so that turns
alternate. Each test has courses of its own: what others were charged doesn't count."""

import json
import time

import pytest
from broadway import ROUTE, ClassicGrader
from course import Course, CourseGrader, config_of
from course_names import bearer, unique
from harness import run_stack
from pipelines import STUDENT, job_id_of, run_of
from socket_grader import SocketGrader
from waiting import holds_for, soon, wait_until

TOKEN = "admin-of-all"
CLASSES = ["exam", "interactive", "normal", "batch"]
NAMES = [f"course-{number}" for number in range(60)]
COURSES = {
    **{name: {"tokens": [TOKEN], "classes": CLASSES} for name in NAMES},
    "heavy": {"tokens": [TOKEN], "weight": 300},
    "narrow": {"tokens": [TOKEN], "max_running": 1},
}
fresh_names = iter(NAMES)

A_WHILE_S = 0.3


@pytest.fixture(scope="module")
def module_stack(tmp_path_factory):
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps(COURSES), encoding="utf-8")
    yield from run_stack(
        tmp_path_factory,
        "order",
        both=("heartbeat-interval=5",),
        api=(f"course-config={config}", "course-poll-wait=0"),
        scheduler=("leader-lease=1",),
    )


class CourseSide:
    """A course, and graders of its protocol that poll."""

    def __init__(self, desk, name=None):
        self.desk = desk
        self.course = desk.course(name)
        self.assignment = self.course.configure(config_of())

    def run(self, count=1, **more):
        return self.course.start(self.assignment, count, **more)

    def grader(self, tags=None):
        return self.desk.grader(tags)

    def check_waits(self, run):
        """A run with one job that nobody can take is shown like any that waits."""
        assert self.course.position(job_id_of(run, STUDENT, 0)) == 0
        status = self.course.status(run)
        assert status["state"] == "students grading jobs have been scheduled" and "waiting_for" not in status, status


class ClassicSide:
    """The same of the classic protocol, whose runs all belong to no course."""

    def __init__(self, desk):
        self.desk = desk

    def run(self, count=1, **more):
        return self.desk.stack.api.submit_and_start(run_of(count, **more))

    def grader(self, tags=None):
        return self.desk.classic_grader(tags)

    def check_waits(self, run):
        status = self.desk.stack.api.status(run)
        assert status["state"] == "students" and "waiting_for" not in status, status


class Desk:
    """An operator, who makes courses and graders, and cleans up after a test."""

    def __init__(self, stack):
        self.stack = stack
        self.made = []
        self.shares = set()

    def ask(self, method, path, body=None):
        headers = bearer(self.stack.cluster_token)
        answer = self.stack.api.request(method, f"{ROUTE}/scheduling{path}", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def share(self, course, **share):
        self.shares.add(course.name)
        self.ask("POST", f"/courses/{course.name}", share)

    def reset_share(self, course):
        self.ask("POST", f"/courses/{course.name}/delete")

    def reserve(self, tag, courses=None, **more):
        """Reserves the graders with this tag; returns the reservation's name."""
        names = None if courses is None else [course.name for course in courses]
        self.ask("POST", f"/reservations/for-{tag}", {"tags": [tag], "courses": names, **more})
        return f"for-{tag}"

    def end(self, reservation):
        self.ask("POST", f"/reservations/{reservation}/delete")

    def course(self, name=None):
        return self._keep(Course(self.stack.urls[0], name or next(fresh_names), TOKEN))

    def grader(self, tags=None):
        more = {} if tags is None else {"tags": tags}
        return self._keep(CourseGrader(self.stack.urls[0], self.stack.cluster_token, **more))

    def classic_grader(self, tags=None):
        more = {} if tags is None else {"tags": tags}
        return self._keep(ClassicGrader(self.stack.urls[0], self.stack.cluster_token, **more))

    def waiting_grader(self, tags=None):
        """A grader with a websocket, which waits from now on."""
        return self._keep(SocketGrader(self.stack.urls[0], self.stack.cluster_token, tags=tags))

    def handed_out(self, run):
        """How many of the run's jobs were handed out so far."""
        return len(self.stack.database.leases(run))

    def holder(self, graders, run):
        """Which of the graders has the run's first job."""
        worker = self.stack.database.leases(run)[0]["worker"]
        return next(grader for grader in graders if grader.name == worker)

    def restart_scheduler(self):
        self.stack.kill("scheduler-0")
        self.stack.restart("scheduler-0")

    def close(self):
        while self.made:
            self.made.pop().close()
        for reservation in self.ask("GET", "")["reservations"]:
            self.end(reservation["name"])
        for course in self.shares:
            self.ask("POST", f"/courses/{course}/delete")
        for run in self.stack.database.active_runs():
            self._cancel(run)
        wait_until(lambda: not self.stack.database.active_runs(), 5, "all runs are over")

    def _cancel(self, run):
        course = self.stack.database.run(run).get("course")
        path = f"{ROUTE}/grading_run/{run}/cancel" if course is None else f"{ROUTE}/grading_run/{course}/{run}/cancel"
        answer = self.stack.api.request("POST", path, headers=bearer(TOKEN) if course is not None else {})
        assert answer.status_code in (200, 409), answer.text

    def _keep(self, made):
        self.made.append(made)
        return made


@pytest.fixture
def desk(module_stack):
    desk = Desk(module_stack)
    yield desk
    desk.close()


@pytest.fixture(params=[ClassicSide, CourseSide], ids=["classic", "course"])
def side(request, desk):
    return request.param(desk)


def run_of_job(job):
    return (job.get("grading_job_id") or job["job_id"])[:24]


def order_of(grader, count):
    """The runs of the next `count` jobs, each finished at once."""
    runs = []
    for _ in range(count):
        job = grader.take()
        runs.append(run_of_job(job))
        grader.finish(job)
    return runs


def share_evenly(grader, count, weights):
    """Takes and finishes `count` jobs of the runs in `weights`. Whenever one has ended, the runs have had graders' time
    by their weights, but for about a job. A job counts a second, and more only on a very busy machine."""
    spent, largest = dict.fromkeys(weights, 0), 1
    for _ in range(count):
        begun = time.monotonic()
        job = grader.take()
        grader.finish(job)
        run, cost = run_of_job(job), max(1, time.monotonic() - begun)
        spent[run] += cost / weights[run]
        largest = max(largest, cost)
        assert max(spent.values()) - min(spent.values()) < 1.5 * largest, spent


def named(order, **runs):
    """The order as a string, with a letter for each run."""
    letters = {run: letter for letter, run in runs.items()}
    return "".join(letters[run] for run in order)


def finish_next(grader, run):
    """A grader that waits has got a job of this run, or gets it at once; it is finished."""
    job = grader.take(soon())
    assert run_of_job(job) == run
    grader.finish(job)


# ---- Classes and priorities ----


def test_classes_go_before_each_other_across_courses(desk):
    batch, normal, interactive, exam = (CourseSide(desk) for _ in range(4))
    b = batch.run(4, **{"class": "batch"})
    n = normal.run(2)
    i = interactive.run(2, **{"class": "interactive"})
    e = exam.run(2, **{"class": "exam"})
    f = batch.run(2, **{"class": "exam"})  # courses take turns within a class
    grader = desk.grader()
    first = named(order_of(grader, 4), e=e, f=f)
    assert sorted(first[:2]) == sorted(first[2:]) == ["e", "f"]
    assert named(order_of(grader, 5), i=i, n=n, b=b) == "iinnb"
    i = interactive.run(1, **{"class": "interactive"})
    assert named(order_of(grader, 4), i=i, b=b) == "ibbb"
    assert grader.poll() is None


def test_classes_of_classic_runs_go_before_priorities(desk):
    side = ClassicSide(desk)
    b = side.run(2, priority=100, **{"class": "batch"})
    n = side.run(2)
    m = side.run(2, priority=1)
    i = side.run(2, **{"class": "interactive"})
    e = side.run(2, priority=-100, **{"class": "exam"})
    grader = side.grader()
    assert named(order_of(grader, 10), b=b, n=n, m=m, i=i, e=e) == "eeiimmnnbb"
    assert grader.poll() is None


def test_a_priority_counts_within_its_course(desk):
    one, other = CourseSide(desk), CourseSide(desk)
    x = one.run(2)
    again = one.course.data("POST", f"/grading_run/{one.course.name}/{x}/rerun", {"select": "all", "priority": 100})
    y = again["grading_run_id"]
    z = other.run(4)
    assert named(order_of(desk.grader(), 8), x=x, y=y, z=z) == "yzyzxzxz"


# ---- Shares ----


def test_a_weight_counts_at_once_and_until_it_is_deleted(desk):
    one, other = CourseSide(desk), CourseSide(desk)
    a, b = one.run(60), other.run(60)
    grader = desk.grader()
    assert named(order_of(grader, 4), a=a, b=b) == "abab"
    desk.share(one.course, weight=300)
    share_evenly(grader, 40, {a: 3, b: 1})
    desk.reset_share(one.course)
    share_evenly(grader, 20, {a: 1, b: 1})


def test_shares_of_the_course_file_count(desk):
    heavy, narrow, other = CourseSide(desk, "heavy"), CourseSide(desk, "narrow"), CourseSide(desk)
    a, b = heavy.run(20), other.run(20)
    share_evenly(desk.grader(), 16, {a: 3, b: 1})
    c = narrow.run(2, **{"class": "interactive"})
    holder, grader = desk.grader(), desk.grader()
    job = holder.take()
    assert run_of_job(job) == c
    assert c not in order_of(grader, 2)
    holder.finish(job)
    assert named(order_of(grader, 1), c=c) == "c"


def test_no_more_jobs_of_a_course_run_at_once_than_it_may(desk):
    side, other = CourseSide(desk), CourseSide(desk)
    desk.share(side.course, max_running=1)
    graders = [desk.waiting_grader() for _ in range(4)]
    run = side.run(8)
    wait_until(lambda: desk.handed_out(run) == 1, 5, "one job is handed out")
    holds_for(lambda: desk.handed_out(run) == 1, A_WHILE_S, "no other one is")
    small = other.run(1)
    wait_until(lambda: desk.handed_out(small) == 1, 5, "a job of another course is handed out meanwhile")
    finish_next(desk.holder(graders, small), small)
    desk.share(side.course, max_running=3)
    begun = time.monotonic()
    wait_until(lambda: desk.handed_out(run) == 3, 5, "two more are handed out")
    assert time.monotonic() - begun < soon()
    holds_for(lambda: desk.handed_out(run) == 3, A_WHILE_S, "no other one is")
    desk.share(side.course, max_running=0)
    wait_until(lambda: desk.handed_out(run) == 4, 5, "each grader has one")
    assert {run_of_job(grader.take(soon())) for grader in graders} == {run}


def test_a_lower_limit_lets_jobs_that_run_go_on(desk):
    side = CourseSide(desk)
    run = side.run(4)
    graders = [desk.grader() for _ in range(3)]
    jobs = [grader.take() for grader in graders]
    desk.share(side.course, max_running=2)
    graders[0].finish(jobs[0])
    assert all(graders[0].poll() is None for _ in range(5))
    assert side.course.position(job_id_of(run, STUDENT, 3)) == 0
    graders[1].finish(jobs[1])
    assert order_of(graders[1], 1) == [run]
    graders[2].finish(jobs[2])
    wait_until(lambda: side.course.state(run) == "grading run is complete", 5, "the run is complete")


# ---- Submitters ----


def test_one_submission_is_not_behind_another_submitters_fifty(side):
    many, one = unique("many"), unique("one")
    fifty = [side.run(1, submitter=many) for _ in range(50)]
    grader = side.grader()
    assert order_of(grader, 5) == fifty[:5]
    single = side.run(1, submitter=one)
    assert single in order_of(grader, 2)
    three = side.run(3, submitter=one)
    order = named([run if run == three else "many" for run in order_of(grader, 8)], o=three, m="many")
    assert order in ("omomommm", "momomomm")


# ---- Required tags ----


def test_a_job_goes_only_to_a_grader_with_its_tags_and_blocks_no_other(side):
    gpu, big = unique("gpu"), unique("big")
    needs = side.run(1, requires=[gpu, big])
    plain = side.run(2)
    graders = [side.grader(), side.grader(gpu), side.grader(f"{big},other")]
    assert order_of(graders[0], 1) + order_of(graders[1], 1) == [plain, plain]
    assert all(grader.poll() is None for grader in graders)
    side.check_waits(needs)
    able = side.grader(f"{gpu},{big},other")
    assert order_of(able, 1) == [needs]


def test_a_job_is_handed_out_when_a_grader_with_its_tags_registers(desk):
    side, gpu = CourseSide(desk), unique("gpu")
    bystander = desk.waiting_grader()
    needs = side.run(1, requires=[gpu])
    plain = side.run(1)
    finish_next(bystander, plain)
    side.check_waits(needs)
    finish_next(desk.waiting_grader(gpu), needs)


def test_a_job_without_tags_goes_to_a_grader_without_if_both_wait(desk):
    side, gpu = CourseSide(desk), unique("gpu")
    able = desk.waiting_grader(gpu)
    bystander = desk.waiting_grader()
    plain = side.run(1)
    finish_next(bystander, plain)
    finish_next(able, side.run(1, requires=[gpu]))


# ---- Reservations ----


def test_a_reserved_grader_gets_only_allowed_jobs_until_the_reservation_is_deleted(desk):
    lab, ours, other = unique("lab"), CourseSide(desk), CourseSide(desk)
    reservation = desk.reserve(lab, [ours.course], classes=["exam", "normal"])
    grader = desk.waiting_grader(f"{lab},more")
    waiting = [other.run(1, **{"class": "exam"}), ours.run(1, **{"class": "interactive"})]
    finish_next(grader, ours.run(1))
    finish_next(grader, ours.run(1, **{"class": "exam"}))
    assert [desk.handed_out(run) for run in waiting] == [0, 0]
    desk.end(reservation)
    for run in waiting:
        finish_next(grader, run)


def test_jobs_go_to_the_graders_that_are_reserved_for_them_first(desk):
    lab, ours, other = unique("lab"), CourseSide(desk), CourseSide(desk)
    desk.reserve(lab, [ours.course])
    free = desk.waiting_grader()
    reserved = desk.waiting_grader(lab)
    run = ours.run(1)
    job = reserved.take(soon())
    assert run_of_job(job) == run
    finish_next(free, other.run(1))
    finish_next(free, ours.run(1))
    reserved.finish(job)


def test_a_reservation_that_is_replaced_counts_at_once_and_others_of_the_tags_beside_it(desk):
    lab, one, other, third = unique("lab"), CourseSide(desk), CourseSide(desk), CourseSide(desk)
    desk.reserve(lab, [one.course])
    grader = desk.waiting_grader(lab)
    o, t = other.run(1), third.run(1)
    finish_next(grader, one.run(1))
    desk.reserve(lab, [other.course])
    finish_next(grader, o)
    assert desk.handed_out(t) == 0
    desk.ask("POST", f"/reservations/also-{lab}", {"tags": [lab], "courses": [third.course.name]})
    finish_next(grader, t)
    finish_next(grader, other.run(1))


def test_a_reservation_with_a_timeout_ends_by_itself(desk):
    lab, ours, other = unique("lab"), CourseSide(desk), CourseSide(desk)
    grader = desk.waiting_grader(lab)
    begun = time.monotonic()
    desk.reserve(lab, [ours.course], timeout=1)
    run = other.run(1)
    wait_until(lambda: desk.handed_out(run) == 1, 5, "the job is handed out")
    assert 0.9 < time.monotonic() - begun < 1 + soon()
    finish_next(grader, run)


def test_a_reservation_by_class_concerns_graders_of_the_classic_protocol_too(desk):
    lab, side = unique("lab"), ClassicSide(desk)
    reservation = desk.reserve(lab, classes=["exam"])
    grader = side.grader(lab)
    run = side.run(1)
    assert grader.poll() is None
    exam = side.run(1, **{"class": "exam"})
    assert order_of(grader, 1) == [exam]
    assert grader.poll() is None
    desk.end(reservation)
    assert order_of(grader, 1) == [run]


# ---- A scheduler that is killed ----


def test_shares_limits_and_reservations_outlive_the_scheduler(desk):
    lab, mark = unique("lab"), unique("mark")
    one, other, narrow, kept = (CourseSide(desk) for _ in range(4))
    desk.share(one.course, weight=300)
    desk.share(narrow.course, max_running=1)
    desk.reserve(lab, [kept.course])
    a, b = one.run(20, requires=[mark]), other.run(20, requires=[mark])
    n = narrow.run(3, **{"class": "exam"})
    forbidden = other.run(1, requires=[lab], **{"class": "exam"})
    holder = desk.waiting_grader()
    held = holder.take(soon())
    free, reserved = desk.waiting_grader(), desk.waiting_grader(lab)
    desk.restart_scheduler()
    last = kept.run(1, **{"class": "batch"})
    finish_next(reserved, last)
    holds_for(lambda: desk.handed_out(n) == 1 and desk.handed_out(forbidden) == 0, A_WHILE_S, "both hold")
    holder.finish(held)
    finish_next(free, n)
    share_evenly(desk.grader(mark), 20, {a: 3, b: 1})


def test_classes_tags_and_reservations_of_classic_runs_outlive_the_scheduler(desk):
    lab, gpu, side = unique("lab"), unique("gpu"), ClassicSide(desk)
    desk.reserve(lab, classes=["exam"])
    many, single = unique("many"), unique("one")
    b = side.run(2, **{"class": "batch"})
    m = side.run(3, submitter=many)
    s = side.run(1, submitter=single)
    g = side.run(1, requires=[gpu], **{"class": "interactive"})
    reserved, plain, able = side.grader(lab), side.grader(), side.grader(gpu)
    desk.restart_scheduler()
    e = side.run(2, **{"class": "exam"})
    assert order_of(reserved, 1) == [e]
    order = named(order_of(plain, 7), b=b, m=m, s=s, e=e)
    assert order in ("emsmmbb", "esmmmbb")
    assert reserved.poll() is None and plain.poll() is None
    assert order_of(able, 1) == [g]
