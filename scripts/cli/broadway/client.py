"""The client of Broadway that blocks. `broadway.AsyncClient` has the same methods for asyncio."""

import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from broadway import classic, models
from broadway.classic import Classic
from broadway.course import Course
from broadway.errors import Refused
from broadway.wire import (
    DEFAULT_SERVER,
    TEMPORARY,
    TIMEOUT,
    Access,
    Attempts,
    EventParser,
    LineParser,
    Request,
    broken_off,
    raise_refusal,
    read_line,
    result_of,
    unreadable,
)

POLL_S = 0.5


class BaseClient:
    """What both clients are made of. `on_retry` may be replaced at any time."""

    def __init__(
        self,
        servers: str | Sequence[str] = DEFAULT_SERVER,
        token: str | None = None,
        *,
        course: str | None = None,
        operator_token: str | None = None,
        retry_for: float = 15.0,
        on_retry: Callable[[str], None] = lambda why: None,
        ca_file: str | None = None,
    ) -> None:
        """`servers`: the URLs of one or several replicas; any of them will do. `token`: the client token, or one of
        the `course`, whose runs all methods are about then. `operator_token`: the cluster token, for the methods of
        operators. Lost connections, 429 and 503 are repeated for `retry_for` seconds, at all servers in turn, each
        time after `on_retry` was called with a sentence. `ca_file`: certificates to trust in place of the usual ones.
        Raises ValueError for a URL that is none, OSError for a `ca_file` that can't be read."""
        urls = [servers] if isinstance(servers, str) else list(servers)
        self.protocol: Classic = Classic() if course is None else Course(course)
        self.retry_for = retry_for
        self.on_retry = on_retry
        self.access = Access(urls, token, operator_token)
        self._transport: dict[str, Any] = {"timeout": TIMEOUT, "trust_env": False}
        if ca_file is not None:
            self._transport["verify"] = ssl.create_default_context(cafile=ca_file)
        elif all(url.startswith("http://") for url in urls):
            self._transport["verify"] = False  # so that no certificates are loaded

    @property
    def of_course(self) -> Course:
        """The requests that only a client with a course has. Raises ValueError without one."""
        if not isinstance(self.protocol, Course):
            raise ValueError("this needs a course")
        return self.protocol

    def _attempts(self) -> Attempts:
        return Attempts(self.access, self.retry_for, self.on_retry)

    def _options(self, request: Request) -> dict[str, Any]:
        options = request.options()
        options["headers"] |= self.access.headers(request)
        return options

    def _url(self, request: Request) -> str:
        return f"{self.access.server}{request.path}"


class Client(BaseClient):
    """Sends requests to one Broadway. Every method raises `broadway.Refused`, `NotFound`, `Unavailable` or `BadAnswer`.
    One thread at a time may use a client. To be closed, or used by `with`."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._http = httpx.Client(**self._transport)

    __init__.__doc__ = BaseClient.__init__.__doc__

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def send(self, request: Request) -> Any:
        """Sends a request until it is answered; returns what its `read` makes of the answer."""
        attempts = self._attempts()
        while True:
            try:
                response = self._http.request(request.method, self._url(request), **self._options(request))
            except httpx.TransportError as error:
                time.sleep(attempts.lost(error))
                continue
            except httpx.RequestError as error:
                raise unreadable(self.access.server, error) from None
            if response.status_code in TEMPORARY:
                time.sleep(attempts.temporary(response))
                continue
            return result_of(request, response, self.access.server, attempts.is_repetition)

    def _paged(self, key: str, request: Callable[[str | None], Request]) -> Iterator[Any]:
        """Yields the items of a list page by page; `request` asks for the page after a place."""
        after = None
        while True:
            page = self.send(request(after))
            yield from page[key]
            after = page.get("next")
            if after is None:
                return

    # ---- Runs ----

    def submit(self, definition: dict[str, Any], assignment: str | None = None) -> str:
        """Submits a run and returns its id. Of a course: a run of the assignment, which is started at once; otherwise
        `start` starts it. A repetition after a lost answer makes no second run."""
        return self.create(definition, assignment)["id"]

    def create(self, definition: dict[str, Any], assignment: str | None = None) -> models.RunCreated:
        """The same as `submit`, but returns the whole answer: the id, and the run's webhooks with their secrets, which
        no later answer shows."""
        return self.send(self.protocol.submit(definition, assignment))

    def store_file(self, path: Path) -> str:
        """Stores a file for the jobs of runs; returns its digest. Raises OSError for the path."""
        return self.send(self.protocol.store_file(path))["digest"]

    def start(self, run: str) -> None:
        """Starts a run that was submitted without a course."""
        try:
            self.send(self.protocol.start(run))
        except Refused as error:
            # "Started already" is a success if an attempt of this call may have started it.
            if not error.is_repetition or self.status(run).state == "created":
                raise

    def status(self, run: str) -> models.RunStatus:
        """The state of the run and how many of its jobs are in which state."""
        return self.send(self.protocol.status(run))

    def follow(self, run: str, every: float = POLL_S) -> Iterator[models.RunStatus]:
        """Yields the status of a run every so many seconds, the last time when the run is over."""
        while True:
            status = self.status(run)
            yield status
            if status.is_over:
                return
            time.sleep(every)

    def runs(self, **filters: Any) -> Iterator[models.Run]:
        """Yields the runs, the newest first, page by page: those without a course, or those of the client's course.
        `filters`: `state`, `name`, `label`, of a course `assignment`, and `limit`, the size of a page."""
        yield from self._paged("grading_runs", lambda after: self.protocol.runs({**filters, "after": after}))

    def estimate(self, run: str) -> models.Estimate:
        """When a run will be over."""
        return self.send(self.protocol.estimate_run(run))

    def estimate_job(self, job: str) -> models.Estimate:
        """When a job will begin, and have its result."""
        return self.send(self.protocol.estimate_job(job))

    def definition(self, run: str) -> dict[str, Any]:
        """What was submitted to make the run; of a course with the config that it was started with."""
        return self.send(self.protocol.definition(run))

    def results(self, run: str, merge: bool = False) -> Iterator[models.Result]:
        """Yields the result of each student of a run in the order of the students, as they arrive. `merge`: of each
        student the newest one that counts, of the run and its reruns."""
        yield from self._rows(self.protocol.results(run, "ndjson", merge))

    def results_of(self, assignment: str | None = None, merge: bool = False) -> Iterator[models.Result]:
        """Yields the results of all runs of an assignment of the course, or of all of its assignments."""
        yield from self._rows(self.of_course.results_of(assignment, "ndjson", merge))

    def _rows(self, request: Request) -> Iterator[models.Result]:
        lines = LineParser()
        for chunk in self.stream(request):
            for line in lines.feed(chunk):
                yield read_line(models.Result, line)

    def stream(self, request: Request) -> Iterator[bytes]:
        """Yields the bytes of an answer as they arrive; a request is repeated only before the first of them."""
        attempts = self._attempts()
        is_begun = False
        while True:
            try:
                with self._http.stream(request.method, self._url(request), **self._options(request)) as response:
                    if response.status_code != 200:
                        response.read()
                    if response.status_code in TEMPORARY:
                        time.sleep(attempts.temporary(response))
                        continue
                    raise_refusal(response)
                    for chunk in response.iter_bytes():
                        is_begun = True
                        yield chunk
                return
            except httpx.TransportError as error:
                if is_begun:
                    raise broken_off(self.access.server) from None
                time.sleep(attempts.lost(error))

    def cancel(self, run: str) -> None:
        """Cancels the jobs of the run that have no result yet."""
        self.send(self.protocol.cancel(run))

    def pause(self, run: str, note: str | None = None, timeout: int | None = None) -> models.Pause | None:
        """Hands out no more jobs of the run, until it is resumed or `timeout` seconds are over. Returns the pause."""
        return self.send(self.protocol.pause(run, note, timeout))

    def resume(self, run: str) -> models.Pause | None:
        """Ends the pauses of the run. Returns the pause of something above the run that still holds it, or None."""
        return self.send(self.protocol.resume(run))

    def rerun(self, run: str, **selection: Any) -> str:
        """Grades students again in a new run, whose id it returns. `selection`: one of `select`, `signature` and
        `students`, `priority` and `class`, as docs/protocol.md describes them."""
        return self.send(self.protocol.rerun(run, selection))

    def jobs(self, run: str, **filters: Any) -> Iterator[models.Job]:
        """Yields the jobs of a run in their order, page by page. `filters`: `state`, `outcome`, `signature`, `drift`,
        and `limit`, the size of a page."""
        yield from self._paged("jobs", lambda after: self.protocol.jobs(run, {**filters, "after": after}))

    def receipts(self, run: str) -> dict[str, Any]:
        """The signed receipts of a run that has ended (docs/receipts.md)."""
        return self.send(self.protocol.receipts(run))

    def explain(self, run: str) -> models.Explanation:
        """Why the run waits: how many of its jobs are where, and what holds its next job back."""
        return self.send(self.protocol.explain_run(run))

    # ---- Jobs ----

    def job(self, job: str) -> models.JobDetails:
        """All that is known of one job."""
        return self.send(self.protocol.job(job))

    def explain_job(self, job: str) -> models.Explanation:
        """Why the job waits, which grader has it, or how it ended."""
        return self.send(self.protocol.explain_job(job))

    def cancel_job(self, job: str) -> str:
        """Cancels one job; its run goes on. Returns the job's state."""
        return self.send(self.protocol.cancel_job(job))["state"]

    def log(self, job: str, stream: str = "stdout", tail: int | None = None) -> models.JobLog:
        """One stream of a job's log, `stdout` or `stderr`; `tail`: only so many lines of its end."""
        return self.send(self.protocol.log(job, stream, tail))

    def follow_log(self, job: str, stream: str = "stdout") -> Iterator[models.LogEvent]:
        """Yields the events of a log from its beginning until the job ends, across lost connections."""
        after: str | None = None
        attempts = self._attempts()
        while True:
            request = self.protocol.follow_log(job, stream, after)
            try:
                with self._http.stream(request.method, self._url(request), **self._options(request)) as response:
                    if response.status_code != 200:
                        response.read()
                    if response.status_code in TEMPORARY:
                        time.sleep(attempts.temporary(response))
                        continue
                    raise_refusal(response)
                    parser = EventParser()
                    for line in response.iter_lines():
                        if event := parser.feed(line):
                            after, attempts = event[2], self._attempts()
                            yield models.LogEvent(*event)
                            if event[0] == "end":
                                return
                raise httpx.ReadError("the stream has ended before the job")
            except httpx.TransportError as error:
                time.sleep(attempts.lost(error))

    def audit(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Yields who did what, the newest entry first; for an operator, or in the client's course. `filters` are the
        arguments of docs/protocol.md."""
        yield from self._paged("entries", lambda after: self.protocol.audit({**filters, "after": after}))

    def history(self, **arguments: Any) -> models.History:
        """The load over time: for an operator of the cluster, else of the client's course. `arguments` are those of
        docs/protocol.md; since `from` is a word of Python's: `**{"from": date}`."""
        return self.send(self.protocol.history(arguments))

    # ---- Courses ----

    def config(self, assignment: str) -> dict[str, Any]:
        """The config of an assignment of the course."""
        return self.send(self.of_course.config(assignment))

    def set_config(self, assignment: str, config: dict[str, Any]) -> None:
        """Stores the config of an assignment of the course, in place of an earlier one."""
        self.send(self.of_course.set_config(assignment, config))

    def estimate_course(self) -> models.Estimate:
        """When all jobs of the course that wait now will be done."""
        return self.send(self.of_course.estimate_course())

    def queue_length(self) -> int:
        """How many jobs of the course wait."""
        return self.send(self.of_course.queue_length())["length"]

    def queue_position(self, job: str) -> int:
        """How many jobs of the course are before this one; 0: it is next."""
        return self.send(self.of_course.queue_position(job))["position"]

    def graders(self) -> list[models.Grader]:
        """All graders of the cluster, as the course sees them: without their ids."""
        return self.send(self.of_course.graders())

    def share(self) -> models.Share:
        """The course's share of the graders, and the classes that its runs may have."""
        return self.send(self.of_course.share())

    def pause_course(self, note: str | None = None, timeout: int | None = None) -> models.Pause | None:
        """Hands out no more jobs of the course, until it is resumed or `timeout` seconds are over."""
        return self.send(self.of_course.pause_course(note, timeout))

    def resume_course(self) -> models.Pause | None:
        """Ends the pause of the course."""
        return self.send(self.of_course.resume_course())

    def pause_assignment(
        self, assignment: str, note: str | None = None, timeout: int | None = None
    ) -> models.Pause | None:
        """Hands out no more jobs of an assignment's runs, until it is resumed or `timeout` seconds are over."""
        return self.send(self.of_course.pause_assignment(assignment, note, timeout))

    def resume_assignment(self, assignment: str) -> models.Pause | None:
        """Ends the pause of an assignment. Returns the pause of something above it that still holds it, or None."""
        return self.send(self.of_course.resume_assignment(assignment))

    # ---- Operators: these need the cluster token ----

    def pauses(self) -> Iterator[models.Pause]:
        """Yields the pauses in force: of the client's course, or all of them for an operator."""
        request_page = self.protocol.pauses if isinstance(self.protocol, Course) else classic.pauses
        offset: int | None = 0
        while offset is not None:
            page = self.send(request_page(offset))
            yield from page["pauses"]
            offset = page["next_offset"]

    def pause_cluster(self, note: str | None = None, timeout: int | None = None) -> models.Pause | None:
        """Hands out no more jobs at all, until the cluster is resumed or `timeout` seconds are over."""
        return self.send(classic.pause_cluster(note, timeout))

    def resume_cluster(self) -> models.Pause | None:
        """Ends the pause of the cluster."""
        return self.send(classic.resume_cluster())

    def grader(self, worker: str) -> models.Grader:
        """What is known of one grader."""
        return self.send(classic.grader(worker))

    def explain_grader(self, worker: str) -> models.Explanation:
        """Why the grader gets no job."""
        return self.send(classic.explain_grader(worker))

    def pause_grader(
        self, worker: str, note: str | None = None, timeout: int | None = None, drain: bool | None = None
    ) -> models.Pause | None:
        """Gives the grader no more jobs; `drain`: it is to end when its jobs are done."""
        return self.send(classic.pause_grader(worker, note, timeout, drain))

    def resume_grader(self, worker: str) -> models.Pause | None:
        """Ends the pauses of the grader."""
        return self.send(classic.resume_grader(worker))

    def scheduling(self) -> models.Scheduling:
        """The shares of all courses, and the reservations of graders in force."""
        return self.send(classic.scheduling())

    def set_share(self, course: str, weight: int | None = None, max_running: int | None = None) -> models.Share:
        """Sets the share of a course, in place of what an operator set before; what is None is the course file's.
        Returns what counts then."""
        return self.send(classic.set_share(course, weight, max_running))

    def reset_share(self, course: str) -> models.Share:
        """Returns a course to the share of the course file."""
        return self.send(classic.reset_share(course))

    def reserve(
        self,
        name: str,
        tags: list[str],
        courses: list[str] | None = None,
        classes: list[str] | None = None,
        note: str | None = None,
        timeout: int | None = None,
    ) -> models.Reservation:
        """Reserves the graders that have all tags, for jobs of some courses and classes (None: any), until
        `unreserve` or for `timeout` seconds; in place of a reservation with that name."""
        members = {"tags": tags, "courses": courses, "classes": classes, "note": note, "timeout": timeout}
        return self.send(classic.reserve(name, members))

    def unreserve(self, name: str) -> None:
        """Ends a reservation."""
        self.send(classic.unreserve(name))
