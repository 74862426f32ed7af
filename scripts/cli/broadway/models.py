"""What the server's answers hold. docs/protocol.md describes each member.

An answer may have members that are not named here: a later server's stay as they are.
"""

from dataclasses import dataclass
from typing import Any, TypedDict

FINAL_STATES = ("finished", "failed", "cancelled", "superseded")


class Progress(TypedDict):
    """How many of a run's jobs are in each state. Those whose phase has not begun are only in `total`."""

    total: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int


class _PauseMembers(TypedDict):
    kind: str
    by: str
    at: str
    until: str | None
    note: str
    automatic: bool


class Pause(_PauseMembers, total=False):
    """A pause in force. `name`: of what is paused; a pause of the cluster has none."""

    name: str
    drain: bool


class PausePage(TypedDict):
    """A page of pauses; `next_offset` is the place of the next page, or None."""

    pauses: list[Pause]
    next_offset: int | None


class StoredFile(TypedDict):
    """A file that runs may use."""

    digest: str
    size: int


class Student(TypedDict):
    """A student of a run: the place in `students`, from 0, and the environment as submitted."""

    index: int
    env: dict[str, Any]


class _JobMembers(TypedDict):
    job_id: str
    kind: str
    state: str
    outcome: str | None
    started_at: str | None
    ended_at: str | None


class Job(_JobMembers, total=False):
    """An entry of the list of a run's jobs. `attempts` is a number here, a list in JobDetails."""

    student: Student
    attempts: int
    owner: str
    signature: str
    score: float | None
    max_score: float | None


class JobPage(TypedDict):
    """A page of jobs. `next`, if there is one, is the `after` of the next page."""

    jobs: list[Job]


class Attempt(TypedDict):
    """One hand-out of a job."""

    attempt: int
    worker: str
    started_at: str | None
    ended_at: str | None
    end: str | None


class _JobDetailsMembers(_JobMembers):
    run_id: str
    attempts: list[Attempt]


class JobDetails(_JobDetailsMembers, total=False):
    """All that is known of one job."""

    student: Student
    owner: str
    signature: str
    score: float | None
    max_score: float | None
    result: Any
    reason: str
    note: str


class JobLog(TypedDict):
    """A part of one stream of a job's log; offsets count bytes."""

    job_id: str
    stream: str
    attempt: int
    live: bool
    size: int
    text: str


class JobCancelled(TypedDict):
    """The answer to the cancelling of a job."""

    state: str


class AuditPage(TypedDict):
    """A page of the audit, the newest entry first. `next`, if there is one, is the `after` of the next page."""

    entries: list[dict[str, Any]]


class History(TypedDict):
    """The load over time. Each of `points` has `date`, `graders`, `courses`, and for operators `waits`."""

    step: int
    points: list[dict[str, Any]]


class _GraderMembers(TypedDict):
    hostname: str
    jobs_processed: int
    busy: bool
    alive: bool
    protocol: str


class Grader(_GraderMembers, total=False):
    """A grader. The list of a course's protocol has no `id`, `held` and `state`. `fault`: why it can't run jobs."""

    id: str
    held: int
    state: str
    tags: list[str]
    fault: str


class _PausedMembers(TypedDict):
    paused: Pause | None


class _RunMembers(TypedDict):
    id: str
    state: str
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    progress: dict[str, int]


class Run(_RunMembers, total=False):
    """An entry of the list of runs. Its `progress` does not say how many jobs wait and run."""

    name: str
    labels: dict[str, str]
    course: str
    assignment: str
    rerun_of: str


class RunPage(TypedDict):
    """A page of runs, the newest first. `next`, if there is one, is the `after` of the next page."""

    grading_runs: list[Run]


class _ResultMembers(TypedDict):
    grading_run_id: str
    job_id: str
    student: Student
    outcome: str | None
    attempts: int


class Result(_ResultMembers, total=False):
    """The result of one student in a run. `result` is what the grader sent."""

    owner: str
    reason: str
    score: float | None
    max_score: float | None
    result: Any


class _WebhookMembers(TypedDict):
    id: str
    url: str


class Webhook(_WebhookMembers, total=False):
    """A webhook. Only the answer that creates it has its `secret`."""

    secret: str
    events: list[str]
    format: str


class _RunCreatedMembers(TypedDict):
    id: str


class RunCreated(_RunCreatedMembers, total=False):
    """The answer to a submission. `webhooks`: those of the submission, in its order, with their secrets."""

    webhooks: list[Webhook]


class _WaitReasonMembers(TypedDict):
    reason: str
    detail: str
    changes_when: str


class WaitReason(_WaitReasonMembers, total=False):
    """Why a job or a grader waits: a word of docs/scheduling.md, a sentence, and what would change it. The other
    members depend on the reason."""

    graders: int
    jobs: int
    retry_in_ms: int
    count: int
    pause: Pause


class _ExplanationMembers(TypedDict):
    state: str
    reasons: list[WaitReason]


class Explanation(_ExplanationMembers, total=False):
    """Why a job, a run or a grader waits; `state` is waiting, running, ended, working, dead or unknown."""

    outcome: str
    grader: dict[str, Any]
    jobs: dict[str, int]
    waiting: list[dict[str, Any]]
    next_job: str
    held: int


class Estimate(TypedDict):
    """When a job, a run or the waiting jobs of a course will be done. `starts`, `ends`: {"p50", "p90"}, dates; None: it
    is not known, and `reason` says why. `more_graders`: the end with so many `graders` more."""

    at: str
    starts: dict[str, str] | None
    ends: dict[str, str] | None
    reason: str | None
    basis: str
    times_seen: int
    graders: int
    more_graders: list[dict[str, Any]]


class QueueLength(TypedDict):
    """How many jobs of a course wait."""

    length: int


class QueuePosition(TypedDict):
    """How many jobs of a course are before this one."""

    position: int


class Share(TypedDict):
    """The share of a course, as it counts. `classes`: those that its runs may have. `by` is the operator who set it;
    None: it is that of the course file."""

    course: str
    weight: int
    max_running: int
    classes: list[str]
    by: str | None
    at: str | None


class Reservation(TypedDict):
    """Graders, those that have all `tags`, for some courses and classes alone. `courses` None: for any."""

    name: str
    tags: list[str]
    courses: list[str] | None
    classes: list[str]
    by: str
    note: str
    at: str
    until: str | None


class Scheduling(TypedDict):
    """The shares of all courses, and the reservations in force."""

    courses: list[Share]
    reservations: list[Reservation]


class _ShareMembers(TypedDict):
    share: Share


class _ReservationMembers(TypedDict):
    reservation: Reservation


@dataclass(frozen=True)
class RunStatus:
    """A run as it is now, in the words of the classic protocol, whichever protocol it belongs to.

    `state` is created, preprocessing, students, postprocessing, or one of FINAL_STATES. Times are None where the
    protocol does not say them. `answer` is the server's own.
    """

    run_id: str
    state: str
    progress: Progress
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    waiting_for: str | None
    paused: Pause | None
    answer: dict[str, Any]

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run will change any more."""
        return self.state in FINAL_STATES

    @property
    def is_success(self) -> bool:
        """Whether the run has finished and all its jobs that count have succeeded."""
        return self.state == "finished" and not self.progress["failed"] and not self.progress["cancelled"]

    @property
    def done(self) -> int:
        """How many jobs have ended."""
        names = ("succeeded", "failed", "cancelled", "superseded")
        return sum(self.progress.get(name, 0) for name in names)


@dataclass(frozen=True)
class LogEvent:
    """An event of a log that is followed: `name` is attempt, log or end; `data` is its content. `id` resumes there."""

    name: str
    data: dict[str, Any]
    id: str | None
