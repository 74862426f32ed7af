"""The API's side of the classic protocol, in memory. Scenarios change its answers by rules."""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

EMPTY = 498
LONGEST_POLL_S = 60
DEFAULT_POLL_S = 18
LONGEST_CHUNK_BYTES = 65536
RESULT_KEYS = ("result", "success", "logs")
SCORES = ("score", "max_score", "tests", "owner")
ARGUMENTS = {
    "register": {"token", "hostname", "concurrency", "tags", "files", "cancel", "digests"},
    "poll": {"worker_id", "wait"},
    "report": {"worker_id", "result", "success", "logs", "outcome", "reason", "files", *SCORES},
    "heartbeat": {"worker_id", "jobs"},
    "log": {"worker_id", "stream", "offset"},
}


@dataclass(eq=False)
class Request:
    """A request of a grader. `answered` is when its answer began. `status` is that of its answer: None until it was
    sent, 0 if the connection was cut."""

    kind: str  # a key of ARGUMENTS, or "unknown"
    path: str
    arguments: dict[str, Any]
    is_gone: Callable[[], bool] = lambda: False  # the grader has closed the connection
    problem: str | None = None  # why the body can't be read
    is_contradictory: bool = False  # an argument has two values
    size: int = 0  # of the body, in bytes
    job_id: str | None = None
    time: float = field(default_factory=time.monotonic)
    answered: float | None = None
    status: int | None = None

    @property
    def worker_id(self) -> str | None:
        """As the grader gave it."""
        return self.arguments.get("worker_id")


@dataclass
class Reply:
    """An answer. `delivery` is "whole", "half" (the connection is cut in the middle) or "none"."""

    status: int
    value: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delivery: str = "whole"


@dataclass(eq=False)
class Job:
    """A job with its hand-outs and reports. `done` is the time at which a result or a return was accepted."""

    handout: dict[str, Any]
    handed: list[tuple[float, str]] = field(default_factory=list)  # (time, worker id)
    polls: list[Request] = field(default_factory=list)  # that took the job
    reports: list[Request] = field(default_factory=list)
    done: float | None = None
    accepted: dict[str, Any] | None = None

    @property
    def is_returned(self) -> bool:
        """The grader gave the job back."""
        return self.accepted is not None and "outcome" in self.accepted


Serve = Callable[[], Reply]
Action = Callable[[Request, Serve], Reply | None]


@dataclass
class Rule:
    """Answers requests of one kind by `action` instead; at most `times` of them."""

    kind: str
    action: Action
    times: int | None = None
    hits: list[Request] = field(default_factory=list)


class Api:
    """All methods may be called from any thread. `changed` guards the fields; it is notified of each change."""

    def __init__(self, token: str, heartbeat_s: int):
        self.token, self.heartbeat_s = token, heartbeat_s
        self.changed = threading.Condition()
        self.requests: list[Request] = []
        self.workers: dict[str, dict[str, Any]] = {}  # by id: the arguments of the registration
        self.forgotten: dict[str, dict[str, Any]] = {}
        self.jobs: dict[str, Job] = {}
        self.queue: list[Job] = []
        self.open_polls: list[Request] = []
        self.longest_poll_s: float = LONGEST_POLL_S
        self.extra: dict[str, Any] = {}  # further keys of all answers
        # Of the answer to a registration.
        self.headers = {
            "Broadway-Outcomes": "infrastructure",
            "Broadway-Registration": "tags, digests, fault",
            "Broadway-Cancel": "true",
            "Broadway-Scores": "true",
            "Broadway-Logs": "chunks",
        }
        self.cancelled: set[str] = set()  # ids of jobs
        self._rules: list[Rule] = []
        self._poll_round = 0

    # For scenarios

    def put(self, *stages: dict[str, Any], **more: Any) -> Job:
        """Queues a job of these stages."""
        job = Job({"job_id": secrets.token_hex(16), "attempt": 1, "stages": list(stages), **more})
        with self.changed:
            self.jobs[job.handout["job_id"]] = job
            self.queue.append(job)
            self.changed.notify_all()
        return job

    def put_again(self, job: Job) -> None:
        """The next poll gets this job, with the same attempt."""
        with self.changed:
            self.queue.insert(0, job)
            self.changed.notify_all()

    def withdraw(self, job: Job) -> None:
        """Takes a job out of the queue, if it is still there."""
        with self.changed:
            self.queue = [other for other in self.queue if other is not job]

    def cancel(self, job: Job) -> None:
        """A client cancels the job: its result is refused, and heartbeats that name it are answered so."""
        with self.changed:
            self.cancelled.add(job.handout["job_id"])
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], Any], seconds: float) -> bool:
        """Whether the condition holds before the time is over. It is evaluated with `changed` held."""
        with self.changed:
            return bool(self.changed.wait_for(condition, seconds))

    def since(self, start: float, kind: str) -> list[Request]:
        """The requests of one kind that arrived after `start`."""
        with self.changed:
            return [request for request in self.requests if request.kind == kind and request.time >= start]

    def end_polls(self) -> None:
        """Answers all waiting polls with 498."""
        with self.changed:
            self._poll_round += 1
            self.changed.notify_all()

    def forget_workers(self) -> None:
        """All worker ids are unknown from now on."""
        with self.changed:
            self.forgotten |= self.workers
            self.workers = {}
            self.changed.notify_all()

    def remember_workers(self) -> None:
        """All forgotten worker ids are known again."""
        with self.changed:
            self.workers |= self.forgotten
            self.forgotten = {}

    @contextlib.contextmanager
    def rule(self, kind: str, action: Action, times: int | None = None) -> Iterator[Rule]:
        """A context in which requests of a kind are answered by `action`, unless it returns None."""
        rule = Rule(kind, action, times)
        with self.changed:
            self._rules.append(rule)
        try:
            yield rule
        finally:
            with self.changed:
                self._rules.remove(rule)

    # For the HTTP server

    def answer(self, request: Request) -> Reply:
        """The answer to a request; waits as a poll does."""
        with self.changed:
            self.requests.append(request)
            if request.kind == "report" and request.job_id in self.jobs:
                self.jobs[request.job_id].reports.append(request)
            action = self._take_action(request)
            self.changed.notify_all()
        serve = lambda: self._serve(request)  # noqa: E731  (an argument of the action)
        reply = action(request, serve) if action else None
        return reply or serve()

    def begin_answer(self, request: Request) -> None:
        """Called before the answer is sent, so before the grader can react to it."""
        with self.changed:
            request.answered = time.monotonic()

    def end_answer(self, request: Request, status: int) -> None:
        """Called when the answer was sent; `status` 0: the connection was cut."""
        with self.changed:
            request.status = status
            self.changed.notify_all()

    def _take_action(self, request: Request) -> Action | None:
        for rule in self._rules:
            if rule.kind == request.kind and (rule.times is None or len(rule.hits) < rule.times):
                rule.hits.append(request)
                return rule.action
        return None

    def _serve(self, request: Request) -> Reply:
        serve = {
            "register": self._register,
            "poll": self._poll,
            "report": self._report,
            "heartbeat": self._beat,
            "log": self._take_chunk,
        }
        if request.kind not in serve:
            return Reply(404, {"error": f"there is nothing at {request.path}"})
        if request.problem:
            return Reply(400, {"error": request.problem})
        if request.kind != "register" and request.worker_id not in self.workers:
            return unknown_worker(request)
        reply = serve[request.kind](request)
        if isinstance(reply.value, dict) and reply.status == 200:
            reply = replace(reply, value={**reply.value, **self.extra})
        return reply

    def _register(self, request: Request) -> Reply:
        if request.arguments.get("token") != self.token:
            return Reply(400, {"error": "the cluster token is wrong"})
        worker_id = secrets.token_hex(16)
        with self.changed:
            self.workers[worker_id] = request.arguments
            self.changed.notify_all()
        return Reply(200, {"worker_id": worker_id, "heartbeat": self.heartbeat_s}, dict(self.headers))

    def _poll(self, request: Request) -> Reply:
        deadline = time.monotonic() + min(poll_seconds(request), self.longest_poll_s)
        with self.changed:
            self.open_polls.append(request)
            self.changed.notify_all()
            this_round = self._poll_round
            while not self.queue and this_round == self._poll_round and time.monotonic() < deadline:
                if request.is_gone():
                    break
                self.changed.wait(0.05)
            self.open_polls.remove(request)
            is_known = request.worker_id in self.workers
            # A poll that end_polls has ended takes no job: later rules don't apply to it.
            may_take = is_known and this_round == self._poll_round and not request.is_gone()
            job = self.queue.pop(0) if self.queue and may_take else None
            if job:
                job.handed.append((time.monotonic(), str(request.worker_id)))
                job.polls.append(request)
            self.changed.notify_all()
        if not is_known:
            return unknown_worker(request)
        return Reply(200, job.handout) if job else Reply(EMPTY)

    def _report(self, request: Request) -> Reply:
        job = self.jobs.get(str(request.job_id))
        if job is None:
            return Reply(400, {"error": f"job '{request.job_id}' is not known"})
        if request.worker_id not in [worker for _, worker in job.handed]:
            return Reply(400, {"error": f"job '{request.job_id}' was never handed to worker '{request.worker_id}'"})
        if request.job_id in self.cancelled:
            return Reply(400, {"error": f"job '{request.job_id}' has its result already: it was cancelled"})
        arguments = request.arguments
        if "result" not in arguments and arguments.get("outcome") != "infrastructure":
            return Reply(400, {"error": "argument 'result' is missing"})
        with self.changed:
            if job.accepted is None:
                job.accepted, job.done = arguments, time.monotonic()
                self.changed.notify_all()
            elif not is_same_result(job.accepted, arguments):
                return Reply(400, {"error": f"job '{request.job_id}' has its result already"})
        return Reply(200, {})

    def _take_chunk(self, request: Request) -> Reply:
        job = self.jobs.get(str(request.job_id))
        if job is None or request.worker_id not in [worker for _, worker in job.handed]:
            return Reply(400, {"error": f"job '{request.job_id}' was never handed to worker '{request.worker_id}'"})
        offset = str(request.arguments.get("offset"))
        if request.arguments.get("stream") not in ("stdout", "stderr") or not offset.isdigit():
            return Reply(400, {"error": "arguments 'stream' and 'offset': stdout or stderr, and an integer"})
        if not 1 <= request.size <= LONGEST_CHUNK_BYTES:
            return Reply(400, {"error": f"the chunk has {request.size} bytes: it must have 1 to {LONGEST_CHUNK_BYTES}"})
        return Reply(200, {"size": int(offset) + request.size})

    def _beat(self, request: Request) -> Reply:
        if "jobs" not in request.arguments:
            return Reply(200)
        with self.changed:
            return Reply(200, {"cancelled": [job_id for job_id in named_jobs(request) if job_id in self.cancelled]})


def named_jobs(request: Request) -> list[str]:
    """The ids of the jobs that a heartbeat names."""
    return [job_id for job_id in str(request.arguments.get("jobs", "")).split(",") if job_id]


def unknown_worker(request: Request) -> Reply:
    """The answer to a request of an unknown worker."""
    return Reply(400, {"error": f"worker '{request.worker_id}' is not known: register first"})


def poll_seconds(request: Request) -> float:
    """The time that a poll may wait."""
    try:
        return float(request.arguments.get("wait", DEFAULT_POLL_S))
    except ValueError:
        return DEFAULT_POLL_S


def is_same_result(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two reports have equal results."""
    return all(json.dumps(one.get(key)) == json.dumps(other.get(key)) for key in RESULT_KEYS)


def refuse(status: int, why: str, retry_after_s: int | None = None) -> Action:
    """An action that answers with an error."""
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return lambda _request, _serve: Reply(status, {"error": why}, headers)
