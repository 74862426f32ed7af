"""Rows 12 to 16, 19 to 22: schedulers that die, are cut off, or are two."""

import signal
import time

from broadway_faults.cluster import Plan
from broadway_faults.graders import VANISH
from broadway_faults.leaders import LeaderWatch
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, strikes
from broadway_faults.rows_term import post_callback

TWO = {"schedulers": 2}
HAND_OUTS_RESUME_S = 2  # beyond the lease
OVERLAP_S = 0.35  # two looks and the machine's moods


def term(scene):
    return (scene.database.leader.find_one() or {}).get("term", 0)


def released_only(scene):
    return strikes(scene) == 0


@row(12, "scheduler: kill -9 idle", Plan(**TWO))
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
    runs = scene.load(runs=2, students=12)
    scene.until(lambda: all_over(runs), 30, "the runs end under the new leader")


def dies_and_is_succeeded(scene, failpoint, students=14, runs=1, **more):
    """A failpoint kills the leader while it works on `runs`; a standby ends them."""
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
    scene.expect(released_only(scene), "what nobody had is no strike", strikes=strikes(scene))


@row(14, "scheduler: kill -9 after the leases, before the callbacks", Plan(**TWO))
def kill_before_callbacks(scene):
    scene.warm_up(graders=6, wait=2)
    dies_and_is_succeeded(scene, f"before_callbacks:kill@{1 + scene.random.randrange(5)}", runs=2)
    scene.expect(released_only(scene), "what nobody had is no strike", strikes=strikes(scene))


@row(15, "scheduler: kill -9 before post-processing is queued", Plan(**TWO))
def kill_before_post(scene):
    scene.warm_up()
    made = dies_and_is_succeeded(scene, "before_post_queued:kill@1", students=8)
    posts = scene.database.job_leases.count_documents({"_id": {"$regex": f"^{made[0].run}2"}})
    scene.expect(posts == 1, "the next leader queues it, once", leases=posts)


@row(16, "scheduler: kill -9 while requeuing a dead worker's jobs", Plan(**TWO))
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
    scene.expect(all(end[:-1] == ["lost"] for end in ends), "one strike each", ends=ends)


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


@row(
    20,
    "scheduler: cut off from the database, the API, one-way",
    Plan(**TWO, links=("db:scheduler-0", "db:scheduler-1")),
)
def cut_off(scene):
    scene.warm_up()
    watch = LeaderWatch(scene)
    rules = [{"drop": ("up", "down")}, {"refuse": True}, {"drop": ("down",)}][scene.seed % 3]
    leader = scene.cluster.leader_name()
    runs = scene.load(runs=2, students=30)
    begun = time.monotonic()
    scene.link(f"db:{leader}", **rules)
    if rules.get("refuse"):
        scene.cluster.proxies[f"db:{leader}"].cut()
    scene.until(lambda: scene.cluster.leading() and scene.cluster.leading()["name"] != leader, 15, "a standby leads")
    scene.measure("take-over", seconds=time.monotonic() - begun)
    scene.pause(3)
    scene.link(f"db:{leader}")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    overlap = watch.stop()
    scene.expect(overlap < OVERLAP_S, "it stops acting by its own clock before its lease ends", overlap=overlap)


@row(21, "scheduler: all of them down for a long time", Plan(**TWO, poll_wait=1))
def all_down(scene):
    scene.warm_up()
    down_s = 8
    slow = [
        scene.add_graders(1, grade=lambda job: time.sleep(4) or {"job": job["job_id"], "by": "slow"})[0]
        for _ in range(3)
    ]
    scene.load(runs=2, students=30)
    scene.until(lambda: all(grader.held for grader in slow), 15, "three graders have long jobs")
    for member in scene.cluster.schedulers:
        scene.kill(member.name)
    accepted = [len(grader.accepted) for grader in slow]
    scene.pause(down_s)
    more = [len(grader.accepted) for grader in slow]
    scene.expect(
        all(now > then for now, then in zip(more, accepted, strict=True)), "their results are accepted", accepted=more
    )
    for member in scene.cluster.schedulers:
        scene.restart(member.name)
    scene.until(lambda: all_over(scene.instructors), 40, "the runs end")
    scene.expect(strikes(scene) == 0, "nobody is declared dead because nobody looked", strikes=strikes(scene))


@row(22, "scheduler: two leaders forced, under load", Plan(**TWO, max_attempts=2, job_timeout=6))
def two_leaders(scene):
    scene.warm_up()
    dying = {"left": 3}

    def dies_now_and_then(job):
        if dying["left"] > 0 and scene.random.random() < 0.05:
            dying["left"] -= 1
            return VANISH
        time.sleep(0.02)
        return {"job": job["job_id"]}

    scene.add_graders(6, grade=dies_now_and_then)
    runs = scene.load(runs=3, students=40)
    for _ in range(3):
        old = scene.cluster.leader_name()
        scene.arm(old, "always_trusted:error")
        scene.stop(old)
        scene.until(lambda old=old: (scene.cluster.leading() or {"name": old})["name"] != old, 15, "another leads too")
        scene.resume(old)
        probe_old_term(scene)
        scene.pause(4)
        scene.arm(old, "")
    scene.until(lambda: all_over(runs), 40, "the runs end")


def probe_old_term(scene):
    """What a leader of the past would send is refused by every replica that has heard of the present one."""
    for member in scene.cluster.replicas:
        status = post_callback(scene, member, term(scene) - 1)
        scene.expect(status == 409, "a callback of an earlier term is refused", member=member.name, status=status)


@row(0, "hints taken away: change events, first tries, answers", Plan(**TWO))
def hints_taken_away(scene):
    for member in scene.cluster.schedulers:
        scene.arm(member.name, "drop_change_event:error,callback_first_try:error,callback_answer:error")
    scene.add_graders(4)
    runs = scene.load(runs=2, students=8)
    scene.until(lambda: all_over(runs), 50, "all goes on, slowly, by sweeps alone")
    scene.cluster.signal(scene.cluster.leader_name(), signal.SIGKILL)
