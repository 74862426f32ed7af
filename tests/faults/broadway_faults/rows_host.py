"""Rows 48 to 53: clocks, the host, cancellation, removal of runs, and two versions."""

import signal
import threading
import time
from datetime import UTC, datetime

from bson import ObjectId

from broadway_faults import build
from broadway_faults.cluster import Plan, shuffled
from broadway_faults.instructors import stage
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, failed_attempts
from broadway_faults.rows_grader import lose

EVERYTHING = ("api-0", "api-1", "scheduler-0", "scheduler-1")
HOUR_S = 3600


@row(48, "clocks: an hour off on a replica, on the leader", Plan(schedulers=2, shimmed=EVERYTHING))
def clocks(scene):
    scene.warm_up()
    leader = scene.cluster.leader_name()
    runs = scene.load(runs=3, students=30)
    for name, hours in ((leader, 1), ("api-0", -1), (leader, -1), ("api-0", 1)):
        scene.fault("clock", member=name, hours=hours)
        scene.cluster.set_clock(name, realtime=hours * HOUR_S * (1 if scene.seed % 2 else -1))
        scene.pause(1.2)
    scene.until(lambda: all_over(runs), 40, "the runs end")
    scene.expect(failed_attempts(scene) == 0, "no lease is ended by it", failed_attempts=failed_attempts(scene))
    deadlines = [(lease["deadline"] - lease["leased_at"]).total_seconds() for lease in scene.database.job_leases.find()]
    longest = max(deadlines)
    scene.expect(longest < scene.plan.job_timeout + 1, "no lease is extended by it", longest=longest)


BACK_S = 45
RESUME_S = 2.5  # beyond a lease: two reads of the standby and a recovery


@row(
    56,
    "clocks: the database's an hour ahead, then 45 s back as the leader dies",
    Plan(schedulers=2, shimmed=("database",)),
)
def database_clock(scene):
    """Leadership depends on the changes that a standby sees, on its own clock, and no deadline depends on the date: a
    job that a grader holds throughout is handed out once."""
    scene.warm_up()
    holder, held = hold_through(scene)
    leader, term = scene.cluster.leader_name(), scene.database.leader.find_one()["term"]
    runs = scene.load(runs=2, students=20)
    scene.fault("clock", member="database", seconds=HOUR_S)
    scene.cluster.set_clock("database", realtime=HOUR_S)
    scene.pause(3 * scene.plan.leader_lease)
    document = scene.database.leader.find_one()
    ahead = (document["expires_at"] - datetime.now(UTC).replace(tzinfo=None)).total_seconds()
    scene.expect(ahead > HOUR_S / 2, "the database's clock is an hour ahead", seconds=ahead)
    scene.expect(document["term"] == term, "a leader that renews leads on", before=term, after=document["term"])
    scene.until(lambda: all_over(runs), 30, "the runs end")
    scene.fault("clock", member="database", seconds=-BACK_S)
    scene.cluster.set_clock("database", realtime=HOUR_S - BACK_S)
    runs = scene.load(runs=2, students=60)
    scene.until(lambda: scene.results_count() > 55, 20, "jobs are handed out")
    before = scene.database.leader.find_one()["term"]
    begun = time.monotonic()
    scene.kill(leader)
    again = {"term": {"$gt": before}}
    scene.until(lambda: scene.database.job_leases.count_documents(again), 40, "jobs are handed out again")
    took = time.monotonic() - begun
    scene.measure("hand-outs resume", seconds=took)
    scene.expect(took < 1.2 * scene.plan.leader_lease + RESUME_S, "within the lease and its slack", seconds=took)
    scene.until(lambda: all_over(runs), 40, "the runs end under the new leader")
    deliver_held(scene, holder, held)
    scene.cluster.set_clock("database", realtime=0)


def hold_through(scene):
    """A grader that sends heartbeats, and takes and keeps a job of a minute."""
    scene.hold_graders()
    holder = scene.add_idle_grader()
    threading.Thread(target=beat_on, args=(scene, holder), daemon=True).start()
    stages = [stage(timeout=60, env={"NETID": ""})]
    scene.submit(students=1, pre=False, post=False, student_pipeline=stages)
    held = holder.take()
    scene.release_graders()
    return holder, held


def beat_on(scene, grader):
    while not grader.leaving.wait(scene.plan.heartbeat):
        grader.beat()


def deliver_held(scene, holder, held):
    answer = holder.send(held, {"by": "the holder"})
    scene.expect(answer.status == 200, "the result of the held job is accepted", status=answer.status, text=answer.text)
    leases = scene.leases(held["job_id"])
    scene.expect(len(leases) == 1, "it was handed out once", attempts=len(leases))
    ended = [lease.get("ended") for lease in leases]
    scene.expect(ended == [None], "its lease was never ended", ended=ended)
    holder.leave()


@row(49, "host: all processes killed at once, started in any order", Plan(schedulers=2))
def everything_killed(scene):
    scene.warm_up()
    runs = scene.load(runs=3, students=30)
    scene.until(lambda: scene.results_count() > 35, 20, "results come")
    names = shuffled(scene.cluster.members, f"kill/{scene.seed}")
    scene.fault("all killed", members=names)
    for name in names:
        scene.cluster.signal(name, signal.SIGKILL)
    for name in shuffled(names, f"start/{scene.seed}"):
        scene.cluster.start(name)
        scene.pause(scene.random.random() * 0.5)
    scene.healed("all started")
    scene.cluster.wait_database()
    scene.until(lambda: all_over(runs), 40, "everything resumes")


@row(50, "host: suspended for two minutes", Plan(schedulers=2, shimmed=EVERYTHING, heartbeat=1))
def suspended(scene):
    """All processes are paused; afterwards only the clocks that count suspend have advanced by two minutes."""
    scene.warm_up()
    term = scene.database.leader.find_one()["term"]
    held = scene.add_graders(3, grade=lambda job: scene.pause(1.5) or {"job": job["job_id"]})
    runs = scene.load(runs=2, students=30)
    scene.until(lambda: all(grader.held for grader in held), 15, "jobs are held")
    scene.fault("suspended")
    names = list(scene.cluster.members)
    for grader in scene.graders:
        grader.gate.stop()
    for name in names:
        scene.cluster.signal(name, signal.SIGSTOP)
    for name in EVERYTHING:
        scene.cluster.set_clock(name, boottime=120, realtime=120)
    scene.pause(0.3)
    for name in shuffled(names, scene.seed):
        scene.cluster.signal(name, signal.SIGCONT)
    scene.pause(0.5)
    for grader in scene.graders:
        grader.gate.resume()
    scene.healed("resumed")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    scene.expect(scene.database.leader.find_one()["term"] > term, "the leader distrusts itself")
    lost = scene.database.job_leases.count_documents({"ended": "lost"})
    scene.expect(lost == 0, "workers' deadlines are extended", lost=lost)


@row(51, "run: cancel in the same instant as the last result, as a requeue")
def cancel(scene):
    scene.need(scene.supports("POST", f"/grading_run/{'0' * 24}/cancel"), "runs can't be cancelled yet")
    scene.add_graders(2)
    for _ in range(4):
        run = scene.submit(students=4, pre=False, post=False)
        scene.until(lambda run=run: len(scene.leases(f"{run.run}10000003")) > 0, 10, "the last job is handed out")
        scene.pause(scene.random.random() * 0.08)
        run.cancel()
        scene.until(lambda run=run: run.read() in ("finished", "cancelled"), 20, "one order wins")
    for grader in scene.graders:
        grader.leave()
    for grader in scene.graders:
        grader.join()
    first = scene.add_idle_grader()
    run = scene.submit(students=1, pre=False, post=False)
    job = first.take()
    killer = threading.Timer(2 * scene.plan.heartbeat + 1 + scene.random.uniform(-0.1, 0.2), run.cancel)
    killer.start()
    scene.until(lambda: run.read() in ("finished", "cancelled"), 20, "terminal once")
    scene.pause(1)
    scene.expect(len(scene.leases(job["job_id"])) == 1, "a cancelled job is not requeued")
    scene.expect(scene.add_idle_grader().poll(wait=1) is None, "nor handed out")


FORGETFUL = Plan(job_timeout=1, scheduler={"retain-runs": 1})


@row(52, "run: retention removes a run while a grader works on it", FORGETFUL)
def retention(scene):
    """A finished run is removed while a lost grader still works on it; a run that has not ended is kept, however
    old."""
    scene.warm_up(graders=2)
    scene.hold_graders()
    lost = scene.add_idle_grader()
    old = scene.submit(students=1, pre=False, post=False)
    job = lost.take()
    scene.release_graders()
    scene.until(lambda: old.read() == "finished", 20, "another grader ends the run")
    kept = scene.prepare(students=1)
    kept.create()
    old.gives_up.set()
    missing = {"_id": ObjectId(old.run)}
    scene.until(lambda: scene.database.grading_runs.count_documents(missing) == 0, 35, "the run is removed")
    answer = lost.send(job, {"by": "late"})
    scene.expect(answer.status == 400, "a late result is refused", status=answer.status)
    scene.expect(scene.result(job["job_id"]) is None, "and does not resurrect it")
    there = scene.database.grading_runs.count_documents({"_id": ObjectId(kept.run)})
    scene.expect(there == 1, "only finished runs are removed")
    kept.start()
    scene.until(lambda: kept.read() == "finished", 20, "and what is kept can be started")


OLDER = {"api-0": build.OLDER, "scheduler-1": build.OLDER}


@row(53, "cluster: binaries of two versions together", Plan(schedulers=2, binaries=OLDER))
def two_versions(scene):
    """An older replica and an older scheduler with the current ones; leadership moves between the versions."""
    scene.warm_up()
    for _ in range(3):
        runs = scene.load(runs=2, students=15)
        scene.pause(0.4)
        leader = scene.cluster.leader_name()
        scene.kill(leader)
        scene.cluster.leader_name()
        scene.restart(leader)
        scene.until(lambda runs=runs: all_over(runs), 40, "the runs end under either version")
    first = scene.add_idle_grader()
    scene.submit(students=1, pre=False, post=False)
    for grader in scene.graders[:4]:
        grader.leave()
    job = first.poll(wait=1)
    if job:
        lose(scene, first, job)
