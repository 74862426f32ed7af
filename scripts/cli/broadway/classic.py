"""Requests of the classic protocol (docs/protocol.md), for runs without a course; and those of operators."""

import uuid
from pathlib import Path
from typing import Any

from broadway import models
from broadway.checking import checked
from broadway.errors import BadAnswer
from broadway.wire import Request

ROUTE = "/api/v1"


def repeatable() -> dict[str, str]:
    """The header that makes a repetition of a request harmless. Each request needs its own."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def reader(kind: Any) -> Any:
    """A function that checks an answer against a type of `broadway.models`."""
    return lambda answer: checked(kind, answer)


def read_paused(answer: Any) -> models.Pause | None:
    """The pause in force after a pause or a resume."""
    return checked(models._PausedMembers, answer)["paused"]


def pause_body(note: str | None, timeout: int | None, **more: Any) -> dict[str, Any]:
    """The body of any pause."""
    members = {"note": note, "timeout": timeout, **more}
    return {name: value for name, value in members.items() if value is not None}


def results_arguments(form: str, merge: bool) -> dict[str, Any]:
    """The arguments of requests for results. `form`: json, ndjson or csv."""
    return {"format": form, "merge": "reruns" if merge else None}


class Classic:
    """The requests for runs. `starts_at_once`: whether a submission starts the run."""

    starts_at_once = False

    def submit(self, definition: dict[str, Any], assignment: str | None) -> Request:
        if assignment is not None:
            raise ValueError("an assignment belongs to a course")
        return Request(
            "POST", f"{ROUTE}/grading_run", body=definition, headers=repeatable(), read=reader(models.RunCreated)
        )

    def store_file(self, path: Path) -> Request:
        return Request("POST", self._files(), file=path, read=self._read(reader(models.StoredFile)))

    def start(self, run: str) -> Request:
        return Request("POST", f"{ROUTE}/grading_run/{run}")

    def status(self, run: str) -> Request:
        return Request("GET", self._run(run), {"students": False}, read=lambda answer: read_status(run, answer))

    def runs(self, arguments: dict[str, Any]) -> Request:
        return Request("GET", f"{ROUTE}/grading_run", arguments, read=reader(models.RunPage))

    def definition(self, run: str) -> Request:
        return Request("GET", f"{self._run(run)}/definition", read=self._read(reader(dict)))

    def results(self, run: str, form: str, merge: bool) -> Request:
        return Request("GET", f"{self._run(run)}/results", results_arguments(form, merge))

    def cancel(self, run: str) -> Request:
        return Request("POST", f"{self._run(run)}/cancel")

    def pause(self, run: str, note: str | None, timeout: int | None) -> Request:
        return Request("POST", f"{self._run(run)}/pause", body=pause_body(note, timeout), read=self._read(read_paused))

    def resume(self, run: str) -> Request:
        return Request("POST", f"{self._run(run)}/resume", read=self._read(read_paused))

    def rerun(self, run: str, selection: dict[str, Any]) -> Request:
        return Request(
            "POST", f"{self._run(run)}/rerun", body=selection, headers=repeatable(), read=self._read(self._read_rerun)
        )

    def jobs(self, run: str, arguments: dict[str, Any]) -> Request:
        return Request("GET", f"{self._run(run)}/jobs", arguments, read=self._read(reader(models.JobPage)))

    def receipts(self, run: str) -> Request:
        return Request("GET", f"{self._run(run)}/receipts", read=self._read(reader(dict)))

    def explain_run(self, run: str) -> Request:
        return Request("GET", f"{self._run(run)}/explain", read=self._read(reader(models.Explanation)))

    def explain_job(self, job: str) -> Request:
        return Request("GET", f"{self._job(job)}/explain", read=self._read(reader(models.Explanation)))

    def job(self, job: str) -> Request:
        return Request("GET", self._job(job), read=self._read(reader(models.JobDetails)))

    def cancel_job(self, job: str) -> Request:
        return Request("POST", f"{self._job(job)}/cancel", read=self._read(reader(models.JobCancelled)))

    def log(self, job: str, stream: str, tail: int | None) -> Request:
        arguments = {"stream": stream, "tail": tail}
        return Request("GET", f"{self._job(job)}/log", arguments, read=self._read(reader(models.JobLog)))

    def estimate_run(self, run: str) -> Request:
        return Request("GET", f"{self._run(run)}/estimate", read=self._read(reader(models.Estimate)))

    def estimate_job(self, job: str) -> Request:
        return Request("GET", f"{self._job(job)}/estimate", read=self._read(reader(models.Estimate)))

    def follow_log(self, job: str, stream: str, after: str | None) -> Request:
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": after} if after else {})
        return Request("GET", f"{self._job(job)}/log", {"stream": stream, "follow": True}, headers=headers)

    def audit(self, arguments: dict[str, Any]) -> Request:
        return Request("GET", f"{ROUTE}/audit", arguments, read=reader(models.AuditPage), by_operator=True)

    def history(self, arguments: dict[str, Any]) -> Request:
        return Request("GET", f"{ROUTE}/history", arguments, read=reader(models.History), by_operator=True)

    def _files(self) -> str:
        return f"{ROUTE}/files"

    def _run(self, run: str) -> str:
        return f"{ROUTE}/grading_run/{run}"

    def _job(self, job: str) -> str:
        return f"{ROUTE}/grading_job/{job}"

    def _read(self, read: Any) -> Any:
        """The function that reads an answer of this protocol's form."""
        return read

    def _read_rerun(self, answer: Any) -> str:
        return checked(models.RunCreated, answer)["id"]


def read_status(run: str, answer: Any) -> models.RunStatus:
    """The status of a run from the server's answer."""
    checked(dict, answer)
    if "state" not in answer:
        raise BadAnswer("the answer has no 'state'")
    return models.RunStatus(
        run_id=run,
        state=checked(str, answer["state"]),
        progress=checked(models.Progress, answer.get("progress")),
        created_at=answer.get("created_at"),
        started_at=answer.get("started_at"),
        finished_at=answer.get("finished_at"),
        waiting_for=answer.get("waiting_for"),
        paused=checked(models.Pause | None, answer.get("paused")),
        answer=answer,
    )


# ---- Of operators, for both protocols ----


def pause_cluster(note: str | None, timeout: int | None) -> Request:
    body = pause_body(note, timeout)
    return Request("POST", f"{ROUTE}/cluster_pause", body=body, read=read_paused, by_operator=True)


def resume_cluster() -> Request:
    return Request("POST", f"{ROUTE}/cluster_resume", read=read_paused, by_operator=True)


def pauses(offset: int) -> Request:
    read = reader(models.PausePage)
    return Request("GET", f"{ROUTE}/pauses", {"offset": offset}, read=read, by_operator=True)


def grader(worker: str) -> Request:
    read = reader(models.Grader)
    return Request("GET", f"{ROUTE}/worker_status", {"worker_id": worker}, read=read, by_operator=True)


def explain_grader(worker: str) -> Request:
    read = reader(models.Explanation)
    return Request("GET", f"{ROUTE}/worker_explain", {"worker_id": worker}, read=read, by_operator=True)


def pause_grader(worker: str, note: str | None, timeout: int | None, drain: bool | None) -> Request:
    body = pause_body(note, timeout, drain=drain, worker_id=worker)
    return Request("POST", f"{ROUTE}/worker_pause", body=body, read=read_paused, by_operator=True)


def resume_grader(worker: str) -> Request:
    return Request("POST", f"{ROUTE}/worker_resume", body={"worker_id": worker}, read=read_paused, by_operator=True)


def scheduling() -> Request:
    return Request("GET", f"{ROUTE}/scheduling", read=reader(models.Scheduling), by_operator=True)


def _read_share(answer: Any) -> models.Share:
    return checked(models._ShareMembers, answer)["share"]


def _read_reservation(answer: Any) -> models.Reservation:
    return checked(models._ReservationMembers, answer)["reservation"]


def set_share(course: str, weight: int | None, max_running: int | None) -> Request:
    members = {"weight": weight, "max_running": max_running}
    body = {name: value for name, value in members.items() if value is not None}
    return Request("POST", f"{ROUTE}/scheduling/courses/{course}", body=body, read=_read_share, by_operator=True)


def reset_share(course: str) -> Request:
    return Request("POST", f"{ROUTE}/scheduling/courses/{course}/delete", read=_read_share, by_operator=True)


def reserve(name: str, members: dict[str, Any]) -> Request:
    body = {key: value for key, value in members.items() if value is not None}
    path = f"{ROUTE}/scheduling/reservations/{name}"
    return Request("POST", path, body=body, read=_read_reservation, by_operator=True)


def unreserve(name: str) -> Request:
    path = f"{ROUTE}/scheduling/reservations/{name}/delete"
    return Request("POST", path, read=reader(dict), by_operator=True)
