"""Rows 54 and 57: results whose replica stops, and results that are repaired or refused."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bson import ObjectId

from broadway_faults.check_answers import TOO_LARGE, UNREADABLE
from broadway_faults.cluster import Plan
from broadway_faults.courses import CourseWorker, SocketWorker, Staff
from broadway_faults.dump import result_digest
from broadway_faults.graders import CALL_TIMEOUT_S
from broadway_faults.registry import row

SOCKETS, POLLING, NEWCOMERS = 8, 4, 4
STANDSTILL_S, GRACE_S = 4, 8
END_SLACK_S = 10  # the driver's own time-outs, while connections are closed
LOGS = {"stdout": "some output\n" * 50, "stderr": "and more\n"}


def leave_the_stage(scene):
    """Stops the graders of the first load."""
    for grader in scene.graders:
        grader.leave()
    for grader in scene.graders:
        grader.join()


def is_finished(scene, run):
    return scene.database.grading_runs.find_one({"_id": ObjectId(run)})["state"] == "finished"


def exit_status(pid):
    """The exit status of a child; negative: the signal. The child stays a zombie, so that others can read the status
    too. Waits while the first thread is a zombie and other threads still end."""
    ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


# ---- 54 ----


@row(
    54,
    "API: SIGTERM while the database stands still for 4 s and results come",
    Plan(has_courses=True, heartbeat=1, leader_lease=5, api={"grace": GRACE_S}),
)
def stops_while_results_come(scene):
    """Results by websocket and by HTTP and registrations are in flight when the replica stops; then the database
    resumes."""
    scene.warm_up()
    staff = Staff(scene, "cs-a")
    run = staff.run("stop", SOCKETS + POLLING)
    sockets = [SocketWorker(scene, f"socket-{n}") for n in range(SOCKETS)]
    jobs = [take_pushed(scene, worker) for worker in sockets]
    polling = [CourseWorker(scene, f"polling-{n}") for n in range(POLLING)]
    held = [take_polled(scene, worker) for worker in polling]
    newcomers = [SocketWorker(scene, f"newcomer-{n}") for n in range(NEWCOMERS)]
    with ThreadPoolExecutor(2 * POLLING) as pool:
        scene.stop("database")
        for worker, job in zip(sockets, jobs, strict=True):
            worker.send(job, LOGS)
        for worker in newcomers:
            worker.ask_to_register()
        sent = [pool.submit(worker.send, job) for worker, job in zip(polling, held, strict=True)]
        late = [pool.submit(CourseWorker(scene, f"late-{n}").register) for n in range(POLLING)]
        scene.pause(0.3 + 0.4 * scene.random.random())
        stops_well(scene)
        statuses = [call.result().status for call in sent]
    scene.expect(set(statuses) == {200}, "results that it has begun are answered within its grace", statuses=statuses)
    nothing_answered_is_lost(scene, newcomers, late)
    senders = [(scene.result(job["grading_job_id"]) or {}).get("worker") for job in jobs]
    scene.expect(senders == [worker.id for worker in sockets], "results by websocket are stored", senders=senders)
    scene.restart("api-0")
    scene.until(lambda: is_finished(scene, run), 30, "the run ends")


def take_pushed(scene, worker):
    """Receives a socket's first job."""
    scene.until(lambda: worker.register() == {"success": True}, 10, f"{worker.id} is registered")
    return scene.until(worker.receive, 15, f"{worker.id} has a job")


def take_polled(scene, worker, replica=0):
    scene.until(lambda: worker.register(replica).status == 200, 15, f"{worker.id} is registered")
    return worker.take(replica)


def stops_well(scene):
    """Sends SIGTERM now and resumes the database later; the replica must exit with 0."""
    member = scene.cluster.members["api-0"]
    scene.fault("SIGTERM", member="api-0")
    told = time.monotonic()
    goes_on = threading.Timer(STANDSTILL_S, scene.resume, ("database",))
    goes_on.start()
    scene.cluster.signal("api-0", signal.SIGTERM)
    scene.until(lambda: not member.is_alive(), GRACE_S + END_SLACK_S, "the replica ends")
    took, status = time.monotonic() - told, exit_status(member.pid)
    goes_on.join()
    scene.measure("exit after SIGTERM", seconds=took, status=status)
    scene.expect(status == 0, "it ends with status 0", status=status)


def nothing_answered_is_lost(scene, newcomers, late):
    """Checks that every acknowledged registration is in the database."""
    told = [worker.id for worker in newcomers if worker.receive(2) == {"success": True}]
    told += [f"late-{n}" for n, call in enumerate(late) if call.result().status == 200]
    there = scene.database.workers.count_documents({"_id": {"$in": told}})
    scene.measure("registrations", asked=len(newcomers) + len(late), told=len(told), there=there)
    scene.expect(there == len(told), "acknowledged registrations are stored", told=told, there=there)


# ---- 57 ----


@dataclass(frozen=True)
class Kind:
    """A kind of irregular result: the JSON that is sent, and the stored value; `unfit`: it must be refused."""

    name: str
    sent: bytes
    becomes: object = None
    unfit: str = None
    success: bytes = b"true"
    closes_with: int = None  # close code of the websocket

    def value_in_course(self):
        return self.becomes if self.name == "a long list" else [{"v": self.becomes}]


RESULT_BYTES, BODY_BYTES = 8192, 65536
ITEMS = [{"n": n, "text": "x" * 2000} for n in range(6)]
CUT = [*ITEMS[:3], {"cut": "3 of 6 results were too large to be kept"}]
NUMBERS = b'{"a": {%s}}' % b", ".join(b'"test %d": %d' % (n, n) for n in range(1000))
KINDS = (
    Kind("NUL", rb'"a\u0000b"', "ab"),
    Kind("not UTF-8", b'"a\xff\xc3b"', "a\ufffd\ufffdb"),
    Kind("NaN", b"[NaN, -Infinity]", [None, None]),
    Kind("a long list", str(ITEMS).replace("'", '"').encode(), CUT),
    Kind("not whole", b'{"a": ', unfit=UNREADABLE, closes_with=1011),
    Kind("a wrong type", b"1", unfit=UNREADABLE, success=b'"yes"', closes_with=1011),
    Kind("too large to be cut", NUMBERS, unfit=TOO_LARGE),
    Kind("a body too large", b'"%s"' % (b"x" * 2 * BODY_BYTES), unfit=TOO_LARGE, closes_with=1009),
)


def course_body(job, kind):
    results = kind.sent if kind.name == "a long list" else b'[{"v": %s}]' % kind.sent
    parts = (job.encode(), kind.success, results)
    return b'{"grading_job_id": "%s", "success": %s, "results": %s, "logs": {"stdout": "ok"}}' % parts


class ClassicWay:
    """A grader of the classic protocol."""

    name = "classic"

    def __init__(self, scene):
        self.scene = scene
        self.grader = scene.add_idle_grader(home=1)

    def begin(self, jobs):
        return self.scene.submit(students=jobs, pre=False, post=False).run

    def take(self):
        return self.grader.take()["job_id"]

    def send(self, job, kind, replica=0):
        """Sends a result; returns the sentence of the refusal, or ""."""
        worker = self.grader.id.encode()
        body = b'{"worker_id": "%s", "success": %s, "result": %s}' % (worker, kind.success, kind.sent)
        facts = {"worker": self.grader.id, "job": job, "value": result_digest(kind.becomes), "unfit": kind.unfit}
        path, caller = f"/grading_job/{job}", self.grader.caller
        answer = caller.call("result", replica, "POST", path, body=body, timeout_s=CALL_TIMEOUT_S, **facts)
        wanted = {None: 200, UNREADABLE: 400, TOO_LARGE: 413}[kind.unfit]
        self.scene.expect(answer.status in (0, wanted), f"{kind.name}: the answer", status=answer.status)
        return answer.sentence

    def reconnect(self):
        pass

    def end(self):
        self.grader.leave()


class PollingWay:
    """A course's grader that polls. Its library exits at any status other than 200, so too large results are answered
    with 200."""

    name = "polling"

    def __init__(self, scene):
        self.scene = scene
        self.worker = CourseWorker(scene, f"way-{self.name}")
        scene.until(lambda: self.worker.register(1).status == 200, 15, "a course's grader is registered")

    def begin(self, jobs):
        return Staff(self.scene, "cs-a").run(f"{self.name}-{jobs}", jobs)

    def take(self):
        return self.worker.take(1)["grading_job_id"]

    def send(self, job, kind, replica=0):
        facts = {"value": result_digest(kind.value_in_course()), "unfit": kind.unfit}
        answer = self.worker.send_body(job, course_body(job, kind), replica, **facts)
        wanted = 400 if kind.unfit == UNREADABLE else 200
        self.scene.expect(answer.status in (0, wanted), f"{kind.name}: the answer", status=answer.status)
        return answer.sentence

    def reconnect(self):
        pass

    def end(self):
        pass


class SocketWay:
    """A course's grader with a websocket, which connects again after every close."""

    name = "websocket"

    def __init__(self, scene):
        self.scene, self.connects = scene, 0
        self.worker = None
        self.connect(0)

    def connect(self, replica, name=None):
        self.connects += 1
        self.worker = SocketWorker(self.scene, name or f"way-{self.name}", replica)
        told = self.worker.register()
        self.scene.expect(told == {"success": True}, "its registration is taken", told=told)

    def begin(self, jobs):
        return Staff(self.scene, "cs-b").run(f"{self.name}-{jobs}", jobs)

    def take(self):
        return self.scene.until(self.worker.receive, 15, "a job is pushed")["grading_job_id"]

    def send(self, job, kind, replica=0):
        """Sends a result, which is not answered. The close frame has the sentence only if the result is too large."""
        facts = {"value": result_digest(kind.value_in_course()), "unfit": kind.unfit}
        self.worker.send_body(job, course_body(job, kind), **facts)
        if kind.closes_with is None:
            return ""
        code, reason = self.worker.closed() or (None, "")
        self.scene.expect(code in (kind.closes_with, 1006), f"{kind.name}: the socket is closed", code=code)
        return reason if code == 1009 else ""

    def reconnect(self):
        if self.worker.socket.closed:
            self.connect(0)

    def end(self):
        self.worker.abort()


def check_refused(scene, way, job, kind, told):
    """Checks that the job has ended in one attempt, with the right reason."""
    what = f"{way.name}, {kind.name}"
    result = scene.until(lambda: scene.result(job), 10, f"{what}: the job has its result")
    reason, note = result.get("reason"), result.get("note")
    if kind.unfit is None:
        scene.expect(result["outcome"] == "succeeded" and note, f"{what}: mended, with a note", note=note)
    else:
        is_reported = reason and (not told or told == reason)
        scene.expect(
            result["outcome"] == "failed" and is_reported, f"{what}: failed, says why", reason=reason, told=told
        )
    attempts = len(scene.leases(job))
    scene.expect(attempts == 1, f"{what}: one attempt", attempts=attempts)


def go_through(scene, way):
    """Sends a result of each kind, for a job each."""
    run = way.begin(len(KINDS))
    for kind in KINDS:
        job = way.take()
        told = way.send(job, kind)
        check_refused(scene, way, job, kind, told)
        way.reconnect()
    scene.until(lambda: is_finished(scene, run), 15, f"{way.name}: the run ends")
    return run


def with_a_replica_that_dies(scene, way, kind):
    """The replica dies when the failure is stored and not answered yet."""
    run = way.begin(1)
    job = way.take()
    scene.arm("api-0", "after_result_insert:kill@1")
    way.send(job, kind)
    scene.died("api-0")
    if way.name == "websocket":
        way.connect(1, "way-other")
        told = ""
    else:
        told = way.send(job, kind, replica=1)
        scene.expect(told or kind.unfit == TOO_LARGE, "a repeated request gets the same answer", told=told)
    check_refused(scene, way, job, kind, told)
    scene.until(lambda: is_finished(scene, run), 20, f"{way.name}: the run ends")
    scene.cluster.set_failpoints("api-0", "")
    scene.restart("api-0")
    scene.cluster.wait_ready()
    return run


SMALL = {"max-result-bytes": RESULT_BYTES, "max-body-bytes": BODY_BYTES}


@row(57, "grader: results that strict JSON or a limit refuses", Plan(has_courses=True, heartbeat=2, api=SMALL))
def refused_results(scene):
    """In all three protocols, and with a replica that dies after it stored the failure."""
    scene.warm_up()
    leave_the_stage(scene)
    runs = []
    unfit = [kind for kind in KINDS if kind.closes_with]
    for make in (ClassicWay, PollingWay, SocketWay):
        way = make(scene)
        runs.append(go_through(scene, way))
        if way.name == "websocket":
            closed = sum(kind.closes_with is not None for kind in KINDS)
            scene.expect(way.connects == 1 + closed, "one reconnect for each socket that is closed", of=way.connects)
        runs.append(with_a_replica_that_dies(scene, way, scene.random.choice(unfit)))
        way.end()
    for run in runs:
        again = scene.database.job_leases.count_documents({"_id": {"$regex": rf"^{run}.*\.[2-9]$"}})
        scene.expect(again == 0, "no job was handed out again", run=run, again=again)
