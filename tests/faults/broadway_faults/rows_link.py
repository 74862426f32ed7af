"""Rows 35 to 38: the link between a grader and the API."""

import threading
import time

from broadway_faults.caller import fetch
from broadway_faults.cluster import Plan
from broadway_faults.raw import Upload
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, strikes
from broadway_faults.rows_grader import death_s

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
    scene.expect(not refused, "a retry after a lost answer hears 200", refused=refused[:2])
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


@row(37, "grader link: slow upload of a large result", Plan(job_timeout=7))
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
    scene.expect(status == 200, "an upload that takes longer than a death is accepted", status=status)
    scene.expect(strikes(scene) == 0, "an upload under way is life", strikes=strikes(scene))
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


@row(38, "grader link: half-open websocket")
def half_open(scene):
    answer = fetch(scene.urls[0], "GET", "/api/v1/worker_ws/nobody")
    scene.need(answer.status not in (0, 404, 405), "there are no websockets yet (the course protocol brings them)")
    scene.need(False, "the course protocol's websocket is not known to the harness yet")
