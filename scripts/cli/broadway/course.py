"""Requests of the course protocol (docs/protocol-course.md), for the runs of one course."""

from typing import Any

from broadway import models
from broadway.checking import checked
from broadway.classic import ROUTE, Classic, pause_body, read_paused, read_status, reader, repeatable, results_arguments
from broadway.errors import BadAnswer
from broadway.wire import Request


class Course(Classic):
    """The requests for the runs of a course: those of the classic protocol at other paths, in an envelope."""

    starts_at_once = True

    def __init__(self, course: str) -> None:
        self.course = course

    def submit(self, definition: dict[str, Any], assignment: str | None) -> Request:
        if assignment is None:
            raise ValueError("a run of a course needs an assignment")
        path = f"{ROUTE}/grading_run/{self.course}/{assignment}"
        return Request("POST", path, body=definition, headers=repeatable(), read=self._read(_read_created))

    def status(self, run: str) -> Request:
        path = f"{self._run(run)}/status"
        read = self._read(lambda answer: read_status(run, answer))
        return Request("GET", path, {"students": False}, read=read)

    def runs(self, arguments: dict[str, Any]) -> Request:
        path = f"{ROUTE}/grading_runs/{self.course}"
        return Request("GET", path, arguments, read=self._read(reader(models.RunPage)))

    def results_of(self, assignment: str | None, form: str, merge: bool) -> Request:
        path = f"{ROUTE}/results/{self.course}" + ("" if assignment is None else f"/{assignment}")
        return Request("GET", path, results_arguments(form, merge))

    def audit(self, arguments: dict[str, Any]) -> Request:
        path = f"{ROUTE}/audit/{self.course}"
        return Request("GET", path, arguments, read=self._read(reader(models.AuditPage)))

    def history(self, arguments: dict[str, Any]) -> Request:
        path = f"{ROUTE}/history/{self.course}"
        return Request("GET", path, arguments, read=self._read(reader(models.History)))

    # ---- Only in this protocol ----

    def config(self, assignment: str) -> Request:
        return Request("GET", self._config(assignment), read=self._read(reader(dict)))

    def set_config(self, assignment: str, config: dict[str, Any]) -> Request:
        return Request("POST", self._config(assignment), body=config)

    def queue_length(self) -> Request:
        read = reader(models.QueueLength)
        return Request("GET", f"{ROUTE}/queue/{self.course}/length", read=self._read(read))

    def queue_position(self, job: str) -> Request:
        read = reader(models.QueuePosition)
        return Request("GET", f"{ROUTE}/queue/{self.course}/{job}/position", read=self._read(read))

    def estimate_course(self) -> Request:
        path = f"{ROUTE}/course/{self.course}/estimate"
        return Request("GET", path, read=self._read(reader(models.Estimate)))

    def graders(self) -> Request:
        def read(answer: Any) -> list[models.Grader]:
            checked(dict, answer)
            return checked(list[models.Grader], answer.get("worker_nodes"), "worker_nodes")

        return Request("GET", f"{ROUTE}/worker/{self.course}/all", read=self._read(read))

    def share(self) -> Request:
        return Request("GET", f"{ROUTE}/scheduling/{self.course}", read=self._read(reader(models.Share)))

    def pauses(self, offset: int) -> Request:
        read = self._read(reader(models.PausePage))
        return Request("GET", f"{ROUTE}/pauses/{self.course}", {"offset": offset}, read=read)

    def pause_course(self, note: str | None, timeout: int | None) -> Request:
        path = f"{ROUTE}/course/{self.course}/pause"
        return Request("POST", path, body=pause_body(note, timeout), read=self._read(read_paused))

    def resume_course(self) -> Request:
        return Request("POST", f"{ROUTE}/course/{self.course}/resume", read=self._read(read_paused))

    def pause_assignment(self, assignment: str, note: str | None, timeout: int | None) -> Request:
        path = f"{self._assignment(assignment)}/pause"
        return Request("POST", path, body=pause_body(note, timeout), read=self._read(read_paused))

    def resume_assignment(self, assignment: str) -> Request:
        return Request("POST", f"{self._assignment(assignment)}/resume", read=self._read(read_paused))

    def _assignment(self, assignment: str) -> str:
        return f"{ROUTE}/assignment/{self.course}/{assignment}"

    def _config(self, assignment: str) -> str:
        return f"{ROUTE}/grading_config/{self.course}/{assignment}"

    def _files(self) -> str:
        return f"{ROUTE}/files/{self.course}"

    def _run(self, run: str) -> str:
        return f"{ROUTE}/grading_run/{self.course}/{run}"

    def _job(self, job: str) -> str:
        return f"{ROUTE}/grading_job/{self.course}/{job}"

    def _read(self, read: Any) -> Any:
        def unpack(answer: Any) -> Any:
            checked(dict, answer)
            if answer.get("status") != "success" or "data" not in answer:
                raise BadAnswer("the answer has no 'data'")
            return read(answer["data"])

        return unpack

    def _read_rerun(self, answer: Any) -> str:
        return _read_created(answer)["id"]


def _read_created(answer: Any) -> models.RunCreated:
    """The answer to a submission in the words of the classic protocol."""
    checked(dict, answer)
    rest = {name: value for name, value in answer.items() if name != "grading_run_id"}
    run = checked(str, answer.get("grading_run_id"), "the answer's 'grading_run_id'")
    return checked(models.RunCreated, {"id": run, **rest})
