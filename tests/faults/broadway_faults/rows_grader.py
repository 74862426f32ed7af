"""Rows 23 to 34, 55, 58, 59: graders that die, sleep, repeat themselves, or are broken."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from bson import ObjectId

from broadway_faults.cluster import Plan
from broadway_faults.courses import CourseWorker, Staff
from broadway_faults.graders import BEATING, VANISH
from broadway_faults.registry import row
from broadway_faults.resources import cpu_seconds
from broadway_faults.rows_api import all_over, failed_attempts

ONE_JOB = {"students": 1, "pre": False, "post": True}


def death_s(scene):
    """The longest time until a silent worker is declared dead: two intervals, the slack, a scan."""
    interval = scene.plan.heartbeat
    return 2 * interval + max(1, interval / 2) + 0.2


def lose(scene, grader, job, attempt=1):
    """Keeps the grader silent until its lease is lost."""
    lease = f"{job['job_id']}.{attempt}"
    ended = scene.until(
        lambda: (scene.database.job_leases.find_one({"_id": lease}) or {}).get("ended"),
        death_s(scene) + 6,
        f"lease {lease} of the silent grader ends",
    )
    scene.expect(ended == "lost", "a silent grader's lease is lost", ended=ended)


def keep_beating(scene, grader):
    """Sends heartbeats from a thread, until the returned event is set."""
    done = threading.Event()

    def beat():
        while not done.wait(scene.plan.heartbeat * 0.4):
            grader.beat()

    threading.Thread(target=beat, daemon=True).start()
    return done


@row(23, "grader: kill -9 in a job", strict_deaths=True)
def dies_in_job(scene):
    scene.warm_up()
    victim = scene.add_graders(1, grade=lambda job: VANISH)[0]
    runs = scene.load(runs=2, students=20)
    scene.until(victim.gone.is_set, 15, "the victim has a job and is gone")
    job, attempt = victim.taken[0]
    begun = time.monotonic()
    scene.until(lambda: len(scene.leases(job)) == attempt + 1, death_s(scene) + 6, "the job is handed out again")
    took = time.monotonic() - begun
    scene.measure("requeued", seconds=took)
    scene.expect(took < death_s(scene) + 1.5, "after two missed heartbeats", seconds=took)
    scene.expect(scene.leases(job)[-1]["worker"] != victim.id, "attempt 2 is elsewhere")
    scene.until(lambda: all_over(runs), 30, "the runs end")


@row(24, "grader: SIGSTOP in a job, back while attempt 2 runs")
def back_during_second(scene):
    first, second = scene.add_idle_grader(), scene.add_idle_grader()
    run = scene.submit(**ONE_JOB)
    job = first.take()
    lose(scene, first, job)
    again = second.take()
    scene.expect(again["attempt"] == 2 and again["job_id"] == job["job_id"], "attempt 2 runs", attempt=again["attempt"])
    order = [(first, "late"), (second, "on time")]
    if scene.seed % 3 == 0:
        order.reverse()
    beating = keep_beating(scene, second)
    one = order[0][0].send(job, {"by": order[0][1]})
    two = order[1][0].send(job, {"by": order[1][1]})
    beating.set()
    scene.expect(one.status == 200, "the result that is inserted first counts", status=one.status)
    scene.expect(two.status == 400 and "already" in two.text, "the other is refused", status=two.status, text=two.text)
    scene.add_graders(1)
    scene.until(lambda: run.read() == "finished", 20, "the run ends")
    posts = scene.leases(f"{run.run}20000000")
    scene.expect(len(posts) == 1, "one post-processing", leases=len(posts))


@row(25, "grader: the same, queued again but not yet handed out")
def back_before_second(scene):
    first = scene.add_idle_grader()
    run = scene.submit(students=1, pre=False, post=False)
    job = first.take()
    lose(scene, first, job)
    answer = first.send(job, {"by": "late"})
    scene.expect(answer.status == 200, "its result counts", status=answer.status)
    scene.expect(scene.add_idle_grader().poll(wait=1) is None, "the queued retry is dropped")
    scene.until(lambda: run.read() == "finished", 15, "the run ends")


@row(26, "grader: the same, job given up")
def back_after_given_up(scene):
    first = scene.add_idle_grader()
    run = scene.submit(students=1, pre=False, post=False, max_attempts=1)
    job = first.take()
    scene.until(lambda: scene.result(job["job_id"]), death_s(scene) + 6, "the job is given up")
    before = scene.result(job["job_id"])
    answer = first.send(job, {"by": "too late"})
    scene.expect(answer.status == 400 and "already" in answer.text, "refused", status=answer.status)
    scene.expect(scene.result(job["job_id"]) == before, "the terminal state stays")
    scene.expect(before.get("reason") == "grader lost 1 time", "with a reason", reason=before.get("reason"))
    scene.until(lambda: run.read() == "finished", 15, "the run ends")


@row(27, "grader: the same result twice, also at once through two replicas")
def same_result_twice(scene):
    grader = scene.add_idle_grader(concurrency=4)
    scene.submit(students=3, pre=False, post=False)
    for _ in range(3):
        job = grader.take()
        value = {"job": job["job_id"]}
        statuses = send_at_once(grader, job, [value] * 4)
        statuses.append(grader.send(job, value).status)
        scene.expect(set(statuses) == {200}, "all are answered 200", statuses=statuses)


def send_at_once(grader, job, values):
    """Sends each value from its own thread, through the replicas in turn; returns the statuses."""
    replicas = len(grader.scene.urls)
    with ThreadPoolExecutor(len(values)) as pool:
        tries = [pool.submit(grader.send, job, value, replica=n % replicas) for n, value in enumerate(values)]
    return [one.result().status for one in tries]


@row(28, "grader: two different results for one job by one worker")
def two_results(scene):
    grader, stranger = scene.add_idle_grader(concurrency=4), scene.add_idle_grader()
    scene.submit(students=2, pre=False, post=False)
    job = grader.take()
    first, second = grader.send(job, {"n": 1}), grader.send(job, {"n": 2}, replica=1)
    scene.expect(
        first.status == 200 and second.status == 400, "the first counts", statuses=[first.status, second.status]
    )
    job = grader.take()
    strange = stranger.send(job, {"by": "a stranger"})
    scene.expect(strange.status == 400, "a worker that never had the job is refused", status=strange.status)
    statuses = send_at_once(grader, job, [{"n": n} for n in range(6)])
    scene.expect(sorted(statuses) == [200] + 5 * [400], "one of several concurrent results counts", statuses=statuses)


@row(29, "grader: two processes with one worker id (course protocol)", Plan(has_courses=True))
def one_id_twice(scene):
    """Also with two courses, which must be isolated."""
    first, second = CourseWorker(scene, "shared-id"), CourseWorker(scene, "shared-id")
    ours, theirs = Staff(scene, "cs-a"), Staff(scene, "cs-b")
    run = ours.run("essay", 2)
    scene.expect(first.register().status == 200, "the first is registered")
    job = first.take()
    for replica in (0, 1, 0, 1):
        first.beat(replica)
        answer = second.register(replica)
        told = answer.status == 400 and "already exists" in answer.text
        scene.expect(
            told, "the second is refused while the first is alive", status=answer.status, text=answer.text[:120]
        )
    scene.expect(set(theirs.pry(run, job["grading_job_id"])) <= {200, 400, 404}, "another course is told nothing")
    scene.until(lambda: second.register(1).status == 200, death_s(scene) + 6, "a dead id may come back")
    end = scene.until(lambda: scene.leases(job["grading_job_id"])[0].get("ended"), 10, "its job is queued again")
    scene.expect(end == "lost", "not resumed", ended=end)
    other = theirs.run("report", 1)
    over = {"_id": {"$in": [ObjectId(run), ObjectId(other)]}, "state": "finished"}
    scene.until(
        lambda: scene.database.grading_runs.count_documents(over) == 2 or (work_on(second) and False),
        20,
        "both runs end by the second",
    )
    ours.pry(run, job["grading_job_id"])
    scene.expect(set(theirs.pry(run, job["grading_job_id"])) <= {200, 400, 404}, "another course is told nothing")


def work_on(worker, replica=0):
    """Grades one job; returns whether there was one."""
    job = worker.poll(replica)
    return job is not None and worker.send(job, replica).status == 200


@row(30, "grader: restarts in a job and registers anew", strict_deaths=True)
def restarts_in_job(scene):
    before = scene.add_idle_grader()
    run = scene.submit(**ONE_JOB)
    job = before.take()
    scene.history.note("grader vanished", worker=before.id, number=before.number, holding=[job["job_id"]])
    after = scene.add_graders(1)[0]
    scene.until(lambda: after.id, 10, "it has registered again")
    scene.expect(after.id != before.id, "a new id")
    scene.until(lambda: scene.is_worker_alive(before) is False, death_s(scene) + 6, "the old one dies")
    scene.until(lambda: run.read() == "finished", 20, "its job is queued again and graded")
    scene.expect([lease.get("ended") for lease in scene.leases(job["job_id"])][:1] == ["lost"], "one failed attempt")


@row(31, "grader: registers, never heartbeats; polls count as heartbeats", strict_deaths=True)
def never_beats(scene):
    scene.warm_up(graders=2)
    silent = scene.add_idle_grader()
    scene.history.note("grader vanished", worker=silent.id, number=silent.number, holding=[])
    polling = scene.add_graders(1, beats=False, wait=0.3)[0]
    scene.until(
        lambda: scene.is_worker_alive(silent) is False, death_s(scene) + 6, "the silent one is dead after two intervals"
    )
    ends = time.monotonic() + 3 * death_s(scene)
    alive = True
    while time.monotonic() < ends:
        alive = alive and scene.is_worker_alive(polling) is not False
        scene.pause(0.05)
    scene.expect(alive, "a worker that polls is alive")


@row(32, "grader: heartbeats for ever, the job hangs", Plan(job_timeout=2))
def hangs(scene):
    hanging = scene.add_idle_grader()
    run = scene.submit(**ONE_JOB)
    job = hanging.take()
    beating = keep_beating(scene, hanging)
    scene.add_graders(2)
    scene.until(lambda: run.read() == "finished", 20, "the run ends by another")
    beating.set()
    leases = scene.leases(job["job_id"])
    scene.expect(leases[0].get("ended") == "expired", "the deadline ends the lease", ended=leases[0].get("ended"))
    scene.expect(len(leases) == 2 and leases[1]["worker"] != hanging.id, "attempt 2 is elsewhere", leases=len(leases))


@row(33, "grader: a job that kills every grader")
def poison(scene):
    run = scene.prepare(students=8, pre=False)

    def grade(job):
        if job["job_id"].endswith("10000000"):
            return VANISH
        time.sleep(0.02)
        return {"job": job["job_id"]}

    scene.add_graders(5, grade=grade)
    run.create()
    run.start()
    poisoned = f"{run.run}10000000"
    results = {"_id": {"$regex": f"^{run.run}1"}}
    scene.until(lambda: scene.database.job_results.count_documents(results) >= 7, 15, "other jobs flow")
    scene.until(lambda: scene.result(poisoned), 3 * death_s(scene) + 15, "the job is given up")
    reason = scene.result(poisoned).get("reason")
    leases = scene.leases(poisoned)
    scene.expect(reason == "grader lost 3 times", "it fails with a reason", reason=reason)
    scene.expect(len(leases) == 3, "after the last attempt", leases=len(leases))
    gap = (leases[2]["leased_at"] - leases[1]["ended_at"]).total_seconds()
    scene.expect(gap >= 4.5, "attempts are spaced", gap=gap)
    scene.expect(len({lease["worker"] for lease in leases}) == 3, "each attempt has another worker")
    scene.until(lambda: run.read() == "finished", 20, "the run ends")


@row(34, "grader: a broken grader fails every job at once")
def broken(scene):
    steady = scene.add_graders(2, grade=lambda job: time.sleep(0.3) or {"job": job["job_id"]})
    wreck = scene.add_idle_grader(temperament=BEATING)
    run = scene.submit(students=40, pre=False, post=False)
    failed, empty = 0, 0
    ends = time.monotonic() + 4
    while time.monotonic() < ends:
        job = wreck.poll(wait=0.2)
        if job is None:
            empty += 1
            continue
        wreck.send(job, None, success=False)
        failed += 1
    scene.measure("broken grader", failed=failed, empty_polls=empty)
    scene.expect(5 <= failed <= 7, "after five failures in a row it is paused", failed=failed)
    shown = scene.database.workers.find_one({"_id": wreck.id}) or {}
    metrics = [
        scene.cluster.metric("scheduler-0", f"broadway_scheduler_{name}")
        for name in ("paused_workers", "workers_paused")
    ]
    seen = any("paus" in key for key in shown) or any(metrics)
    scene.expect(seen, "and the status shows it", worker=sorted(shown), metrics=metrics)
    scene.until(lambda: run.read() == "finished", 30, "the others grade what is left")
    scene.expect(failed_attempts(scene) == 0 and steady, "no lease is lost")


@row(55, "grader: dies in its first job, before any heartbeat", Plan(schedulers=2, job_timeout=60, has_courses=True))
def dies_in_first_job(scene):
    """For each of three kinds of graders that must send heartbeats because of their registration. With every other seed
    another leader has read that from the database."""
    scene.add_graders(1)
    for states in (("hostname",), ("concurrency",)):
        victim = scene.add_idle_grader(states=states)
        dies_without_heartbeats(scene, victim)
    staff, worker = Staff(scene, "cs-a"), CourseWorker(scene, "first-job")
    run = staff.run("first-job", 1)
    scene.until(lambda: worker.register().status == 200, 15, "a course's grader is registered")
    job = scene.until(worker.poll, 10, "it has its first job")
    begun = time.monotonic()
    lease = {"_id": f"{job['grading_job_id']}.1"}
    ended = scene.until(lambda: scene.database.job_leases.find_one(lease).get("ended"), 20, "its lease ends")
    took = time.monotonic() - begun
    scene.expect(ended == "lost" and took < death_s(scene) + 1.5, "after two missed heartbeats", seconds=took)
    other = CourseWorker(scene, "second")
    scene.until(lambda: other.register().status == 200, 15, "another is registered")

    def is_over():
        other.beat()
        job = other.poll()
        if job is not None:
            other.send(job)
        return scene.database.grading_runs.find_one({"_id": ObjectId(run)})["state"] == "finished"

    scene.until(is_over, 30, "the course's run ends")


def dies_without_heartbeats(scene, victim):
    scene.hold_graders(victim)
    run = scene.submit(students=1, pre=False, post=False)
    job = victim.take()
    begun = time.monotonic()
    victim.vanish()
    if scene.seed % 2 == 0:
        scene.kill(scene.cluster.leader_name())
        scene.cluster.leader_name()
        begun = time.monotonic()  # the time-outs of live workers start again
    lease = {"_id": f"{job['job_id']}.1"}
    ended = scene.until(lambda: scene.database.job_leases.find_one(lease).get("ended"), 20, "the lease ends")
    took = time.monotonic() - begun
    scene.measure("lost", seconds=took)
    scene.expect(ended == "lost", "the job is lost, not expired", ended=ended)
    scene.expect(took < death_s(scene) + 1.5, "after two missed heartbeats", seconds=took)
    scene.release_graders()
    scene.cluster.heal()
    scene.until(lambda: run.read() == "finished", 30, "another grader ends the run")


CRASHED = 3000
MARKED_CPU_S = 40  # of the database; a scan per worker took 97 s
MARKED_S = 150  # on a busy machine
REGISTERED_S = 1.5


@row(58, "grader: three thousand crash at once", Plan(leader_lease=5, job_timeout=60))
def a_crowd_crashes(scene):
    """Many workers are registered and then silent. Marking them dead must not slow down others."""
    scene.warm_up()
    now = scene.cluster.client.admin.command("hello")["localTime"]
    crowd = [
        {
            "_id": f"{number:032x}",
            "hostname": "crowd",
            "protocol": "classic",
            "concurrency": 1,
            "sends_heartbeats": True,
            "alive": True,
            "epoch": 1,
            "registered_at": now,
            "last_seen": now,
        }
        for number in range(CRASHED)
    ]
    scene.fault("crash", graders=CRASHED)
    for first in range(0, CRASHED, 500):
        scene.database.workers.insert_many(crowd[first : first + 500], ordered=False)
    database = scene.cluster.members["database"]
    begun, used = time.monotonic(), cpu_seconds(database.pid)
    slowest = [0.0]
    alive = {"hostname": "crowd", "alive": True}

    def are_marked():
        scene.pause(1)  # reading the whole collection slows the marks
        sent = time.monotonic()
        scene.add_idle_grader().leave()
        slowest[0] = max(slowest[0], time.monotonic() - sent)
        return scene.database.workers.count_documents(alive) == 0

    scene.until(are_marked, death_s(scene) + MARKED_S, "all of them are marked dead")
    took, used = time.monotonic() - begun - death_s(scene), cpu_seconds(database.pid) - used
    scene.measure("marked", seconds_after_their_death=took, cpu_seconds=used, slowest_registration=slowest[0])
    scene.expect(used < MARKED_CPU_S, "they are marked in bulks, by their ids", cpu_seconds=used)
    scene.expect(slowest[0] < REGISTERED_S, "others register meanwhile", seconds=slowest[0])
    runs = scene.load(runs=1, students=10)
    scene.until(lambda: all_over(runs), 30, "the run ends")


@row(59, "grader: silent while its poll waits, then a job comes", Plan(schedulers=2, job_timeout=60, poll_wait=20))
def silent_in_its_poll(scene):
    """The grader sends no heartbeat until it has a job, which is allowed, and has polled for longer than the limit of
    silence. With every other seed another leader has taken over meanwhile. The grader must keep its job."""
    pause = scene.plan.heartbeat * 0.4
    for states in (("hostname",), ("concurrency",)):
        silent = scene.add_idle_grader(states=states, poll_timeout_s=6 * death_s(scene))
        with ThreadPoolExecutor(1) as pool:
            polled = pool.submit(silent.poll, wait=5 * death_s(scene))
            if scene.seed % 2 == 0:
                scene.pause(pause)
                scene.kill(scene.cluster.leader_name())
                scene.cluster.leader_name()
            scene.pause(death_s(scene) + 1)
            run = scene.submit(students=1, pre=False, post=False)
            job = polled.result()
        scene.cluster.heal()
        scene.expect(job is not None, "its poll gets the job")
        if job is None:
            return
        beating = keep_beating(scene, silent)
        scene.pause(death_s(scene) + 1)
        answer = silent.send(job, {"by": "the silent one"})
        beating.set()
        leases = scene.leases(job["job_id"])
        scene.expect(answer.status == 200, "its result counts", status=answer.status, text=answer.text)
        scene.expect([lease.get("ended") for lease in leases] == [None], "one attempt", leases=len(leases))
        scene.until(lambda run=run: run.read() == "finished", 15, "the run ends")
