"""Checks of all requests that a grader has sent, whatever the scenario."""

from broadway_tools.grader_check.api import ARGUMENTS, LONGEST_POLL_S, Request, is_same_result
from broadway_tools.grader_check.scenario import Scenario, Session


def play_always(session: Session) -> None:
    """Arguments, bodies and ids of all requests, and the results of all jobs."""
    with session.api.changed:
        requests, jobs = list(session.api.requests), dict(session.api.jobs)
    _expect_none(session, "known-arguments", [text for request in requests if (text := unknown_arguments(request))])
    contradictions = [str(request.problem) for request in requests if request.is_contradictory]
    if contradictions:
        _expect_none(session, "equal-arguments", contradictions)
    bodies = [str(request.problem) for request in requests if request.problem and not request.is_contradictory]
    _expect_none(session, "valid-json", bodies)
    reports = [request for request in requests if request.kind == "report"]
    if not reports:
        return
    strange = [str(report.job_id) for report in reports if report.job_id not in jobs]
    _expect_none(session, "same-ids", [f"a report of the unknown job {job_id}" for job_id in strange])
    incomplete = [sorted(report.arguments) for report in reports if is_incomplete(report)]
    _expect_none(session, "result", [f"a report with only {names}" for names in incomplete])
    for job in jobs.values():
        changed = [report for report in job.reports if not is_same_result(job.reports[0].arguments, report.arguments)]
        if changed:
            session.broken("same-result", f"{1 + len(changed)} reports of one job with different results")
    waits = [poll.arguments["wait"] for poll in requests if poll.kind == "poll" and "wait" in poll.arguments]
    if waits:
        _expect_none(session, "wait", [f"wait: {wait}" for wait in waits if not is_wait(wait)])


def unknown_arguments(request: Request) -> str | None:
    """What is wrong with the arguments' names or the path; None if they are right."""
    if request.kind == "unknown":
        return f"there is nothing at {request.path}"
    names = sorted(set(request.arguments) - ARGUMENTS[request.kind])
    return f"{request.kind}: {', '.join(names)}" if names else None


def is_incomplete(report: Request) -> bool:
    """Whether a report has neither a result nor says that the job is returned."""
    return "result" not in report.arguments and report.arguments.get("outcome") != "infrastructure"


def is_wait(text: str) -> bool:
    """Whether this is a valid `wait`."""
    whole, _, fraction = text.partition(".")
    return whole.isdigit() and (fraction.isdigit() or "." not in text) and float(text) <= LONGEST_POLL_S


def _expect_none(session: Session, sentence: str, seen: list[str]) -> None:
    session.expect(sentence, not seen, f"{seen[0]} ({len(seen)} times)" if seen else "")


ALWAYS = Scenario("always", "all requests together", play_always)
