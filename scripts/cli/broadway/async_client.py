"""The client of Broadway for asyncio: the methods of `broadway.Client`, which is described there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from broadway import classic, models
from broadway.client import POLL_S, BaseClient
from broadway.course import Course
from broadway.errors import Refused
from broadway.wire import (
    TEMPORARY,
    EventParser,
    LineParser,
    Request,
    broken_off,
    raise_refusal,
    read_line,
    result_of,
    unreadable,
)


class AsyncClient(BaseClient):
    """Sends requests to one Broadway. Every method raises `broadway.Refused`, `NotFound`, `Unavailable` or `BadAnswer`.
    Tasks
    of one event loop may use a client at the same time. To be closed, or used by `async with`."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._http = httpx.AsyncClient(**self._transport)

    __init__.__doc__ = BaseClient.__init__.__doc__

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        await self.close()

    async def send(self, request: Request) -> Any:
        """Sends a request until it is answered; returns what its `read` makes of the answer."""
        attempts = self._attempts()
        while True:
            try:
                response = await self._http.request(request.method, self._url(request), **self._options(request))
            except httpx.TransportError as error:
                await asyncio.sleep(attempts.lost(error))
                continue
            except httpx.RequestError as error:
                raise unreadable(self.access.server, error) from None
            if response.status_code in TEMPORARY:
                await asyncio.sleep(attempts.temporary(response))
                continue
            return result_of(request, response, self.access.server, attempts.is_repetition)

    async def _paged(self, key: str, request: Callable[[str | None], Request]) -> AsyncIterator[Any]:
        """Yields the items of a list page by page; `request` asks for the page after a place."""
        after = None
        while True:
            page = await self.send(request(after))
            for item in page[key]:
                yield item
            after = page.get("next")
            if after is None:
                return

    # ---- Runs ----

    async def submit(self, definition: dict[str, Any], assignment: str | None = None) -> str:
        """Submits a run and returns its id. Of a course: a run of the assignment, which is started at once; otherwise
        `start` starts it. A repetition after a lost answer makes no second run."""
        return (await self.create(definition, assignment))["id"]

    async def create(self, definition: dict[str, Any], assignment: str | None = None) -> models.RunCreated:
        """The same as `submit`, but returns the whole answer: the id, and the run's webhooks with their secrets, which
        no later answer shows."""
        return await self.send(self.protocol.submit(definition, assignment))

    async def store_file(self, path: Path) -> str:
        """Stores a file for the jobs of runs; returns its digest. Raises OSError for the path."""
        return (await self.send(self.protocol.store_file(path)))["digest"]

    async def start(self, run: str) -> None:
        """Starts a run that was submitted without a course."""
        try:
            await self.send(self.protocol.start(run))
        except Refused as error:
            # "Started already" is a success if an attempt of this call may have started it.
            if not error.is_repetition or (await self.status(run)).state == "created":
                raise

    async def status(self, run: str) -> models.RunStatus:
        """The state of the run and how many of its jobs are in which state."""
        return await self.send(self.protocol.status(run))

    async def follow(self, run: str, every: float = POLL_S) -> AsyncIterator[models.RunStatus]:
        """Yields the status of a run every so many seconds, the last time when the run is over."""
        while True:
            status = await self.status(run)
            yield status
            if status.is_over:
                return
            await asyncio.sleep(every)

    async def runs(self, **filters: Any) -> AsyncIterator[models.Run]:
        """Yields the runs, the newest first, page by page: those without a course, or those of the client's course.
        `filters`: `state`, `name`, `label`, of a course `assignment`, and `limit`, the size of a page."""
        async for item in self._paged("grading_runs", lambda after: self.protocol.runs({**filters, "after": after})):
            yield item

    async def estimate(self, run: str) -> models.Estimate:
        """When a run will be over."""
        return await self.send(self.protocol.estimate_run(run))

    async def estimate_job(self, job: str) -> models.Estimate:
        """When a job will begin, and have its result."""
        return await self.send(self.protocol.estimate_job(job))

    async def definition(self, run: str) -> dict[str, Any]:
        """What was submitted to make the run; of a course with the config that it was started with."""
        return await self.send(self.protocol.definition(run))

    async def results(self, run: str, merge: bool = False) -> AsyncIterator[models.Result]:
        """Yields the result of each student of a run in the order of the students, as they arrive. `merge`: of each
        student the newest one that counts, of the run and its reruns."""
        async for row in self._rows(self.protocol.results(run, "ndjson", merge)):
            yield row

    async def results_of(self, assignment: str | None = None, merge: bool = False) -> AsyncIterator[models.Result]:
        """Yields the results of all runs of an assignment of the course, or of all of its assignments."""
        async for row in self._rows(self.of_course.results_of(assignment, "ndjson", merge)):
            yield row

    async def _rows(self, request: Request) -> AsyncIterator[models.Result]:
        lines = LineParser()
        async for chunk in self.stream(request):
            for line in lines.feed(chunk):
                yield read_line(models.Result, line)

    async def stream(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the bytes of an answer as they arrive; a request is repeated only before the first of them."""
        attempts = self._attempts()
        is_begun = False
        while True:
            try:
                async with self._http.stream(request.method, self._url(request), **self._options(request)) as response:
                    if response.status_code != 200:
                        await response.aread()
                    if response.status_code in TEMPORARY:
                        await asyncio.sleep(attempts.temporary(response))
                        continue
                    raise_refusal(response)
                    async for chunk in response.aiter_bytes():
                        is_begun = True
                        yield chunk
                return
            except httpx.TransportError as error:
                if is_begun:
                    raise broken_off(self.access.server) from None
                await asyncio.sleep(attempts.lost(error))

    async def cancel(self, run: str) -> None:
        """Cancels the jobs of the run that have no result yet."""
        await self.send(self.protocol.cancel(run))

    async def pause(self, run: str, note: str | None = None, timeout: int | None = None) -> models.Pause | None:
        """Hands out no more jobs of the run, until it is resumed or `timeout` seconds are over. Returns the pause."""
        return await self.send(self.protocol.pause(run, note, timeout))

    async def resume(self, run: str) -> models.Pause | None:
        """Ends the pauses of the run. Returns the pause of something above the run that still holds it, or None."""
        return await self.send(self.protocol.resume(run))

    async def rerun(self, run: str, **selection: Any) -> str:
        """Grades students again in a new run, whose id it returns. `selection`: one of `select`, `signature` and
        `students`, `priority` and `class`, as docs/protocol.md describes them."""
        return await self.send(self.protocol.rerun(run, selection))

    async def jobs(self, run: str, **filters: Any) -> AsyncIterator[models.Job]:
        """Yields the jobs of a run in their order, page by page. `filters`: `state`, `outcome`, `signature`, `drift`,
        and `limit`, the size of a page."""
        async for item in self._paged("jobs", lambda after: self.protocol.jobs(run, {**filters, "after": after})):
            yield item

    async def receipts(self, run: str) -> dict[str, Any]:
        """The signed receipts of a run that has ended (docs/receipts.md)."""
        return await self.send(self.protocol.receipts(run))

    async def explain(self, run: str) -> models.Explanation:
        """Why the run waits: how many of its jobs are where, and what holds its next job back."""
        return await self.send(self.protocol.explain_run(run))

    # ---- Jobs ----

    async def job(self, job: str) -> models.JobDetails:
        """All that is known of one job."""
        return await self.send(self.protocol.job(job))

    async def explain_job(self, job: str) -> models.Explanation:
        """Why the job waits, which grader has it, or how it ended."""
        return await self.send(self.protocol.explain_job(job))

    async def cancel_job(self, job: str) -> str:
        """Cancels one job; its run goes on. Returns the job's state."""
        return (await self.send(self.protocol.cancel_job(job)))["state"]

    async def log(self, job: str, stream: str = "stdout", tail: int | None = None) -> models.JobLog:
        """One stream of a job's log, `stdout` or `stderr`; `tail`: only so many lines of its end."""
        return await self.send(self.protocol.log(job, stream, tail))

    async def follow_log(self, job: str, stream: str = "stdout") -> AsyncIterator[models.LogEvent]:
        """Yields the events of a log from its beginning until the job ends, across lost connections."""
        after: str | None = None
        attempts = self._attempts()
        while True:
            request = self.protocol.follow_log(job, stream, after)
            try:
                async with self._http.stream(request.method, self._url(request), **self._options(request)) as response:
                    if response.status_code != 200:
                        await response.aread()
                    if response.status_code in TEMPORARY:
                        await asyncio.sleep(attempts.temporary(response))
                        continue
                    raise_refusal(response)
                    parser = EventParser()
                    async for line in response.aiter_lines():
                        if event := parser.feed(line):
                            after, attempts = event[2], self._attempts()
                            yield models.LogEvent(*event)
                            if event[0] == "end":
                                return
                raise httpx.ReadError("the stream has ended before the job")
            except httpx.TransportError as error:
                await asyncio.sleep(attempts.lost(error))

    async def audit(self, **filters: Any) -> AsyncIterator[dict[str, Any]]:
        """Yields who did what, the newest entry first; for an operator, or in the client's course. `filters` are the
        arguments of docs/protocol.md."""
        async for item in self._paged("entries", lambda after: self.protocol.audit({**filters, "after": after})):
            yield item

    async def history(self, **arguments: Any) -> models.History:
        """The load over time: for an operator of the cluster, else of the client's course. `arguments` are those of
        docs/protocol.md; since `from` is a word of Python's: `**{"from": date}`."""
        return await self.send(self.protocol.history(arguments))

    # ---- Courses ----

    async def config(self, assignment: str) -> dict[str, Any]:
        """The config of an assignment of the course."""
        return await self.send(self.of_course.config(assignment))

    async def set_config(self, assignment: str, config: dict[str, Any]) -> None:
        """Stores the config of an assignment of the course, in place of an earlier one."""
        await self.send(self.of_course.set_config(assignment, config))

    async def estimate_course(self) -> models.Estimate:
        """When all jobs of the course that wait now will be done."""
        return await self.send(self.of_course.estimate_course())

    async def queue_length(self) -> int:
        """How many jobs of the course wait."""
        return (await self.send(self.of_course.queue_length()))["length"]

    async def queue_position(self, job: str) -> int:
        """How many jobs of the course are before this one; 0: it is next."""
        return (await self.send(self.of_course.queue_position(job)))["position"]

    async def graders(self) -> list[models.Grader]:
        """All graders of the cluster, as the course sees them: without their ids."""
        return await self.send(self.of_course.graders())

    async def share(self) -> models.Share:
        """The course's share of the graders, and the classes that its runs may have."""
        return await self.send(self.of_course.share())

    async def pause_course(self, note: str | None = None, timeout: int | None = None) -> models.Pause | None:
        """Hands out no more jobs of the course, until it is resumed or `timeout` seconds are over."""
        return await self.send(self.of_course.pause_course(note, timeout))

    async def resume_course(self) -> models.Pause | None:
        """Ends the pause of the course."""
        return await self.send(self.of_course.resume_course())

    async def pause_assignment(
        self, assignment: str, note: str | None = None, timeout: int | None = None
    ) -> models.Pause | None:
        """Hands out no more jobs of an assignment's runs, until it is resumed or `timeout` seconds are over."""
        return await self.send(self.of_course.pause_assignment(assignment, note, timeout))

    async def resume_assignment(self, assignment: str) -> models.Pause | None:
        """Ends the pause of an assignment. Returns the pause of something above it that still holds it, or None."""
        return await self.send(self.of_course.resume_assignment(assignment))

    # ---- Operators: these need the cluster token ----

    async def pauses(self) -> AsyncIterator[models.Pause]:
        """Yields the pauses in force: of the client's course, or all of them for an operator."""
        request_page = self.protocol.pauses if isinstance(self.protocol, Course) else classic.pauses
        offset: int | None = 0
        while offset is not None:
            page = await self.send(request_page(offset))
            for item in page["pauses"]:
                yield item
            offset = page["next_offset"]

    async def pause_cluster(self, note: str | None = None, timeout: int | None = None) -> models.Pause | None:
        """Hands out no more jobs at all, until the cluster is resumed or `timeout` seconds are over."""
        return await self.send(classic.pause_cluster(note, timeout))

    async def resume_cluster(self) -> models.Pause | None:
        """Ends the pause of the cluster."""
        return await self.send(classic.resume_cluster())

    async def grader(self, worker: str) -> models.Grader:
        """What is known of one grader."""
        return await self.send(classic.grader(worker))

    async def explain_grader(self, worker: str) -> models.Explanation:
        """Why the grader gets no job."""
        return await self.send(classic.explain_grader(worker))

    async def pause_grader(
        self, worker: str, note: str | None = None, timeout: int | None = None, drain: bool | None = None
    ) -> models.Pause | None:
        """Gives the grader no more jobs; `drain`: it is to end when its jobs are done."""
        return await self.send(classic.pause_grader(worker, note, timeout, drain))

    async def resume_grader(self, worker: str) -> models.Pause | None:
        """Ends the pauses of the grader."""
        return await self.send(classic.resume_grader(worker))

    async def scheduling(self) -> models.Scheduling:
        """The shares of all courses, and the reservations of graders in force."""
        return await self.send(classic.scheduling())

    async def set_share(self, course: str, weight: int | None = None, max_running: int | None = None) -> models.Share:
        """Sets the share of a course, in place of what an operator set before; what is None is the course file's.
        Returns what counts then."""
        return await self.send(classic.set_share(course, weight, max_running))

    async def reset_share(self, course: str) -> models.Share:
        """Returns a course to the share of the course file."""
        return await self.send(classic.reset_share(course))

    async def reserve(
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
        return await self.send(classic.reserve(name, members))

    async def unreserve(self, name: str) -> None:
        """Ends a reservation."""
        await self.send(classic.unreserve(name))
