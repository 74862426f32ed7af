"""The clients of races, one for each protocol, with the same methods: each submits runs, starts them, and acts on
them."""

import time

from broadway_faults.caller import Caller
from broadway_faults.cluster import COURSES
from broadway_faults.courses import bearer
from broadway_faults.instructors import canary, run_of, stage

CALL_TIMEOUT_S = 20
INSIST_S = 120
COURSE = "cs-a"


class Client:
    """One client of one race. Requests without an answer are repeated until the server says yes or no."""

    def __init__(self, scene, name, replica):
        self.scene, self.replica = scene, replica
        self.caller = Caller(name, scene.history, scene.urls)
        self.headers = {}

    def ask(self, op, method, path, body=None, headers=None, **facts):
        """The answer, which is 2xx or 4xx; the last one after INSIST_S."""
        deadline = time.monotonic() + INSIST_S
        while True:
            answer = self.caller.call(
                op,
                self.replica,
                method,
                path,
                body=body,
                headers={**self.headers, **(headers or {})},
                timeout_s=CALL_TIMEOUT_S,
                **facts,
            )
            if answer.kind in ("ok", "fail") or time.monotonic() > deadline:
                return answer
            self.replica = (self.replica + 1) % len(self.scene.urls)
            time.sleep(0.05)

    def cancel_run(self, run):
        return self.ask("cancel", "POST", f"/grading_run/{self.path(run)}/cancel", run=run)

    def cancel_job(self, job):
        return self.ask("cancel_job", "POST", f"/grading_job/{self.path(job)}/cancel", run=job[:24], job=job)

    def pause(self, run):
        return self.ask("pause", "POST", f"/grading_run/{self.path(run)}/pause", run=run)

    def resume(self, run):
        return self.ask("resume", "POST", f"/grading_run/{self.path(run)}/resume", run=run)

    def rerun(self, run, index):
        return self.ask("rerun", "POST", f"/grading_run/{self.path(run)}/rerun", {"students": [index]}, run=run)

    def receipts(self, run):
        return self.ask("receipts", "GET", f"/grading_run/{self.path(run)}/receipts", run=run)


class ClassicClient(Client):
    """A client of the classic protocol."""

    def path(self, thing):
        return thing

    @staticmethod
    def id_of(answer):
        return answer.json.get("id")

    @staticmethod
    def paused_at(answer):
        return answer.json["paused"]["at"]

    def create(self, key, shape, keys=None, **more):
        """Creates a run that is not started; returns its id. `keys`: its supersede keys."""
        definition = run_of(key, shape.students, shape.pre, shape.post, breaker=False, **more)
        if keys:
            definition |= {"supersede_keys": keys, "supersede_share": shape.share}
        headers = {"Idempotency-Key": key}
        return self.id_of(self.ask("create", "POST", "/grading_run", definition, headers, key=key, name=key))

    def start(self, run):
        answer = self.ask("start", "POST", f"/grading_run/{run}", run=run)
        self.scene.history.note("run started", run=run)
        return answer


class CourseClient(Client):
    """The staff of a course. Each race has an assignment of its own."""

    def __init__(self, scene, name, replica):
        super().__init__(scene, name, replica)
        self.headers = bearer(COURSES[COURSE]["tokens"][0])
        self.assignment = name

    def path(self, thing):
        return f"{COURSE}/{thing}"

    @staticmethod
    def id_of(answer):
        data = answer.json.get("data")
        return data.get("grading_run_id") if isinstance(data, dict) else None

    @staticmethod
    def paused_at(answer):
        return answer.json["data"]["paused"]["at"]

    def configure(self, shape):
        config = {"student_pipeline": [stage()], "env": {"KEY": canary(f"{COURSE}-{self.assignment}")}}
        config |= {"pre_processing_pipeline": [stage()]} if shape.pre else {}
        config |= {"post_processing_pipeline": [stage()]} if shape.post else {}
        self.ask("configure", "POST", f"/grading_config/{COURSE}/{self.assignment}", config)

    def create(self, key, shape, keys=None):
        """Creates a run, which is started; returns its id."""
        body = {"students_env": [{"NETID": f"s{n}"} for n in range(shape.students)], "breaker": False}
        if keys:
            body |= {"supersede_keys": keys, "supersede_share": shape.share}
        name, headers = f"{COURSE}-{self.assignment}", {"Idempotency-Key": key}
        path = f"/grading_run/{COURSE}/{self.assignment}"
        return self.id_of(self.ask("create", "POST", path, body, headers, key=key, name=name))

    def hold(self):
        """Pauses the assignment."""
        return self.ask("hold", "POST", f"/assignment/{COURSE}/{self.assignment}/pause")

    def let_go(self):
        return self.ask("let go", "POST", f"/assignment/{COURSE}/{self.assignment}/resume")
