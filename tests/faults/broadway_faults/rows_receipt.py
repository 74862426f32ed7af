"""Row 65: receipts, their chains, and pins of images."""

import json
import secrets
import threading
import time
from functools import partial

from broadway import canonical, receipts

from broadway_faults.caller import ROUTE, fetch
from broadway_faults.cluster import Plan
from broadway_faults.instructors import OVER
from broadway_faults.registry import row
from broadway_faults.rows_cancel import JobCanceller

IMAGE = "alpine:3.20"
DIGESTS = ["sha256:" + letter * 64 for letter in "abc"]
LATE_MS = 2500  # the cancel of a job waits so long before its write


def report_of(number, job):
    """What a grader sends: it has an image of its own."""
    stages = [{"image": IMAGE, "image_digest": DIGESTS[number % len(DIGESTS)]}]
    return {"job": job["job_id"], "nonce": secrets.token_hex(4), "stages": stages}


def grade(number, job):
    time.sleep(0.03)
    return report_of(number, job)


def fetch_twice(scene, run, seconds=30):
    """The answers of both replicas, which are asked at once, repeatedly until they give the receipts."""
    texts = {}

    def ask(url):
        def answers():
            answer = fetch(url, "GET", f"{ROUTE}/grading_run/{run}/receipts")
            texts[url] = answer.text
            return answer.status == 200

        scene.until(answers, seconds, "the receipts of an ended run are given")

    threads = [threading.Thread(target=ask, args=(url,)) for url in scene.urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(texts.values())


def check_chain(scene, run, accepted):
    """Both replicas give one chain, which verifies, with the receipt of each accepted result. Returns its text."""
    texts = fetch_twice(scene, run)
    scene.expect(len(texts) == 2 and len(set(texts)) == 1, "both replicas give the same chain", run=run)
    if not texts:
        return ""
    key = json.loads(fetch(scene.urls[0], "GET", f"{ROUTE}/receipts/key").text)["key"]
    findings = receipts.verify(canonical.parse(texts[0]), {key}, None)
    scene.expect(findings.faults == [], "the receipts verify", run=run, faults=findings.faults[:3])
    chained = [entry["receipt"] for entry in json.loads(texts[0])["receipts"]]
    made_with = {receipt["job_id"]: receipt["made_with"] for receipt in chained}
    lacking = [job for job in accepted if job.startswith(run) and made_with[job] != "result"]
    scene.expect(lacking == [], "an accepted result has a receipt of its own", run=run, jobs=lacking)
    return texts[0]


def revive(scene, name):
    """Starts a replica again that a failpoint has killed, without it."""
    scene.cluster.set_failpoints(name, "")
    scene.restart(name)


def check_pins(scene, run):
    """An image has one pin, and exactly the results that differ from it are flagged."""
    pins = list(scene.database.image_pins.find({"_id": {"$regex": f"^{run}/"}}))
    results = list(scene.database.job_results.find({"_id": {"$regex": f"^{run}"}, "result": {"$exists": True}}))
    # A result that is refused, since its job was cancelled, may have pinned the image before.
    scene.expect(len(pins) == 1 or not (pins or results), "the image has one pin", run=run, pins=len(pins))
    for result in results:
        (stage,) = json.loads(result["result"])["stages"]
        differs = stage["image_digest"] != pins[0]["digest"]
        scene.expect(result.get("has_drift", False) == differs, "drift is flagged, and nothing else", job=result["_id"])


def end_under_a_cancel(scene, grader):
    """Ends a run while the cancel of one of its jobs is about to be written: its chain stays as it was."""
    run = scene.submit(students=3, pre=True, post=False)
    job = f"{run.run}10000001"
    scene.arm("api-0", f"before_job_cancel_result:sleep={LATE_MS}@1")
    path = f"{ROUTE}/grading_job/{job}/cancel"
    cancel = threading.Thread(target=fetch, args=(scene.urls[0], "POST", path))
    cancel.start()
    scene.pause(0.5)
    held = grader.take(replica=1)
    grader.send(held, report_of(0, held), replica=1, success=False)
    scene.until(lambda: run.read(replica=1) == "failed", 20, "the run fails with its first job")
    early = fetch(scene.urls[1], "GET", f"{ROUTE}/grading_run/{run.run}/receipts")
    scene.expect(early.status == 200, "the run has its receipts", status=early.status)
    cancel.join()
    is_late = scene.result(job) is not None
    scene.expect(is_late, "the cancel is written after the run's end", job=job)
    late = check_chain(scene, run.run, [])
    scene.expect(early.text == late, "a late cancel does not change the chain", run=run.run)


@row(65, "receipts: cancels, a rerun, replicas or the leader killed; two chains at once", Plan(schedulers=2))
def receipts_are_chained(scene):
    """With odd seeds a replica dies after it stored a result, and one after it stored a chain; with even ones the
    leader dies."""
    scene.need(scene.supports("GET", f"/grading_run/{'0' * 24}/receipts"), "there are no receipts yet")
    canceller, leader, is_odd = JobCanceller(scene), scene.cluster.leader_name(), scene.seed % 2
    idle = scene.add_idle_grader()
    end_under_a_cancel(scene, idle)
    if is_odd:
        scene.arm("api-0", f"after_result_insert:kill@{scene.random.randint(2, 12)}")
    graders = [scene.add_graders(1, grade=partial(grade, number))[0] for number in range(3)]
    runs = [scene.submit(students=8, pre=scene.random.random() < 0.5, post=True) for _ in range(4)]
    for run in runs[:2]:
        for index in scene.random.sample(range(8), 3):
            canceller.cancel(run, f"{run.run}1{index:07x}", scene.random.uniform(0, 1.5))
    scene.pause(scene.random.uniform(0.2, 0.8))
    runs[3].cancel(replica=1)
    if is_odd:
        scene.died("api-0", 40)
        revive(scene, "api-0")
    else:
        scene.kill(leader)
    scene.until(lambda: all(run.read() in OVER for run in runs), 75, "every run ends, once")
    again = fetch(scene.urls[1], "POST", f"{ROUTE}/grading_run/{runs[0].run}/rerun?select=all").json.get("id")
    scene.until(
        lambda: '"state":"finished"' in fetch(scene.urls[1], "GET", f"{ROUTE}/grading_run/{again}").text,
        60,
        "the run is graded again",
    )
    canceller.join()
    if is_odd:
        scene.arm("api-1", "after_run_receipts:kill@1")
        fetch(scene.urls[1], "GET", f"{ROUTE}/grading_run/{runs[0].run}/receipts")
        scene.died("api-1")
        revive(scene, "api-1")
        scene.cluster.wait_ready()
    accepted = [job for grader in graders for job in grader.accepted]
    for run in [*(run.run for run in runs), again]:
        check_chain(scene, run, accepted)
        check_pins(scene, run)
