"""Hand-made histories for the checker's own tests: a valid one, and functions to add violations."""

import copy

from broadway_faults.evidence import Evidence, assemble

RUN, NAME = "a" * 24, "essay"
PRE, FIRST, SECOND, POST = (RUN + end for end in ("00000000", "10000000", "10000001", "20000000"))
JOBS = (PRE, FIRST, SECOND, POST)
WORKER, OTHER = "w" * 32, "v" * 32
CONFIG = {
    "heartbeat_ms": 500,
    "leader_lease_ms": 1500,
    "max_attempts": 3,
    "is_idempotent": True,
    "strict_deaths": True,
    "settles": True,
}


class Story:
    """Builds a history. The valid one has one run of four jobs and one worker, without faults."""

    def __init__(self):
        self.lines, self.events, self.config = [], [], dict(CONFIG)
        self.t, self.calls = 1000, 0
        self.dump = {
            "runs": {},
            "leases": {},
            "results": {},
            "workers": {},
            "logs": [],
            "definitions": [],
            "leader": {},
        }

    # ---- Events ----

    def tick(self, ms=10):
        self.t += ms
        return self.t

    def call(self, process, op, kind="ok", answer=None, **facts):
        self.calls += 1
        self.lines.append({"t": self.tick(), "id": self.calls, "type": "invoke", "process": process, "op": op, **facts})
        if kind is not None:
            self.lines.append({"t": self.tick(), "id": self.calls, "type": kind, **(answer or {})})
        return self.calls

    def note(self, what, /, **facts):
        self.lines.append({"t": self.tick(), "type": "note", "note": what, **facts})

    def event(self, collection, op, key, **content):
        self.events.append({"t": self.tick(), "coll": collection, "op": op, "_id": key, **content})

    def lead(self, term):
        self.event("leader", "update", "leader", set={"term": term})

    def create(self, run=RUN, name=NAME, key=NAME, **document):
        self.call("client", "create", answer={"run": run, "status": 200}, name=name, key=key)
        self.dump["runs"][run] = {
            "name": name,
            "state": "finished",
            "students": 2,
            "has_pre": True,
            "has_post": True,
            "started_at": 1,
            **document,
        }

    def start(self, run=RUN):
        self.call("client", "start", run=run)

    def read(self, state, done, run=RUN, **answer):
        progress = {"succeeded": done, "failed": 0, "cancelled": 0}
        answer = {"state": state, "progress": progress, **answer}
        self.call("client", "status", run=run, replica=0, answer=answer)

    def register(self, worker=WORKER):
        self.call("grader", "register", answer={"worker": worker})
        self.dump["workers"][worker] = {"alive": True}

    def lease(self, job, attempt=1, worker=WORKER, term=1):
        self.event("job_leases", "insert", f"{job}.{attempt}", doc={"worker": worker, "term": term})
        self.dump["leases"][f"{job}.{attempt}"] = {"worker": worker, "term": term}

    def end(self, job, attempt=1, end="lost", term=1):
        self.event("job_leases", "update", f"{job}.{attempt}", set={"ended": end, "ended_term": term})
        self.dump["leases"][f"{job}.{attempt}"].update(ended=end, ended_term=term)

    def poll(self, job, attempt=1, worker=WORKER, **answer):
        answer = {"status": 200, "job": job, "attempt": attempt, "canaries": [f"canary-{NAME}-yranac"], **answer}
        self.call("grader", "poll", worker=worker, answer=answer)

    def deliver(self, job, worker=WORKER, value="v1", kind="ok", is_stored=True, **answer):
        facts = {name: answer.pop(name) for name in ("unfit", "protocol") if name in answer}
        answer = {"status": 200, **answer}
        self.call("grader", "result", kind=kind, worker=worker, job=job, value=value, answer=answer, **facts)
        if is_stored:
            self.store(job, worker=worker, value=value)

    def store(self, job, **result):
        self.event("job_results", "insert", job, doc={})
        self.dump["results"][job] = {"outcome": "succeeded", **result}

    def grade(self, job):
        self.lease(job)
        self.poll(job)
        self.deliver(job)

    def finish(self, run=RUN, state="finished"):
        self.event("grading_runs", "update", run, set={"state": state})
        self.note("drained", done=True, took_s=1.0, allowed_s=20.0)

    def evidence(self):
        calls, notes = assemble(self.lines)
        return Evidence(self.config, calls, notes, self.events, copy.deepcopy(self.dump))


def good_story(jobs=JOBS):
    """A valid history, up to the end of `jobs`."""
    story = Story()
    story.lead(1)
    story.register()
    story.create()
    story.start()
    story.read("preprocessing", 0)
    for job in jobs:
        story.grade(job)
    if jobs == JOBS:
        story.finish()
        story.read("finished", 4)
    else:
        story.dump["runs"][RUN]["state"] = "students"
        story.config["settles"] = False
    return story
