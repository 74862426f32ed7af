"""Scenarios about a grader's requests, and about answers that fail, are late, or are lost."""

import time
from dataclasses import replace
from itertools import pairwise

from broadway_tools.grader_check.api import (
    LONGEST_POLL_S,
    Action,
    Job,
    Reply,
    Request,
    Serve,
    is_same_result,
    poll_seconds,
    refuse,
)
from broadway_tools.grader_check.scenario import SHORTEST_PAUSE, Scenario, Session, Stuck, said

EMPTY_AFTER_S = 0.3  # a poll, where many empty answers are wanted
AT_ONCE_S = 2  # an answered poll is followed by the next one within
MOST_POLLS = 10  # a second
RATE_S = 2  # for which polls are counted
AFTERWARDS_S = 2  # for which a request that must not come is awaited
CLOSED_S = 2
CLIENT_MARGIN_S = 1
LOG_LIMIT = 65_536


class NoGrader(Exception):
    """No grader has registered."""


def play_register(session: Session, is_refused: bool = True) -> None:
    """The first registration, which is answered 503 once if `is_refused`. Raises NoGrader."""
    api, settings = session.api, session.settings
    action = refuse(503, "the registration could not be stored: try again", settings.retry_after_s)
    with api.rule("register", action, times=1 if is_refused else 0) as rule:
        if session.grader:
            session.grader.start()
        is_there = api.wait_for(lambda: api.workers, settings.register_s)
    requests = api.since(0, "register")
    if requests:
        is_right = requests[0].arguments.get("token") == api.token
        session.expect("token", is_right, f"the query has the arguments {sorted(requests[0].arguments)}")
    if not is_there and len(requests) == 1 and rule.hits:
        session.broken("retry-after", "the request was not repeated")
    if not is_there:
        raise NoGrader
    if rule.hits:
        _expect_second_registration(session, requests)
    _expect_registration(session, session.registration())


def _expect_second_registration(session: Session, requests: list[Request]) -> None:
    if session.ends():
        session.broken("retry-after", "the grader ended after 503")
        return
    first, second = requests[:2]
    assert first.answered is not None
    session.expect_pause(first.answered, second.time, session.settings.retry_after_s)


def _expect_registration(session: Session, arguments: dict) -> None:
    if "hostname" in arguments:
        name = arguments["hostname"]
        is_short = len(name.encode()) <= 255 and name.isprintable()
        session.expect("hostname", is_short, f"hostname: {name!r}")
    if "concurrency" in arguments:
        text = arguments["concurrency"]
        session.expect("concurrency", text.isdigit() and 1 <= int(text) <= 1000, f"concurrency: {text!r}")


def play_empty(session: Session) -> None:
    """Empty answers after a short time, then at once."""
    api, slots = session.api, session.slots()
    start = time.monotonic()
    api.longest_poll_s = EMPTY_AFTER_S
    try:
        api.end_polls()
        wanted = 4 * slots
        limit = 4 * (EMPTY_AFTER_S + AT_ONCE_S)
        is_polling = api.wait_for(lambda: len(api.since(start, "poll")) >= wanted, limit)
        seen = f"{len(api.since(start, 'poll'))} polls in {limit:.1f} s, each answered empty after {EMPTY_AFTER_S} s"
        session.expect("poll-again", is_polling, seen)
        api.longest_poll_s, start = 0, time.monotonic()
        session.pause(RATE_S)
        rate = len(api.since(start, "poll")) / RATE_S / slots
        session.expect("poll-rate", rate <= MOST_POLLS, f"{rate:.0f} polls a second for each slot")
    finally:
        api.longest_poll_s = LONGEST_POLL_S


def play_poll_503(session: Session) -> None:
    """All polls are answered 503 for a time."""
    api, wait_s = session.api, session.settings.retry_after_s
    with api.rule("poll", refuse(503, "too many requests are in flight", wait_s)) as rule:
        api.end_polls()
        if not api.wait_for(lambda: rule.hits and rule.hits[0].status, session.settings.timeout_s):
            session.broken("loop", f"no poll in {session.settings.timeout_s:g} s")
            raise Stuck
        first = rule.hits[0]
        session.pause(SHORTEST_PAUSE * wait_s)
        count, slots = len(rule.hits), session.slots()
    seen = f"{count} requests in {SHORTEST_PAUSE * wait_s:.1f} s with {slots} at a time, Retry-After was {wait_s}"
    is_calm = session.expect("retry-after", count <= slots, seen)
    if not api.wait_for(lambda: api.open_polls, session.settings.timeout_s):
        session.broken("retry-after", "the request was not repeated")
        raise Stuck
    if is_calm and slots == 1:
        assert first.answered is not None
        session.expect_pause(first.answered, api.since(first.answered, "poll")[0].time, wait_s)


def play_report_503(session: Session) -> None:
    """A result is answered 503 twice."""
    wait_s = session.settings.retry_after_s
    with session.api.rule("report", refuse(503, "could not be stored in time: send it again", wait_s), times=2):
        job = session.finish(session.hand_out(session.stage("echo done")), "repeat-report")
    _expect_equal_reports(session, job)
    for before, after in pairwise(job.reports[:3]):
        assert before.answered is not None
        session.expect_pause(before.answered, after.time, wait_s)


def play_report_500(session: Session) -> None:
    """A result is answered 500 once."""
    with session.api.rule("report", refuse(500, "out of memory"), times=1):
        job = session.finish(session.hand_out(session.stage("echo done")), "once-or-twice")
    _expect_equal_reports(session, job)


def play_report_lost(session: Session) -> None:
    """A result is stored, and the answer to it is lost."""

    def lose(_request: Request, serve: Serve) -> Reply:
        return replace(serve(), delivery="none")

    with session.api.rule("report", lose, times=1):
        job = session.finish(session.hand_out(session.stage("echo done")))
        is_repeated = session.api.wait_for(lambda: len(job.reports) >= 2, session.settings.timeout_s)
    session.expect("no-answer", is_repeated, "a report whose connection was cut was not repeated")
    _expect_equal_reports(session, job)


def _expect_equal_reports(session: Session, job: Job) -> None:
    first = job.reports[0].arguments
    is_equal = all(is_same_result(first, report.arguments) for report in job.reports)
    session.expect("same-result", is_equal, "the repeated report has another result than the first")


def play_heartbeat_503(session: Session) -> None:
    """A heartbeat is answered 503 while a job runs."""
    api, wait_s = session.api, session.api.heartbeat_s
    if not session.must_beat():
        session.unseen("retry-after", "the grader states neither a hostname nor a concurrency")
        return
    job = session.hand_out(session.stage(f"sleep {3 * wait_s}"))
    with api.rule("heartbeat", refuse(503, "too many requests are in flight", wait_s), times=1) as rule:
        session.finish(job, runs_s=3 * wait_s)
    if not rule.hits or rule.hits[0].answered is None:
        session.broken("heartbeats", f"no heartbeat in a job of {3 * wait_s} s")
        return
    answered = rule.hits[0].answered
    if not api.wait_for(lambda: api.since(answered, "heartbeat"), session.dead_s()):
        session.broken("retry-after", "the request was not repeated")
        return
    session.expect_pause(answered, api.since(answered, "heartbeat")[0].time, wait_s)


def play_late_result(session: Session) -> None:
    """A result is refused, because the job has one already (of another worker, or since its run was cancelled)."""
    refused: list[Job] = []

    def answer(request: Request, _serve: Serve) -> Reply | None:
        is_late = refused and request.job_id == refused[0].handout["job_id"]
        return Reply(400, {"error": f"job '{request.job_id}' has its result already"}) if is_late else None

    with session.api.rule("report", answer):
        with session.api.changed:
            job = session.api.put(session.stage("echo done"))
            refused.append(job)
        if not session.api.wait_for(lambda: job.reports and job.reports[0].status, session.settings.timeout_s):
            session.api.withdraw(job)
            session.broken("always-report", f"no report in {session.settings.timeout_s:g} s")
            raise Stuck
        session.pause(AFTERWARDS_S)
        seen = f"{len(job.reports)} reports of one job, each answered 400"
        session.expect("final", len(job.reports) == 1, seen)
        next_job = session.hand_out(session.stage("echo next"))
        session.finish(next_job, "late")


def play_slow_answer(session: Session) -> None:
    """An answer to a poll that takes long."""
    api, slow_s = session.api, session.settings.slow_s
    held: list[tuple[Request, float | None]] = []  # with the time at which the grader gave up

    def hold(request: Request, serve: Serve) -> Reply:
        end = request.time + slow_s
        while time.monotonic() < end and not request.is_gone():
            api.wait_for(lambda: False, 0.05)
        held.append((request, time.monotonic() - request.time if request.is_gone() else None))
        return serve()

    with api.rule("poll", hold, times=session.slots()):
        api.end_polls()
        if not api.wait_for(lambda: held, slow_s + session.settings.timeout_s):
            session.broken("loop", f"no poll in {session.settings.timeout_s:g} s")
            raise Stuck
    request, gave_up_s = held[0]
    _expect_client_timeout(session, poll_seconds(request), gave_up_s)
    session.finish(session.hand_out(session.stage("echo done")), "loop")


def _expect_client_timeout(session: Session, wait_s: float, gave_up_s: float | None) -> None:
    needed_s = wait_s + CLIENT_MARGIN_S
    if gave_up_s is not None:
        seen = f"a poll with wait {wait_s:g} was given up after {gave_up_s:.1f} s"
        session.expect("client-timeout", gave_up_s >= needed_s, seen)
    elif session.settings.slow_s >= needed_s:
        session.kept("client-timeout")
    else:
        session.unseen("client-timeout", f"the answer was not later than wait, which is {wait_s:g} s: see --slow")


def play_cut_poll(session: Session) -> None:
    """The connection breaks in the middle of a hand-out; the next poll gets the same job and attempt."""
    api = session.api
    with api.rule("poll", lose_first_handout(session)):
        session.fresh_polls()
        job = session.hand_out(session.stage(RANDOM))
        if not api.wait_for(lambda: len(job.handed) >= 2, session.settings.timeout_s):
            api.withdraw(job)
            session.broken("no-answer", "no poll after one whose connection broke")
            raise Stuck
    session.finish(job)
    session.kept("no-answer")
    session.pause(AFTERWARDS_S / 2)
    _expect_one_run(session, job)


RANDOM = "printf 'random-%s\\n' \"$(od -An -N8 -tx1 /dev/urandom | tr -d ' ')\""


def lose_first_handout(session: Session) -> Action:
    """An action that cuts the connection in the middle of the first hand-out."""
    lost: list[Request] = []

    def answer(request: Request, serve: Serve) -> Reply:
        reply = serve()
        if reply.status != 200 or lost:
            return reply
        lost.append(request)
        session.api.put_again(session.api.jobs[reply.value["job_id"]])
        return replace(reply, delivery="half")

    return answer


def play_duplicate(session: Session) -> None:
    """A job is delivered again, with the same attempt, to a grader that polls while it runs the job."""
    api = session.api
    job = session.hand_out(session.stage(f"sleep 1.5; {RANDOM}"))
    api.put_again(job)
    session.finish(job, runs_s=1.5)
    api.withdraw(job)
    if len(job.handed) < 2:
        session.unseen("run-once", "the grader does not poll while it runs a job, and needs not")
        return
    session.pause(AFTERWARDS_S)
    _expect_one_run(session, job)


def _expect_one_run(session: Session, job: Job) -> None:
    """Checks a job that was delivered twice."""
    first = job.reports[0].arguments
    others = [report for report in job.reports[1:] if not is_same_result(first, report.arguments)]
    seen = f"{len(job.handed)} deliveries of one attempt, and {1 + len(others)} different results"
    session.expect("run-once", not others, seen)


def play_unknown_worker(session: Session) -> None:
    """The worker's id is not known any more."""
    api = session.api
    start, ends, slots = time.monotonic(), session.ends(), session.slots()
    api.forget_workers()
    api.end_polls()
    is_registered = api.wait_for(lambda: api.workers, session.settings.timeout_s)
    old = [poll for poll in api.since(start, "poll") if poll.worker_id in api.forgotten and poll.status == 400]
    if not is_registered:
        api.remember_workers()
        session.broken("register-first", f"no registration in {session.settings.timeout_s:g} s")
    else:
        session.kept("register-first", "by a restart" if session.ends() > ends else "")
    # A poll that was already on its way is no repetition.
    session.expect("unchanged", len(old) <= 2 * slots, f"{len(old)} polls with the unknown id, each answered 400")
    session.finish(session.hand_out(session.stage("echo done")), "loop")


def play_restart(session: Session) -> None:
    """The server is restarted while a job runs, and connections are refused meanwhile."""
    job = session.hand_out(session.stage("sleep 1; echo done"))
    with session.server.closed():
        session.pause(CLOSED_S)
    session.finish(job, runs_s=1)
    session.kept("no-answer")


def play_future(session: Session) -> None:
    """Answers, a job and a stage with keys that this version of the protocol doesn't have."""
    api = session.api
    api.extra = {"future": {"level": 2, "names": ["a", None]}}
    try:
        renew_registration(session)
        job = session.hand_out(session.stage("echo done", future_key={"a": [1]}))
        session.finish(job, "unknown-keys")
        assert job.accepted is not None
        session.expect("unknown-keys", job.accepted.get("success", True) is True, f"the job failed: {said(job)[:200]}")
    finally:
        api.extra = {}


def renew_registration(session: Session) -> None:
    """Makes the grader register again, if it does that."""
    session.api.forget_workers()
    session.api.end_polls()
    if not session.api.wait_for(lambda: session.api.workers, session.settings.timeout_s):
        session.api.remember_workers()


def play_limits(session: Session) -> None:
    """The registration's answer states a small limit, and a stage writes more."""
    api = session.api
    api.headers |= {"Broadway-Max-Log-Bytes": str(LOG_LIMIT)}
    renew_registration(session)
    job = session.run(session.stage(f"head -c {4 * LOG_LIMIT} /dev/zero | tr '\\0' x"))
    assert job.accepted is not None
    logs = job.accepted.get("logs") or {}
    size = max((len(text.encode()) for text in logs.values() if isinstance(text, str)), default=0)
    session.expect("shorten", size <= LOG_LIMIT, f"logs of {size} bytes, the limit was {LOG_LIMIT}")


def play_shutdown(session: Session) -> None:
    """SIGTERM while a job runs."""
    if session.grader is None:
        session.unseen("shutdown", "the grader was not started by --command")
        return
    job = session.hand_out(session.stage("sleep 2; echo done"))
    signalled = time.monotonic()
    status = session.grader.drain(session.settings.timeout_s)
    polls = [poll for poll in session.api.since(signalled + 0.5, "poll")]
    is_done = session.api.wait_for(lambda: job.done is not None, 0)
    if not is_done:
        session.broken("shutdown", "SIGTERM while a job ran: the job was neither reported nor returned")
    elif polls:
        session.broken("shutdown", f"{len(polls)} polls after SIGTERM")
    elif status is None:
        session.broken("shutdown", f"the grader did not end in {session.settings.timeout_s:g} s after SIGTERM")
    else:
        session.kept("shutdown", "the job was returned" if job.is_returned else "")


CONNECTION_SCENARIOS = [
    Scenario("empty", "polls answered 498", play_empty),
    Scenario("poll-503", "polls answered 503", play_poll_503),
    Scenario("report-503", "a result answered 503", play_report_503),
    Scenario("report-500", "a result answered 500", play_report_500),
    Scenario("report-lost", "the answer to a result is lost", play_report_lost),
    Scenario("heartbeat-503", "a heartbeat answered 503", play_heartbeat_503),
    Scenario("late-result", "a result answered 400: too late, or cancelled", play_late_result),
    Scenario("slow-answer", "an answer to a poll that takes long", play_slow_answer),
    Scenario("cut-poll", "a hand-out cut in the middle, then delivered again", play_cut_poll),
    Scenario("duplicate", "a job delivered again while it runs", play_duplicate),
    Scenario("unknown-worker", "the worker's id is not known any more", play_unknown_worker),
    Scenario("restart", "the server is down while a job ends", play_restart),
    Scenario("future", "unknown keys in answers, jobs and stages", play_future),
    Scenario("limits", "more output than the server wants", play_limits),
]
SHUTDOWN = Scenario("shutdown", "SIGTERM while a job runs (with --command)", play_shutdown)
