"""Rows 1 to 11: the replicas of the API."""

import signal
import threading
import time

from broadway_faults import resources
from broadway_faults.caller import fetch
from broadway_faults.cluster import Plan
from broadway_faults.graders import Grader
from broadway_faults.raw import ParkedPolls, Upload
from broadway_faults.registry import row


def failed_attempts(scene):
    """The number of failed attempts."""
    return scene.database.job_leases.count_documents({"ended": {"$in": ["lost", "expired", "undeliverable"]}})


def all_over(runs):
    return all(run.is_over() or run.gives_up.is_set() for run in runs)


@row(1, "API: kill -9 idle, two replicas; and under load")
def kill_idle(scene):
    scene.warm_up()
    victim = scene.random.randrange(2)
    scene.kill(f"api-{victim}")
    runs = scene.load(runs=3, students=12)
    scene.until(lambda: all_over(runs), 30, "the runs end through the other replica")
    scene.expect(failed_attempts(scene) == 0, "nothing else changes: no lease was lost")
    scene.restart(f"api-{victim}")
    scene.cluster.wait_ready()
    others = 1 - victim
    runs = scene.load(runs=2, students=40)
    scene.kill(f"api-{others}")
    killed = time.monotonic()
    scene.until(
        lambda: all(grader.answered_s > killed for grader in scene.graders),
        scene.plan.poll_wait + 2,
        "all graders are answered again within one poll",
    )
    scene.until(lambda: all_over(runs), 30, "the runs end")
    scene.restart(f"api-{others}")


@row(2, "API: kill -9 after the run insert, before the answer")
def kill_after_run_insert(scene):
    scene.need(scene.is_idempotent, "the API knows no idempotency keys")
    scene.warm_up()
    scene.arm("api-0", "after_run_insert:kill@1")
    run = scene.prepare(students=5)
    answer = run.create_once(0)
    scene.expect(answer.status == 0, "the client gets no answer", status=answer.status)
    scene.died("api-0")
    again = [run.create_once(1).json.get("id") for _ in range(2)]
    scene.expect(again[0] is not None and again[0] == again[1], "the retry returns one run", ids=again)
    count = scene.database.grading_runs.count_documents({"name": run.key})
    scene.expect(count == 1, "one run is stored", count=count)
    run.run = again[0]
    run.start()


@row(3, "API: kill -9 after the result insert, before the 200")
def kill_after_result_insert(scene):
    scene.warm_up()
    scene.arm("api-0", f"after_result_insert:kill@{1 + scene.random.randrange(4)}")
    runs = scene.load(runs=3, students=12)
    scene.died("api-0")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    refused = [text for grader in scene.graders for _, text in grader.refused]
    scene.expect(not refused, "every retry is answered 200", refused=refused[:3])


@row(4, "API: kill -9 between log insert and result insert", Plan(scheduler={"orphan-age": 1}))
def kill_after_log_insert(scene):
    scene.warm_up(logs_share=1.0)
    scene.arm("api-0", f"after_log_insert:kill@{1 + scene.random.randrange(4)}")
    runs = scene.load(runs=3, students=12)
    scene.died("api-0")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    wanted, logs = named_logs(scene), stored_logs(scene)
    scene.expect(wanted <= logs, "the retry stores both", missing=len(wanted - logs))
    leave_orphan_log(scene)
    scene.until(lambda: all_over(scene.instructors), 20, "the run ends by another")
    scene.until(lambda: stored_logs(scene) == named_logs(scene), 25, "an orphan log is swept")


def named_logs(scene):
    """The logs that results name."""
    ids = {"worker": {"$exists": True}, "digest": {"$exists": True}}
    return {f"{d['_id']}.{d['digest']}" for d in scene.database.job_results.find(ids, {"digest": 1})}


def stored_logs(scene):
    return {d["_id"] for d in scene.database.job_logs.find({}, {"_id": 1})}


def leave_orphan_log(scene):
    """A grader whose log was stored, and which never sends its result again."""
    scene.restart("api-0")
    scene.cluster.wait_ready()
    scene.hold_graders()
    lost = scene.add_idle_grader(home=0)
    run = scene.load(runs=1, students=1, pre=False, post=False)[0]
    job = lost.take(replica=1)
    scene.arm("api-0", "after_log_insert:kill@1")
    lost.send(job, {"by": "lost"}, replica=0, logs={"stdout": "never seen again"})
    scene.died("api-0")
    orphans = stored_logs(scene) - named_logs(scene)
    scene.expect(len(orphans) == 1, "there is a log that no result names", orphans=len(orphans))
    scene.release_graders()
    return run


@row(5, "API: kill -9 after the lease, before the grader has the job", Plan(heartbeat=1))
def kill_before_delivery(scene):
    scene.warm_up()
    scene.arm("api-0", f"before_hand_out_answer:kill@{1 + scene.random.randrange(4)}")
    runs = scene.load(runs=3, students=12)
    scene.died("api-0")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    again = list(scene.database.job_leases.find({"ended": {"$exists": True}}))
    kinds = {lease["ended"] for lease in again}
    scene.expect(kinds <= {"released"}, "an undelivered job has no failed attempt", ended=sorted(kinds))
    scene.expect(len(again) == 0, "the same worker's next poll gets the same attempt", released=len(again))


@row(6, "API: SIGSTOP with 50 polls parked, then SIGCONT", Plan(heartbeat=1, poll_wait=10))
def stop_with_parked_polls(scene):
    scene.warm_up()
    parked = [
        Grader(scene, len(scene.graders) + n, wait=10, home=0, poll_timeout_s=2.5, beats=n < 10) for n in range(50)
    ]
    scene.graders += parked
    scene.until(
        lambda: (scene.cluster.metric("api-0", "broadway_api_parked_polls") or 0) >= 50, 20, "50 polls are parked"
    )
    scene.stop("api-0")
    runs = scene.load(runs=2, students=30)
    scene.pause(4)
    scene.resume("api-0")
    scene.until(lambda: all_over(runs), 40, "the runs end")
    scene.expect(
        failed_attempts(scene) == 0,
        "leases for sockets that were closed are not counted",
        failed_attempts=failed_attempts(scene),
    )


@row(7, "API: SIGTERM", Plan(poll_wait=8, api={"grace": 6}))
def terminate(scene):
    scene.warm_up(wait=0.5)
    holder = scene.add_idle_grader(home=0)
    scene.submit(students=30, pre=False, post=False)
    job = holder.take(replica=0)
    upload = Upload(scene, holder, job, replica=0, size=200_000)
    upload.send_part(0.5)
    parked = scene.add_idle_grader(home=0)
    answers = []
    scene.until(lambda: scene.database.grading_runs.count_documents({"active": True}) == 1, 10, "the run is active")
    poller = threading.Thread(target=lambda: answers.append((parked.poll(wait=8, replica=0), time.monotonic())))
    poller.start()
    scene.pause(0.5)
    scene.fault("SIGTERM", member="api-0")
    told = time.monotonic()
    scene.cluster.signal("api-0", signal.SIGTERM)
    ready = scene.until(
        lambda: fetch(scene.cluster.members["api-0"].internal_url, "GET", "/readyz").status != 200, 2, "it is not ready"
    )
    scene.expect(ready, "not ready at once")
    poller.join(5)
    scene.expect(answers and answers[0][1] - told < 2, "a parked poll is answered", answers=len(answers))
    if answers and answers[0][0]:
        parked.deliver(answers[0][0], {"by": "parked"})
    scene.pause(1)
    upload.send_part(1.0)
    status = upload.answer()
    scene.expect(status == 200, "an upload in progress completes", status=status)
    member = scene.cluster.members["api-0"]
    scene.until(lambda: not member.is_alive(), 8, "it exits within its grace")
    scene.measure("exit after SIGTERM", seconds=time.monotonic() - told)


@row(8, "API: starved (2 s a request)", Plan(heartbeat=1))
def starve(scene):
    scene.warm_up(graders=8)
    runs = scene.load(runs=2, students=40)
    scene.fault("starved", member="api-0")
    ends = time.monotonic() + 9
    while time.monotonic() < ends:
        scene.cluster.signal("api-0", signal.SIGSTOP)
        scene.pause(1.8)
        scene.cluster.signal("api-0", signal.SIGCONT)
        scene.pause(0.2)
    scene.until(lambda: all_over(runs), 40, "the runs end")
    scene.expect(
        failed_attempts(scene) == 0,
        "no live worker is declared dead: no lease was lost",
        failed_attempts=failed_attempts(scene),
    )


# All clients share one address, from which a replica this small would accept 96 at a time without a token.
LIMITS = {"max-connections": 256, "max-connections-per-address": 192}


@row(9, "API: connection or thread limit reached", Plan(links=("db:api-0",), heartbeat=1, api=LIMITS))
def limits_reached(scene):
    """First all places for polls are used, then all threads that wait for the database."""
    scene.warm_up()
    holder = scene.add_idle_grader(home=0)
    run = scene.submit(students=6, pre=False, post=False)
    job = holder.take(replica=0)
    done = {"_id": {"$regex": f"^{run.run}"}}
    scene.until(lambda: scene.database.job_results.count_documents(done) == 5, 15, "all other jobs are done")
    crowd = ParkedPolls(scene, scene.add_idle_grader(home=0), replica=0, count=192)
    scene.until(lambda: scene.cluster.metric("api-0", "broadway_api_parked_polls") >= 192, 15, "192 polls are parked")
    begun = time.monotonic()
    newcomer = scene.add_idle_grader(home=0)
    statuses = {newcomer.poll_once(wait=5, replica=0) for _ in range(3)}
    scene.expect(statuses <= {498, 503}, "new polls are answered with Retry-After", statuses=sorted(statuses))
    scene.expect(time.monotonic() - begun < 6, "soon", seconds=time.monotonic() - begun)
    gets_through(scene, holder, job)
    crowd.close()
    scene.until(lambda: scene.cluster.metric("api-0", "broadway_api_parked_polls") < 100, 10, "their places are free")
    again = scene.submit(students=6, pre=False, post=False)
    job = holder.poll(wait=1, replica=0)
    scene.link("db:api-0", delay_s=0.25)
    readers = [threading.Thread(target=again.read, args=(0,), daemon=True) for _ in range(120)]
    for reader in readers:
        reader.start()
    scene.pause(0.3)
    gets_through(scene, holder, job)
    scene.link("db:api-0")
    for reader in readers:
        reader.join(20)
    scene.expect(run.read() == "finished", "the run ends")


def gets_through(scene, grader, job):
    """Checks that heartbeats are fast, and that the result of `job`, if given, is accepted."""
    slowest = 0
    for _ in range(10):
        begun = time.monotonic()
        beat = grader.beat(replica=0)
        slowest = max(slowest, time.monotonic() - begun)
        scene.expect(beat.status == 200, "a heartbeat is accepted", status=beat.status)
    scene.expect(slowest < 1, "heartbeats do not wait behind other requests", slowest=slowest)
    if job:
        answer = grader.send(job, {"by": "holder"}, replica=0)
        scene.expect(answer.status == 200, "a result is accepted", status=answer.status)


@row(10, "API: unreachable for callbacks while graders wait on it", Plan(links=("callbacks:api-0",)))
def no_callbacks(scene):
    scene.warm_up()
    out_of_contact = "broadway_scheduler_replicas_out_of_contact"
    scene.link("callbacks:api-0", refuse=True)
    scene.cluster.proxies["callbacks:api-0"].cut()
    runs = scene.load(runs=3, students=12)
    scene.until(lambda: scene.cluster.metric("scheduler-0", out_of_contact) == 1, 15, "the metric says so")
    scene.expect("replica out of contact" in scene.cluster.log("scheduler-0"), "the log says so")
    scene.until(lambda: all_over(runs), 30, "other replicas' graders get the jobs")
    scene.link("callbacks:api-0")
    scene.until(lambda: scene.cluster.metric("scheduler-0", out_of_contact) == 0, 15, "it is tried again")
    local = scene.add_idle_grader(home=0)
    scene.submit(students=8, pre=False, post=False)
    job = local.poll(wait=2, replica=0)
    scene.expect(job is not None, "its graders get jobs again")
    if job:
        local.deliver(job, {"by": "local"})


@row(11, "API: one grader's calls spread over the replicas", Plan(replicas=3), strict_deaths=True)
def spread(scene):
    scene.warm_up(graders=6, runs=3, students=20, roams=True)
    before = {
        m.name: resources.usage(m.pid)["resident_kb"] for m in scene.cluster.members.values() if m.name != "database"
    }
    runs = scene.load(runs=3, students=20)
    scene.until(lambda: all_over(runs), 40, "the runs end")
    for name, kilobytes in before.items():
        after = resources.usage(scene.cluster.members[name].pid)["resident_kb"]
        scene.history.note("second load", member=name, before_kb=kilobytes, after_kb=after)
    scene.expect(failed_attempts(scene) == 0, "no lease was lost", failed_attempts=failed_attempts(scene))
