"""Row 66: what was answered has its entry in the audit."""

import time

from broadway_faults.instructors import OVER
from broadway_faults.registry import row
from broadway_faults.rows_cancel import JobCanceller


def start_recorded(run):
    """Starts a run; returns whether the server said that it did."""
    while True:
        answer = run.caller.call("start", run.random.randrange(2), "POST", f"/grading_run/{run.run}", run=run.run)
        if answer.kind == "ok":
            run.scene.history.note("run started", run=run.run)
            return True
        if answer.kind == "fail" and run.read() not in (None, "created"):
            run.scene.history.note("run started", run=run.run)
            return False
        time.sleep(0.1)


def expect_entry(scene, action, **what):
    count = scene.database.audit.count_documents({"entries": {"$elemMatch": {"action": action, **what}}})
    scene.expect(count >= 1, "what was answered 200 has its entry in the audit", action=action, **what)


@row(66, "audit: kill -9 before an entry, and entries that can't be stored, under load")
def audit_entries(scene):
    """With odd seeds a replica can't store entries for a while; with even ones it dies before it stores one."""
    scene.need(scene.supports("GET", "/audit"), "there is no audit yet")
    scene.warm_up()
    canceller, started = JobCanceller(scene), []
    runs = [scene.prepare(students=6, pre=False) for _ in range(6)]
    if scene.seed % 2:
        scene.arm("api-0", "drop_audit_entry:error")
    else:
        scene.arm("api-0", f"before_audit:kill@{1 + scene.random.randrange(6)}")
    for run in runs:
        if scene.seed % 2 and run is runs[3]:
            scene.arm("api-0", "")
        scene.expect(run.create(), "the run is created", key=run.key)
        if start_recorded(run):
            started.append(run)
        for index in scene.random.sample(range(6), 2):
            canceller.cancel(run, f"{run.run}1{index:07x}", scene.random.uniform(0, 1))
    if not scene.seed % 2:
        scene.died("api-0")
        scene.restart("api-0")
    scene.until(lambda: all(run.read() in OVER for run in runs), 60, "every run ends")
    canceller.join()
    for run in runs:
        expect_entry(scene, "run.create", run=run.run)
    for run in started:
        expect_entry(scene, "run.start", run=run.run)
    for job, status in canceller.answers.items():
        if status == 200:
            expect_entry(scene, "job.cancel", job=job)
