"""Row 61: single jobs are cancelled."""

import threading
from datetime import timedelta

from broadway_faults.cluster import Plan
from broadway_faults.instructors import CALL_TIMEOUT_S, OVER
from broadway_faults.registry import row

SOON = timedelta(seconds=1)  # in which the scheduler has seen the result of a job that was cancelled


class JobCanceller:
    """Cancels jobs from a thread each, until somebody says yes or no: `answers` has the last word by the job's id."""

    def __init__(self, scene):
        self.scene, self.answers, self.threads = scene, {}, []

    def cancel(self, run, job, delay_s=0):
        thread = threading.Timer(delay_s, self._cancel, (run, job))
        self.threads.append(thread)
        thread.start()

    def _cancel(self, run, job):
        replica = run.random.randrange(len(self.scene.urls))
        while True:
            answer = run.caller.call(
                "cancel_job", replica, "POST", f"/grading_job/{job}/cancel", timeout_s=CALL_TIMEOUT_S, run=run.run
            )
            if answer.kind in ("ok", "fail"):
                self.answers[job] = answer.status
                return

    def join(self):
        for thread in self.threads:
            thread.join(30)


def check_answers(scene, answers):
    """Every answer is true, and a job that is cancelled is handed out to nobody."""
    leases = scene.database.job_leases
    for job, status in answers.items():
        result = scene.database.job_results.find_one({"_id": job})
        is_cancelled = result is not None and result["outcome"] == "cancelled"
        scene.expect(is_cancelled == (status == 200), "the answer says how the job ended", job=job, status=status)
        if not is_cancelled or scene.seed % 2:
            continue
        late = {"_id": {"$regex": f"^{job}\\."}, "leased_at": {"$gt": result["finished_at"] + SOON}}
        scene.expect(leases.count_documents(late) == 0, "a cancelled job is not handed out", job=job)


@row(61, "job: cancel in the same instant as its hand-out, its result, its requeue", Plan(schedulers=2))
def cancel_jobs(scene):
    """With odd seeds no change event comes through; with even ones the leader dies in between."""
    scene.need(scene.supports("POST", f"/grading_job/{'0' * 32}/cancel"), "jobs can't be cancelled yet")
    canceller, leader = JobCanceller(scene), scene.cluster.leader_name()
    if scene.seed % 2:
        for member in scene.cluster.schedulers:
            scene.arm(member.name, "drop_change_event:error")
    lost = scene.add_idle_grader()
    requeued = scene.submit(students=1, pre=False, post=False)
    held = lost.take()
    canceller.cancel(requeued, held["job_id"], 2 * scene.plan.heartbeat + 1 + scene.random.uniform(-0.1, 0.2))
    scene.add_graders(2)
    runs = [scene.submit(students=8, pre=False, post=True) for _ in range(4)]
    for run in runs:
        for index in scene.random.sample(range(8), 4):
            canceller.cancel(run, f"{run.run}1{index:07x}", scene.random.uniform(0, 1.5))
    scene.pause(0.8)
    if not scene.seed % 2:
        scene.kill(leader)
    scene.until(lambda: all(run.read() in OVER for run in (requeued, *runs)), 75, "every run ends, once")
    canceller.join()
    scene.expect(len(canceller.answers) == 17, "every request is answered", answered=len(canceller.answers))
    states = {run.read() for run in runs}
    scene.expect(states == {"finished"}, "a run goes on without its cancelled jobs", states=sorted(map(str, states)))
    check_answers(scene, canceller.answers)
