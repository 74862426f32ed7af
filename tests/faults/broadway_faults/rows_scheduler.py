"""Rows 12 to 16, 19 to 22: schedulers that die, are cut off, or are two."""

import signal
import time

from bson import ObjectId

from broadway_faults.cluster import Plan
from broadway_faults.courses import CourseWorker, Staff
from broadway_faults.leaders import LeaderWatch
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, failed_attempts
from broadway_faults.rows_term import post_callback

TWO = {"schedulers": 2}
HAND_OUTS_RESUME_S = 2  # beyond the lease
OVERLAP_S = 0.35  # two reads of the standby, and a margin for a busy machine


def term(scene):
    return (scene.database.leader.find_one() or {}).get("term", 0)


def released_only(scene):
    return failed_attempts(scene) == 0


@row(12, "scheduler: kill -9 idle, and under load", Plan(**TWO))
def kill_leader(scene):
    scene.warm_up()
    before, leader = term(scene), scene.cluster.leader_name()
    begun = time.monotonic()
    scene.kill(leader)
    new = scene.cluster.leader_name()
    took = time.monotonic() - begun
    scene.measure("take-over", seconds=took)
    scene.expect(new != leader, "a standby leads", leader=new)
    scene.expect(took < scene.plan.leader_lease + HAND_OUTS_RESUME_S, "within the lease and a tick", seconds=took)
    scene.expect(term(scene) == before + 1, "the term rose by one", before=before, after=term(scene))
    scene.restart(leader)
    runs = scene.load(runs=3, students=60)
    scene.until(lambda: scene.cluster.metric(new, "broadway_scheduler_queued_jobs"), 15, "jobs wait")
    before = term(scene)
    begun = time.monotonic()
    scene.kill(new)
    again = {"term": {"$gt": before}}
    scene.until(lambda: scene.database.job_leases.count_documents(again), 20, "jobs are handed out again")
    took = time.monotonic() - begun
    scene.measure("hand-outs resume", seconds=took)
    scene.expect(took < scene.plan.leader_lease + HAND_OUTS_RESUME_S, "within the lease and 2 s", seconds=took)
    scene.until(lambda: all_over(runs), 40, "the runs end under the new leader")


def dies_and_is_succeeded(scene, failpoint, students=14, runs=1, **more):
    """A failpoint kills the leader while it works on `runs`; a standby completes them."""
    leader = scene.cluster.leader_name()
    scene.arm(leader, failpoint)
    made = scene.load(runs=runs, students=students, **more)
    scene.died(leader)
    begun = time.monotonic()
    scene.cluster.leader_name()
    scene.measure("take-over", seconds=time.monotonic() - begun)
    scene.until(lambda: all_over(made), 40, "the runs end under the new leader")
    return made


@row(13, "scheduler: kill -9 half-way through a bulk of leases", Plan(**TWO))
def kill_in_bulk(scene):
    scene.warm_up(graders=12, wait=2)
    scene.pause(0.3)
    dies_and_is_succeeded(scene, "half_of_bulk:kill@1", pre=False)
    scene.expect(
        released_only(scene), "an undelivered job has no failed attempt", failed_attempts=failed_attempts(scene)
    )


@row(14, "scheduler: kill -9 after the leases, before the callbacks", Plan(**TWO))
def kill_before_callbacks(scene):
    scene.warm_up(graders=6, wait=2)
    dies_and_is_succeeded(scene, f"before_callbacks:kill@{1 + scene.random.randrange(5)}", runs=2)
    scene.expect(
        released_only(scene), "an undelivered job has no failed attempt", failed_attempts=failed_attempts(scene)
    )


@row(15, "scheduler: kill -9 before post-processing is handed out", Plan(**TWO))
def kill_before_post(scene):
    scene.warm_up()
    made = dies_and_is_succeeded(scene, "before_post_lease:kill@1", students=8)
    posts = scene.database.job_leases.count_documents({"_id": {"$regex": f"^{made[0].run}2"}})
    scene.expect(posts == 1, "the next leader hands it out, once", leases=posts)


@row(16, "scheduler: kill -9 while requeuing a dead worker's jobs", Plan(**TWO, job_timeout=20))
def kill_in_requeue(scene):
    victim = scene.add_idle_grader(concurrency=4)
    scene.submit(students=4, pre=False, post=False)
    jobs = [victim.take()["job_id"] for _ in range(4)]
    leader = scene.cluster.leader_name()
    scene.arm(leader, f"in_requeue:kill@{1 + scene.random.randrange(3)}")
    victim.vanish()
    scene.died(leader)
    scene.add_graders(3)
    scene.until(lambda: all(scene.result(job) for job in jobs), 30, "the rest is queued again and graded")
    ends = [[lease.get("ended") for lease in scene.leases(job)] for job in jobs]
    scene.expect(all(end[:-1] == ["lost"] for end in ends), "one failed attempt each", ends=ends)


@row(19, "scheduler: renewals take 0.9 of the lease", Plan(**TWO, leader_lease=1.5))
def slow_renewals(scene):
    scene.warm_up()
    watch = LeaderWatch(scene)
    before = term(scene)
    for member in scene.cluster.schedulers:
        scene.arm(member.name, "in_renewal:sleep=1350")
    runs = scene.load(runs=2, students=20)
    scene.pause(9)
    changes = term(scene) - before
    scene.until(lambda: all_over(runs), 40, "the runs end")
    scene.expect(watch.stop() < OVERLAP_S, "never two leaders", overlap=watch.longest_overlap_s)
    scene.measure("hand-overs in 9 s", count=changes)
    scene.expect(changes <= 9 / scene.plan.leader_lease + 1, "no flapping", hand_overs=changes)


CUTS = ({"drop": ("up", "down")}, {"refuse": True}, {"drop": ("down",)})
ALL_LINKS = ("db:scheduler-0", "db:scheduler-1", "callbacks:api-0", "callbacks:api-1")


@row(20, "scheduler: cut off from the database, one-way, from the API", Plan(**TWO, links=ALL_LINKS))
def cut_off(scene):
    """The leader loses the database in one of three ways, by the seed; then it loses the API, which does not change its
    lease."""
    scene.warm_up()
    watch = LeaderWatch(scene)
    rules = CUTS[scene.seed % len(CUTS)]
    leader = scene.cluster.leader_name()
    runs = scene.load(runs=2, students=30)
    begun = time.monotonic()
    scene.link(f"db:{leader}", **rules)
    if rules.get("refuse"):
        scene.cluster.proxies[f"db:{leader}"].cut()
    scene.until(lambda: (scene.cluster.leading() or {"name": leader})["name"] != leader, 15, "a standby leads")
    scene.measure("take-over", seconds=time.monotonic() - begun)
    scene.pause(3)
    scene.link(f"db:{leader}")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    before = term(scene)
    runs = scene.load(runs=2, students=30)
    for replica in ("api-0", "api-1"):
        scene.link(f"callbacks:{replica}", **rules)
        scene.cluster.proxies[f"callbacks:{replica}"].cut()
    scene.pause(3)
    for replica in ("api-0", "api-1"):
        scene.link(f"callbacks:{replica}")
    scene.until(lambda: all_over(runs), 40, "the runs end once the replicas can be called")
    scene.expect(term(scene) == before, "the leader continues to lead", before=before, after=term(scene))
    overlap = watch.stop()
    scene.expect(overlap < OVERLAP_S, "it stops acting by its own clock before its lease ends", overlap=overlap)


@row(21, "scheduler: all of them down for a long time", Plan(**TWO, poll_wait=1, leader_lease=5, job_timeout=12))
def all_down(scene):
    """No scheduler runs for sixteen heartbeats. Then the leader alone is paused for less than its lease: it must not
    declare workers dead because of its own pause."""
    scene.warm_up()
    slow = scene.add_graders(3, grade=lambda job: time.sleep(4) or {"job": job["job_id"], "by": "slow"})
    runs = scene.load(runs=2, students=30)
    scene.until(lambda: all(grader.held for grader in slow), 15, "three graders have long jobs")
    for member in scene.cluster.schedulers:
        scene.kill(member.name)
    before = [len(grader.accepted) for grader in slow]
    scene.pause(8)
    after = [len(grader.accepted) for grader in slow]
    accepted = all(now > then for now, then in zip(after, before, strict=True))
    scene.expect(accepted, "results are accepted", before=before, after=after)
    for member in scene.cluster.schedulers:
        scene.restart(member.name)
    scene.until(lambda: all(grader.held for grader in slow), 25, "jobs are handed out again")
    leader = scene.cluster.leader_name()
    scene.stop(leader)
    scene.pause(3.2)
    scene.resume(leader)
    scene.until(lambda: all_over(runs), 40, "the runs end")
    scene.expect(
        failed_attempts(scene) == 0,
        "no worker is declared dead because of the scheduler's own pause",
        failed_attempts=failed_attempts(scene),
    )


@row(22, "scheduler: two leaders forced, under load", Plan(**TWO, max_attempts=1, job_timeout=14))
def two_leaders(scene):
    """The old leader never loses trust. First it receives no events, so it considers live workers dead; it must neither
    end their leases nor give up their jobs. Then both leaders hand out jobs repeatedly."""
    scene.warm_up()
    patient = scene.add_graders(4, grade=lambda job: time.sleep(10) or {"job": job["job_id"], "by": "patient"})
    scene.submit(students=4, pre=False, post=False)
    scene.load(runs=1, students=10)
    scene.until(lambda: any(grader.held for grader in patient), 15, "long jobs are held")
    old = one_more_leader(scene, "always_trusted:error,drop_signal:error,drop_found_signal:error,callback:error")
    scene.until(lambda: "worker dead" in scene.cluster.log(old), 10, "the old one takes the living for dead")
    scene.pause(1)
    scene.expect(
        failed_attempts(scene) == 0, "the old leader's view has no effect", failed_attempts=failed_attempts(scene)
    )
    scene.arm(old, "")
    runs = scene.load(runs=2, students=30)
    for _ in range(2):
        old = one_more_leader(scene, "always_trusted:error")
        probe_old_term(scene)
        scene.pause(2.5)
        scene.arm(old, "")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    refused = [text for grader in patient for _, text in grader.refused]
    scene.expect(not refused, "no live worker loses a job", refused=refused[:2])


def one_more_leader(scene, failpoints):
    """Pauses the leader until another leads, and resumes it with failpoints; returns its name."""
    old = scene.cluster.leader_name()
    scene.arm(old, failpoints)
    scene.stop(old)
    scene.until(lambda: (scene.cluster.leading() or {"name": old})["name"] != old, 15, "another leads too")
    scene.resume(old)
    return old


def probe_old_term(scene):
    """Every replica that has seen the current leader refuses callbacks of a former one."""
    for member in scene.cluster.replicas:
        status = post_callback(scene, member, term(scene) - 1)
        scene.expect(status == 409, "a callback of an earlier term is refused", member=member.name, status=status)


def course_continues(scene):
    """A grader of the course protocol, and queries that only the scheduler can answer."""
    staff, worker = Staff(scene, "cs-a"), CourseWorker(scene, "hintless")
    run = staff.run("hintless", 1)

    def asks(path):
        return staff.ask("question", "GET", path, owner="cs-a").status == 200

    scene.until(lambda: worker.register().status == 200, 15, "a course's grader is registered")
    scene.until(lambda: asks("/worker/cs-a/all"), 15, "the workers are told")
    scene.until(lambda: asks("/queue/cs-a/length"), 15, "the queue's length is told")

    def works():
        worker.beat()
        job = worker.poll()
        if job is not None:
            worker.send(job)
        return scene.database.grading_runs.find_one({"_id": ObjectId(run)})["state"] == "finished"

    scene.until(works, 40, "a course's run ends")


@row(0, "hints taken away: change events, first tries, answers", Plan(**TWO, has_courses=True))
def hints_taken_away(scene):
    """The change stream delivers nothing except the mark that recovery waits for."""
    without = "drop_change_event:error,drop_signal:error,callback_first_try:error,callback_answer:error"
    for member in scene.cluster.schedulers:
        scene.arm(member.name, without)
    scene.add_graders(4)
    runs = scene.load(runs=2, students=8)
    course_continues(scene)
    scene.until(lambda: all_over(runs), 50, "all goes on, slowly, by sweeps alone")
    scene.cluster.signal(scene.cluster.leader_name(), signal.SIGKILL)
