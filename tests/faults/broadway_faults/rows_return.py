"""Row 60: graders that can't run jobs return them."""

import signal
import threading

from broadway_faults.cluster import Plan
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, failed_attempts

REASON = "no space left on device"
RETURNS_FIRST = 3  # before the leader dies


class SickGrader:
    """Two of its kind return all that they get; a return is sent again until somebody says yes or no."""

    def __init__(self, scene):
        self.scene, self.returned = scene, []
        self.grader = scene.add_idle_grader(roams=True)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.thread.start()

    def _work(self):
        while not self.grader.leaving.is_set():
            job = self.grader.poll(wait=0.5)
            if job is not None:
                self._return(job)

    def _return(self, job):
        body = {"worker_id": self.grader.id, "outcome": "infrastructure", "reason": REASON}
        path = f"/grading_job/{job['job_id']}"
        while not self.grader.leaving.is_set():
            answer = self.grader.caller.call("return", self.grader.where(), "POST", path, body=body, timeout_s=20)
            if answer.kind == "ok":
                self.returned.append(f"{job['job_id']}.{job['attempt']}")
            if answer.kind in ("ok", "fail"):
                return

    def stop(self):
        self.grader.leave()
        self.thread.join(20)


@row(60, "graders: two return every job; change events lost, the leader dies", Plan(schedulers=2, job_timeout=30))
def jobs_are_returned(scene):
    """With odd seeds no change event comes through; with even ones the leader dies. No job fails, no attempt counts."""
    leader, sick = scene.cluster.leader_name(), [SickGrader(scene) for _ in range(2)]
    if scene.seed % 2:
        for member in scene.cluster.schedulers:
            scene.arm(member.name, "drop_change_event:error")
    runs = scene.load(runs=2, students=8)
    scene.until(lambda: sum(len(one.returned) for one in sick) >= RETURNS_FIRST, 30, "jobs are returned")
    if not scene.seed % 2:
        scene.kill(leader)
    scene.add_graders(3)
    scene.until(lambda: all_over(runs), 50, "the runs end by the graders that can")
    for one in sick:
        one.stop()
    returned = sorted({lease for one in sick for lease in one.returned})  # one that is lost on its way comes twice
    owned = scene.database.job_leases.count_documents({"_id": {"$in": returned}, "owner": "infrastructure"})
    scene.expect(owned == len(returned), "what was answered 200 is on record", answered=len(returned), found=owned)
    scene.expect(failed_attempts(scene) == 0, "no attempt has failed", failed=failed_attempts(scene))
    failed = scene.database.job_results.count_documents({"outcome": "failed"})
    scene.expect(failed == 0, "no job has failed", failed=failed)
    if scene.seed % 2:
        scene.cluster.signal(scene.cluster.leader_name(), signal.SIGKILL)
