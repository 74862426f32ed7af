"""Rows 35 to 38: the link between a grader and the API."""

import threading
import time

from bson import ObjectId

from broadway_faults import resources
from broadway_faults.cluster import Plan
from broadway_faults.courses import CourseWorker, SocketWorker, Staff
from broadway_faults.raw import Upload
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, failed_attempts
from broadway_faults.rows_grader import death_s, work_on

PUBLIC = ("public:api-0",)


@row(35, "grader link: lost answers to polls and results, a poll twice", Plan(links=PUBLIC, heartbeat=1))
def lost_answers(scene):
    scene.warm_up()
    link = "public:api-0"
    scene.link(link, match=b"GET /api/v1/grading_job", cut_reply=4)
    runs = scene.load(runs=2, students=12)
    scene.until(lambda: all_over(runs), 40, "the runs end though answers to polls are lost")
    scene.link(link, match=b"POST /api/v1/grading_job", cut_reply=4)
    runs = scene.load(runs=2, students=12)
    scene.until(lambda: all_over(runs), 40, "the runs end though answers to results are lost")
    scene.link(link)
    refused = [text for grader in scene.graders for _, text in grader.refused]
    scene.expect(not refused, "a retry after a lost answer is answered 200", refused=refused[:2])
    for grader in scene.graders:
        grader.leave()
    for grader in scene.graders:
        grader.join()
    doubled = scene.add_idle_grader(concurrency=1)
    scene.submit(students=6, pre=False, post=False)
    jobs = []
    polls = [threading.Thread(target=lambda n=n: jobs.append(doubled.poll(wait=1, replica=n % 2))) for n in range(4)]
    for poll in polls:
        poll.start()
    for poll in polls:
        poll.join(10)
    had = {job["job_id"] for job in jobs if job}
    scene.expect(len(had) == 1, "with concurrency=1 never more than one job", jobs=sorted(had))


@row(36, "grader link: cut shortly; cut for long", Plan(heartbeat=1))
def cut(scene):
    scene.warm_up(graders=2)
    for grader in scene.graders:
        grader.leave()
    for grader in scene.graders:
        grader.join()
    patient = scene.add_idle_grader()
    scene.submit(students=2, pre=False, post=False)
    job = patient.take()
    scene.fault("link cut", seconds=1.5 * scene.plan.heartbeat)
    scene.pause(1.5 * scene.plan.heartbeat)
    patient.beat()
    scene.pause(0.5)
    scene.expect("ended" not in scene.leases(job["job_id"])[0], "no requeue after one and a half intervals")
    answer = patient.send(job, {"by": "patient"})
    scene.expect(answer.status == 200, "its result counts", status=answer.status)
    job = patient.take()
    scene.fault("link cut", seconds=death_s(scene) + 1)
    scene.until(lambda: scene.leases(job["job_id"])[0].get("ended") == "lost", death_s(scene) + 6, "requeued")
    answer = patient.send(job, {"by": "late"})
    scene.expect(answer.status == 200, "the late result is the first", status=answer.status)


# The heartbeat interval is long enough for the refusal of a body that is far too large, which takes 2 s.
@row(37, "grader link: slow upload of a large result", Plan(job_timeout=7, heartbeat=0.8))
def slow_upload(scene):
    scene.warm_up(graders=2)
    for grader in scene.graders:
        grader.leave()
    for grader in scene.graders:
        grader.join()
    slow = scene.add_idle_grader()
    scene.submit(students=2, pre=False, post=False)
    job = slow.take()
    upload = Upload(scene, slow, job, replica=0, size=800_000)
    for part in range(1, 21):
        upload.send_part(part / 20)
        scene.pause((death_s(scene) + 1) / 20)
    status = upload.answer()
    scene.expect(status == 200, "an upload longer than the worker's timeout is accepted", status=status)
    scene.expect(
        failed_attempts(scene) == 0,
        "an upload in progress counts as a heartbeat",
        failed_attempts=failed_attempts(scene),
    )
    job = slow.take()
    huge = Upload(scene, slow, job, replica=0, size=1000, declared=300_000_000)
    status = huge.answer()
    scene.expect(status == 413, "the size limit holds", status=status)
    begun = time.monotonic()
    dripping = Upload(scene, slow, job, replica=0, size=100_000)
    part = 0
    while time.monotonic() - begun < 9 and "ended" not in scene.leases(job["job_id"])[0]:
        part += 1
        dripping.send_part(part / 100)
        scene.pause(0.1)
    ended = scene.leases(job["job_id"])[0].get("ended")
    scene.expect(ended == "expired", "the deadline holds", ended=ended, seconds=time.monotonic() - begun)
    dripping.send_part(1.0)
    dripping.answer()


@row(38, "grader link: half-open websocket", Plan(links=PUBLIC, has_courses=True))
def half_open(scene):
    """The TCP connection stays open, but no data passes."""
    staff = Staff(scene, "cs-a")
    silent = SocketWorker(scene, "half-open")
    scene.expect(silent.register() == {"success": True}, "it is registered")
    before = resources.usage(scene.cluster.members["api-0"].pid)
    run = staff.run("essay", 1)
    job = silent.receive()
    scene.expect(job is not None, "a job is pushed")
    lease = f"{job['grading_job_id']}.1"
    ends = time.monotonic() + 2 * death_s(scene)
    while time.monotonic() < ends:
        silent.ping()
        scene.pause(scene.plan.heartbeat * 0.4)
    scene.expect("ended" not in scene.leases(job["grading_job_id"])[0], "pings are heartbeats")
    scene.link("public:api-0", drop=("up", "down"))
    cut = time.monotonic()
    ended = {"_id": lease, "ended": {"$exists": True}}
    scene.until(lambda: scene.database.job_leases.count_documents(ended), death_s(scene) + 6, "its lease ends")
    took = time.monotonic() - cut
    scene.measure("lease ended", seconds=took)
    scene.expect(took < death_s(scene) + 3, "heartbeats decide, not TCP", seconds=took)
    now = resources.usage(scene.cluster.members["api-0"].pid)
    scene.expect(now["threads"] <= before["threads"] + 2, "no thread is held", before=before, now=now)
    other = CourseWorker(scene, "other")
    other.register(1)
    scene.until(lambda: work_on(other, 1), 15, "another grader gets the job")
    scene.until(
        lambda: scene.database.grading_runs.count_documents({"_id": ObjectId(run), "state": "finished"}), 15, "ends"
    )
    scene.link("public:api-0")
    silent.abort()
