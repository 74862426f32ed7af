"""Rows 62 and 63: runs are paused and resumed; runs pause by themselves."""

import threading
import time
from datetime import datetime, timedelta, timezone

from broadway_faults.cluster import Plan
from broadway_faults.instructors import CALL_TIMEOUT_S, OVER
from broadway_faults.registry import row

CLOCK = timedelta(milliseconds=300)  # a process knows the database's date from a sample


def now():
    """The date of this machine, as the driver returns dates."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


class Pauser(threading.Thread):
    """Pauses and resumes one run again and again; `spans` has, of each pause that was answered, from when until when
    nothing of the run may be handed out."""

    def __init__(self, scene, run):
        super().__init__(daemon=True)
        self.scene, self.run_of, self.spans = scene, run, []
        self.leaving = threading.Event()

    def run(self):
        while not self.leaving.is_set():
            self.leaving.wait(self.run_of.random.uniform(0, 0.5))
            if not self._ask("pause"):
                break
            begins = now()
            self.leaving.wait(self.run_of.random.uniform(0.05, 0.8))
            self.spans.append((begins, now()))
            if not self._ask("resume"):
                break

    def _ask(self, verb):
        """Repeats the request until it is answered. False: the run is over."""
        while True:
            answer = self.run_of.caller.call(
                verb,
                self.run_of.random.randrange(len(self.scene.urls)),
                "POST",
                f"/grading_run/{self.run_of.run}/{verb}",
                timeout_s=CALL_TIMEOUT_S,
                run=self.run_of.run,
            )
            if answer.kind in ("ok", "fail"):
                return answer.kind == "ok"
            time.sleep(0.05)


def check_spans(scene, pauser):
    """No job of the run was handed out while a pause of it held; no attempt was charged for one."""
    leases = list(scene.database.job_leases.find({"_id": {"$regex": f"^{pauser.run_of.run}"}}))
    for begins, ends in pauser.spans:
        late = [lease["_id"] for lease in leases if begins + CLOCK < lease["leased_at"] < ends]
        scene.expect(not late, "nothing is handed out after a pause was answered", leases=late)


@row(62, "run: pause and resume against hand-out, result, requeue, phases", Plan(schedulers=2))
def pause_runs(scene):
    """With odd seeds no change event comes through; with even ones the leader dies in between."""
    scene.need(scene.supports("POST", f"/grading_run/{'0' * 24}/pause"), "runs can't be paused yet")
    leader = scene.cluster.leader_name()
    if scene.seed % 2:
        for member in scene.cluster.schedulers:
            scene.arm(member.name, "drop_change_event:error")
    lost = scene.add_idle_grader()
    requeued = scene.submit(students=1, pre=False, post=False)
    lost.take()
    scene.add_graders(3)
    runs = [scene.submit(students=20 if scene.seed % 2 == 0 else 6, pre=True, post=True) for _ in range(4)]
    pausers = [Pauser(scene, run) for run in (requeued, *runs)]
    for pauser in pausers:
        pauser.start()
    scene.pause(1.5)
    if not scene.seed % 2:
        scene.kill(leader)
    scene.pause(4)
    for pauser in pausers:
        pauser.leaving.set()
    for pauser in pausers:
        pauser.join(60)
    scene.until(lambda: all(run.read() in OVER for run in (requeued, *runs)), 75, "every run ends, once")
    states = {run.read() for run in (requeued, *runs)}
    scene.expect(states == {"finished"}, "a pause ends no run", states=sorted(map(str, states)))
    spans = sum(len(pauser.spans) for pauser in pausers)
    scene.measure("pauses", answered=spans)
    scene.expect(spans >= 5, "pauses are answered", spans=spans)
    for pauser in pausers:
        check_spans(scene, pauser)
    scene.until(lambda: scene.database.pauses.count_documents({}) == 0, 15, "no pause of an ended run is left")


def fail(grader, job):
    grader.send(job, None, success=False, logs={"stderr": "no tests"})


@row(63, "run: its breaker, the leader dies before, as and after it pauses the run", Plan(schedulers=2))
def break_runs(scene):
    """The leader dies behind a result of the run, whose number is the seed's."""
    scene.need(scene.supports("POST", f"/grading_run/{'0' * 24}/pause"), "runs can't be paused yet")
    dies_at = 3 + scene.seed % 3  # of five
    grader = scene.add_idle_grader()
    run = scene.submit(students=8, pre=False, post=True, breaker=5)
    for number in range(1, 6):
        fail(grader, grader.take(40))
        if number == dies_at:
            scene.kill(scene.cluster.leader_name())
    pauses = scene.database.pauses
    stored = {"_id": f"run/{run.run}/automatic"}
    scene.until(lambda: pauses.count_documents(stored) == 1, 40, "the run pauses")
    leases = {"_id": {"$regex": f"^{run.run}"}}
    before = scene.database.job_leases.count_documents(leases)
    scene.expect(grader.poll(wait=1) is None, "nothing more of it is handed out")
    scene.expect(scene.database.job_leases.count_documents(leases) == before, "no lease is made", leases=before)
    while run.caller.call("resume", 0, "POST", f"/grading_run/{run.run}/resume", timeout_s=CALL_TIMEOUT_S).kind != "ok":
        time.sleep(0.1)
    for _ in range(3):
        fail(grader, grader.take())
    scene.add_graders(1)
    scene.until(lambda: run.read() == "finished", 40, "it does not pause again")
