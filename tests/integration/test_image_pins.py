"""Pins of images: the first digest that a grader reports counts for the run, later jobs carry it, drift is flagged."""

import threading

from broadway import ROUTE, BackgroundGrader
from pipelines import POST, PRE, STUDENT, job_id_of, run_of, stage

ONE, OTHER, THIRD = ("sha256:" + letter * 64 for letter in "abc")


def reported(digest, image="alpine:3.20"):
    return {"stages": [{"image": image, "image_digest": digest}]}


def jobs_of(api, run, **query):
    answer = api.request("GET", f"{ROUTE}/grading_run/{run}/jobs", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["jobs"]


def job_of(api, job):
    return api.request("GET", f"{ROUTE}/grading_job/{job}").json()


def test_the_first_digest_is_carried_by_later_jobs_and_another_one_is_flagged(stack):
    run = stack.api.submit_and_start(run_of(3, pre=True, post=True))
    grader = stack.grader(digests="true")
    for digest in (ONE, ONE, OTHER):
        job = grader.take()
        assert job.get("image_digests") == (None if job["job_id"] == job_id_of(run, PRE) else {"alpine:3.20": ONE})
        grader.finish(job, reported(digest))
    for at in range(2):
        job = grader.at(stack.urls[at + 1]).take()
        assert job["image_digests"] == {"alpine:3.20": ONE}
        grader.finish(job, reported(ONE))
    stack.api.wait_over(run)
    drifted = job_id_of(run, STUDENT, 1)
    assert [job["job_id"] for job in jobs_of(stack.api, run) if job.get("drift")] == [drifted]
    assert [job["job_id"] for job in jobs_of(stack.api, run, drift="true")] == [drifted]
    assert len(jobs_of(stack.api, run, drift="false")) == 5
    assert job_of(stack.api, drifted)["drift"] == [{"image": "alpine:3.20", "pinned": ONE, "reported": OTHER}]
    assert "drift" not in job_of(stack.api, job_id_of(run, POST))
    assert stack.api.status(run)["drift"] is True


def test_a_grader_that_did_not_ask_gets_jobs_as_before_but_its_reports_count(stack):
    run = stack.api.submit_and_start(run_of(3))
    old, new = stack.grader(), stack.grader(digests="true")
    old.finish(old.take(), reported(ONE))
    assert set(old.take()) == {"job_id", "attempt", "stages"}
    assert new.take()["image_digests"] == {"alpine:3.20": ONE}
    stack.api.cancel(run)


def test_only_images_of_the_run_are_pinned_and_only_by_digests(stack):
    run = stack.api.submit_and_start(run_of(3))
    grader = stack.grader(digests="true")
    for result in (reported(ONE, "other"), reported("latest"), {"stages": "none"}):
        job = grader.take()
        assert "image_digests" not in job
        grader.finish(job, result)
    assert list(stack.database.db.image_pins.find({"_id": {"$regex": f"^{run}/"}})) == []
    assert not any(job.get("drift") for job in jobs_of(stack.api, run))
    assert "drift" not in stack.api.status(run)


def test_an_image_with_a_digest_in_its_name_is_pinned_by_it(stack):
    image = f"alpine@{ONE}"
    run = stack.api.submit_and_start(run_of(2, student_pipeline=[stage(image=image)]))
    grader = stack.grader(digests="true")
    for digest in (ONE, OTHER):
        job = grader.take()
        assert "image_digests" not in job
        grader.finish(job, reported(digest, image))
    assert job_of(stack.api, job_id_of(run, STUDENT, 1))["drift"] == [
        {"image": image, "pinned": ONE, "reported": OTHER}
    ]
    assert "drift" not in job_of(stack.api, job_id_of(run, STUDENT, 0))


def test_of_graders_that_report_at_once_one_pins_and_every_other_digest_is_drift(stack):
    run = stack.api.submit_and_start(run_of(3))
    graders = [stack.grader(replica=number) for number in range(3)]
    jobs = [grader.take() for grader in graders]
    threads = [
        threading.Thread(target=grader.finish, args=(job, reported(digest)))
        for grader, job, digest in zip(graders, jobs, (ONE, OTHER, THIRD), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stack.api.wait_over(run)
    (pin,) = stack.database.db.image_pins.find({"_id": {"$regex": f"^{run}/"}})
    drifts = [job_of(stack.api, job["job_id"]).get("drift") for job in jobs]
    assert sorted(drift is None for drift in drifts) == [False, False, True]
    assert {drift[0]["pinned"] for drift in drifts if drift} == {pin["digest"]}
    assert {drift[0]["reported"] for drift in drifts if drift} == {ONE, OTHER, THIRD} - {pin["digest"]}


def test_jobs_of_a_course_carry_the_pin_by_http_and_by_websocket(staff):
    course, old, new = staff.course(), staff.grader(), staff.grader(digests=True)
    run = course.run(3)
    old.finish(old.take(), results=[reported(ONE, image="alpine:3.20")])
    pins = list(staff.stack.database.db.image_pins.find({"_id": {"$regex": f"^{run}/"}}))
    image = course.data("GET", f"/grading_run_status/cs225/{run}") and pins[0]["image"]
    assert new.take()["image_digests"] == {image: ONE}
    socket = staff.socket("pins-by-socket")
    socket.send({"type": "register", "args": {"hostname": "host", "digests": True}})
    assert socket.receive() == {"success": True}
    assert socket.receive()["image_digests"] == {image: ONE}
    course.cancel(run)


def test_graders_of_all_replicas_agree(stack):
    run = stack.api.submit_and_start(run_of(30))

    def grade(_job):
        return reported(ONE)

    with BackgroundGrader(stack.urls, stack.cluster_token, grade):
        stack.api.wait_over(run)
    assert not any(job.get("drift") for job in jobs_of(stack.api, run))
