"""What all scenarios use: the findings, and a session with the grader under check."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broadway_tools.grader_check.api import Api, Job, Request
from broadway_tools.grader_check.grader_process import GraderProcess
from broadway_tools.grader_check.http_server import HttpServer
from broadway_tools.grader_check.sentences import BY_NAME

KEPT, BROKEN, NOT_SEEN = "kept", "broken", "not seen"
# Graders vary their pauses, so that not all of them come back at once.
SHORTEST_PAUSE = 0.7
MEASURING_ERROR_S = 0.02
# The API regards a worker without requests as dead after this number of intervals, and at least 2 of them and a second.
DEAD_INTERVALS = 2.5


class Stuck(Exception):
    """The scenario can't continue; the reason is among the findings."""


@dataclass(frozen=True)
class Finding:
    """What a scenario found about a sentence. `what` says what was seen; it may be empty if the sentence was kept."""

    scenario: str
    sentence: str
    outcome: str
    what: str = ""


@dataclass(frozen=True)
class Settings:
    """The settings of the command line. Times in seconds."""

    image: str = "debian:12-slim"
    timeout_s: float = 30
    retry_after_s: int = 2
    slow_s: float = 5
    register_s: float = 30  # until the first registration


@dataclass
class Session:
    """The server, the grader (None if somebody else has started it) and the findings so far."""

    api: Api
    server: HttpServer
    grader: GraderProcess | None
    settings: Settings
    findings: list[Finding]
    scenario: str = ""

    def kept(self, sentence: str, what: str = "") -> None:
        """The grader keeps this sentence."""
        self._add(sentence, KEPT, what)

    def broken(self, sentence: str, what: str) -> None:
        """The grader breaks this sentence."""
        self._add(sentence, BROKEN, what)

    def unseen(self, sentence: str, why: str) -> None:
        """The scenario could not find out."""
        self._add(sentence, NOT_SEEN, why)

    def expect(self, sentence: str, is_kept: bool, otherwise: str) -> bool:
        """Adds a finding: kept, or broken with what was seen."""
        self._add(sentence, KEPT if is_kept else BROKEN, "" if is_kept else otherwise)
        return is_kept

    def _add(self, sentence: str, outcome: str, what: str) -> None:
        assert sentence in BY_NAME, sentence
        self.findings.append(Finding(self.scenario, sentence, outcome, what))

    # The grader

    def ends(self) -> int:
        """How often the started grader has ended by itself."""
        return len(self.grader.ends) if self.grader else 0

    def registration(self) -> dict[str, Any]:
        """The arguments of the last registration."""
        with self.api.changed:
            return list(self.api.workers.values())[-1]

    def slots(self) -> int:
        """How many jobs the grader runs at a time, as far as it has stated that."""
        concurrency = str(self.registration().get("concurrency", "1"))
        return int(concurrency) if concurrency.isdigit() else 1

    def must_beat(self) -> bool:
        """Whether the grader has promised heartbeats."""
        return not {"hostname", "concurrency"}.isdisjoint(self.registration())

    def dead_s(self) -> float:
        """The time without a request after which a worker is dead."""
        return max(DEAD_INTERVALS * self.api.heartbeat_s, 2 * self.api.heartbeat_s + 1)

    # Steps

    def pause(self, seconds: float) -> None:
        """Lets the grader act for a fixed time, because its silence is what is checked."""
        self.api.wait_for(lambda: False, seconds)

    def fresh_polls(self) -> None:
        """Ends all waiting polls, and returns when the grader polls anew. Raises Stuck."""
        api = self.api
        with api.changed:
            old = list(api.open_polls)
        api.end_polls()
        if not api.wait_for(lambda: any(poll not in old for poll in api.open_polls), self.settings.timeout_s):
            self.broken("loop", f"no poll in {self.settings.timeout_s:g} s")
            raise Stuck

    def stage(self, script: str, *arguments: str, env: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
        """A stage that runs a shell script."""
        entrypoint = ["/bin/sh", "-c", script, *(("sh", *arguments) if arguments else ())]
        return {"image": self.settings.image, "entrypoint": entrypoint, "env": list(env), **more}

    def hand_out(self, *stages: dict[str, Any], **more: Any) -> Job:
        """Hands a job out. Raises Stuck if the grader doesn't take it."""
        job = self.api.put(*stages, **more)
        if not self.api.wait_for(lambda: job.handed, self.settings.timeout_s):
            self.api.withdraw(job)
            self.broken("loop", f"no poll in {self.settings.timeout_s:g} s, so the job was not taken")
            raise Stuck
        return job

    def finish(self, job: Job, sentence: str = "always-report", runs_s: float = 0) -> Job:
        """Waits for the result of a job that runs so long. Raises Stuck if there is none, which breaks the sentence."""
        limit_s = self.settings.timeout_s + runs_s
        if not self.api.wait_for(lambda: job.done is not None, limit_s):
            answers = ", ".join(str(report.status) for report in job.reports) or "no report at all"
            self.broken(sentence, f"no accepted result in {limit_s:g} s (answers to its reports: {answers})")
            raise Stuck
        if job.is_returned:
            assert job.accepted is not None
            self.unseen(sentence, f"the grader returned the job: {job.accepted.get('reason')}")
            raise Stuck
        self.kept("loop")
        self.kept(sentence)
        return job

    def run(self, *stages: dict[str, Any], **more: Any) -> Job:
        """Hands a job out and waits for its result. Raises Stuck."""
        return self.finish(self.hand_out(*stages, **more))

    def expect_pause(self, answered: float, again: float, seconds: float) -> None:
        """Checks the pause between an answer with Retry-After and the next request."""
        seen = f"the next request came after {again - answered:.2f} s, Retry-After was {seconds:g}"
        self.expect("retry-after", again - answered >= SHORTEST_PAUSE * seconds, seen)
        self.expect("exact-pause", again - answered >= seconds - MEASURING_ERROR_S, seen)


@dataclass(frozen=True)
class Scenario:
    """A scenario: `play` adds findings to the session, and may raise Stuck."""

    name: str
    title: str
    play: Callable[[Session], None]


def nonce() -> str:
    """A text that occurs nowhere else."""
    return secrets.token_hex(8)


def strings(value: Any) -> str:
    """All strings in a JSON value, one after the other."""
    if isinstance(value, str):
        return value + "\n"
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return "".join(strings(part) for part in parts)


def said(job: Job, key: str | None = None) -> str:
    """All strings of the job's accepted report, or of one of its arguments."""
    accepted = job.accepted or {}
    return strings(accepted if key is None else accepted.get(key))


def most_open(polls: list[Request], start: float, end: float) -> int:
    """The most polls of a list that waited at a time, as seen when one of them arrived between two times."""
    arrivals = [poll.time for poll in polls if start < poll.time < end]
    return max((sum(is_open(poll, moment) for poll in polls) for moment in arrivals), default=0)


def is_open(poll: Request, moment: float) -> bool:
    """Whether a poll waited at that time."""
    return poll.time <= moment and (poll.answered is None or poll.answered > moment)
