"""Row 64: submissions that supersede one another."""

import threading
from datetime import timedelta

from bson import ObjectId

from broadway_faults.cluster import Plan
from broadway_faults.instructors import OVER
from broadway_faults.registry import row

SOON = timedelta(seconds=1)  # in which the scheduler has seen that a job was superseded
KEYS, SUBMISSIONS = 6, 4


PREPARING = threading.Lock()  # instructors are numbered as they are made


class Resubmitter:
    """Submits and starts runs with one key, one soon after the other, in a thread of its own."""

    def __init__(self, scene, key):
        self.scene, self.key, self.runs = scene, key, []
        self.thread = threading.Thread(target=self._submit, daemon=True)
        self.thread.start()

    def _submit(self):
        for number in range(SUBMISSIONS):
            more = {"supersede_key": self.key, "supersede_share": 0.3}
            with PREPARING:
                run = self.scene.prepare(students=1, pre=number == 1, post=number == 2, **more)
            if run.create() and run.start():
                self.runs.append(run)
            self.scene.pause(self.scene.random.choice((0, 0.05, 0.3, 0.6)))


def check_key(scene, runs):
    """The newest run with the key counts; each superseded job was superseded by a newer one, and is not handed out."""
    database = scene.database
    documents = {run.run: database.grading_runs.find_one({"_id": ObjectId(run.run)}) for run in runs}
    order = sorted(documents, key=lambda run: (documents[run]["started_at"], run))
    scene.expect(documents[order[-1]]["state"] != "superseded", "the newest submission counts", run=order[-1])
    for run in order:
        job = f"{run}10000000"
        result = database.job_results.find_one({"_id": job})
        is_superseded = result is not None and result["outcome"] == "superseded"
        state = documents[run]["state"]
        scene.expect(is_superseded == (state == "superseded"), "the run's state says it", run=run, state=state)
        if not is_superseded:
            continue
        newer = result["superseded_by"][:24]
        scene.expect(
            newer in order and order.index(newer) > order.index(run), "it was superseded by a newer one", job=job
        )
        if scene.seed % 2:
            continue
        late = {"_id": {"$regex": f"^{run}"}, "leased_at": {"$gt": result["finished_at"] + SOON}}
        scene.expect(database.job_leases.count_documents(late) == 0, "nothing of it is handed out", run=run)


@row(64, "run: superseded in the same instant as its hand-out, its result, its requeue", Plan(schedulers=2))
def supersede_runs(scene):
    """With odd seeds no change event comes through; with even ones the leader dies in between."""
    leader = scene.cluster.leader_name()
    if scene.seed % 2:
        for member in scene.cluster.schedulers:
            scene.arm(member.name, "drop_change_event:error")
    lost = scene.add_idle_grader()
    held = scene.submit(students=1, pre=False, post=False, supersede_key=f"held-{scene.seed}")
    lost.take()
    scene.add_graders(2)
    submitters = [Resubmitter(scene, f"key-{scene.seed}-{number}") for number in range(KEYS)]
    with PREPARING:
        rest = scene.prepare(students=8, pre=False, post=True)
        newer = scene.prepare(students=1, pre=False, post=False, supersede_key=f"held-{scene.seed}")
    scene.expect(rest.create() and rest.start(), "a run without keys is started")
    scene.pause(0.6)
    if not scene.seed % 2:
        scene.kill(leader)
    scene.pause(scene.random.uniform(0, 2 * scene.plan.heartbeat))
    scene.expect(newer.create() and newer.start(), "the newer run is started")
    for submitter in submitters:
        submitter.thread.join(60)
    runs = [run for submitter in submitters for run in submitter.runs]
    scene.expect(len(runs) == KEYS * SUBMISSIONS, "every submission is answered", runs=len(runs))
    everything = (held, newer, rest, *runs)
    scene.until(lambda: all(run.read() in OVER for run in everything), 75, "every run ends, once")
    scene.expect(rest.read() == "finished", "a run without keys goes on")
    for submitter in submitters:
        check_key(scene, submitter.runs)
    check_key(scene, [held, newer])
