"""Checks a server's behaviour: after each case the same process is alive, its log has no report of a sanitizer, it
answers /healthz, and every answer is HTTP with a documented status."""

import os
import re
import socket
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from broadway_tools import processes
from broadway_tools.files import ROOT

from broadway_fuzz.answers import Answer, Incomplete, Malformed, parse_answers, take_chunks
from broadway_fuzz.case import Case
from broadway_fuzz.wire import CLOSED, OPEN, Outcome, Pace, perform

SANITIZER_REPORT = re.compile(rb"(ERROR: \w+Sanitizer|: runtime error: |WARNING: ThreadSanitizer)[^\n]{0,200}")
PAGES = ("protocol.md", "protocol-course.md")
REQUEST_LINE = re.compile(rb"[A-Z]{1,20} /[!-~]* HTTP/1\.[01]\r\n")
FRAMING = re.compile(rb"\n[ \t]*(content-length|transfer-encoding)[^\n]*", re.I)
LENGTH = re.compile(rb"\ncontent-length: ?([0-9]{1,8})\r", re.I)
CHUNKED = re.compile(rb"\ntransfer-encoding: ?chunked\r", re.I)
HEALTH_S = 5.0
REPORT_S, DEATH_S = 3.0, 10.0
REST_S = 75.0  # the longest that an idle connection may last is 60 s
SPARE_DESCRIPTORS = 24
QUICK_S, NO_ANSWER_S, LONG_S, END_S = 0.05, 0.015, 5.0, 0.3
MIB = 1024 * 1024


def documented_statuses() -> set[int]:
    """The statuses in the protocol's pages, and 100 and 101. 500 counts as an error of Broadway."""
    text = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in PAGES)
    known = {status.value for status in HTTPStatus} | {498}
    return {100, 101} | {int(number) for number in re.findall(r"\b[2-5][0-9][0-9]\b", text) if int(number) in known} - {
        500
    }


@dataclass
class Target:
    """A fuzzed port and its process. `health`: the URL of its /healthz."""

    name: str
    member: str
    address: tuple[str, int]
    health: tuple[str, int]
    pid: int
    identity: str
    log: Path

    def is_alive(self) -> bool:
        """True if the process is the same as at the start, and not a zombie."""
        return processes.is_alive(self.pid, self.identity)

    def resident_bytes(self) -> int:
        """Memory of the process."""
        try:
            text = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        except OSError:
            return 0
        found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.M)
        return int(found.group(1)) * 1024 if found else 0

    def descriptors(self) -> int:
        """How many the process has open."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            return 0


@dataclass
class Oracle:
    """Checks targets. `slowness` stretches the deadlines for sanitizers. It also counts outcomes that are not failures:
    connections that were closed without an answer, because there was no request, and those that were still open when
    the client disconnected, because the library had not noticed the client's FIN."""

    slowness: float = 1.0
    growth_bytes: int = 256 * MIB
    documented: set[int] = field(default_factory=documented_statuses)
    closed_unanswered: Counter = field(default_factory=Counter)
    left_open: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    _read: dict = field(default_factory=dict)
    _base: dict = field(default_factory=dict)

    def try_case(self, case: Case, target: Target, source: str = "127.0.0.1") -> str | None:
        """Carries out a case; a sentence if the server has misbehaved. A missing answer is reported only if it is
        missing again with a longer time-out."""
        self._base.setdefault(target.pid, target.resident_bytes())
        quick = Pace(self.slowness * (QUICK_S if owes_answer(case.sent) else NO_ANSWER_S), self.slowness * END_S)
        long = Pace(self.slowness * LONG_S, self.slowness * LONG_S)
        try:
            outcome = perform(case, target.address, source, quick)
            problem = self.check(case, outcome)
            if problem is not None and not outcome.received and target.is_alive():
                outcome = perform(case, target.address, source, long)
                problem = self.check(case, outcome)
        except OSError as error:
            problem = f"no connection: {error}"
        return self.examine(target) or problem

    def check(self, case: Case, outcome: Outcome) -> str | None:
        """A sentence if the outcome is wrong."""
        try:
            answers, rest = _parse(case, outcome)
        except Malformed as error:
            return f"malformed answer: {error}"
        self.statuses.update(answer.status for answer in answers)
        for answer in answers:
            if answer.status not in self.documented:
                return f"status {answer.status}: {answer.body[:200]!r}"
        self.left_open[case.kind] += outcome.end == OPEN
        if case.is_aborted or (outcome.end != CLOSED and outcome.received):
            return None
        if rest and not _may_end_anywhere(answers, rest):
            return f"an answer was cut short: {rest[:80]!r}"
        return None if answers or rest else self._check_silence(case, outcome)

    def examine(self, target: Target) -> str | None:
        """A sentence if the process has ended, has logged a sanitizer's report, doesn't answer, or has grown too
        much."""
        report = self._new_report(target)
        if report is not None:
            _dies(target, REPORT_S)
            self._read[target.log] = target.log.stat().st_size
            return f"sanitizer: {report}"
        if not target.is_alive():
            return "the process has died"
        trouble = self._ask_health(target)
        if trouble is not None:
            return "the process has died" if _dies(target, DEATH_S) else trouble
        grown = target.resident_bytes() - self._base.get(target.pid, 0)
        if self._base.get(target.pid) and grown > self.growth_bytes:
            self._base[target.pid] += grown
            return f"memory has grown by {grown // MIB} MiB"
        return None

    def comes_to_rest(self, target: Target, before: int) -> str | None:
        """A sentence if connections stay open after all clients have disconnected. `before`: the initial number of
        descriptors."""
        deadline = time.monotonic() + REST_S * self.slowness
        while target.descriptors() > before + SPARE_DESCRIPTORS:
            if time.monotonic() > deadline:
                return f"connections are kept: {target.descriptors()} descriptors, {before} before"
            time.sleep(0.2)
        return None

    def _check_silence(self, case: Case, outcome: Outcome) -> str | None:
        """Checks a missing answer, which is correct for bytes that are not a complete request."""
        if outcome.end == CLOSED:
            self.closed_unanswered[case.kind] += 1
        if not owes_answer(case.sent):
            return None
        return "hangs: no answer to a whole request" if outcome.end == OPEN else "closed: no answer to a whole request"

    def _new_report(self, target: Target) -> str | None:
        size = target.log.stat().st_size if target.log.exists() else 0
        start = self._read.get(target.log, 0)
        if size == start:
            return None
        with open(target.log, "rb") as log:
            log.seek(start)
            text = log.read()
        self._read[target.log] = size
        found = SANITIZER_REPORT.search(text)
        return found.group(0).decode("latin-1") if found else None

    def _ask_health(self, target: Target) -> str | None:
        begun = time.monotonic()
        try:
            with socket.create_connection(target.health, timeout=HEALTH_S * self.slowness) as link:
                link.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                data = b""
                while piece := link.recv(4096):
                    data += piece
        except OSError as error:
            return f"/healthz is not answered after {time.monotonic() - begun:.1f} s: {error}"
        return None if data.startswith(b"HTTP/1.1 200 ") else f"/healthz is answered with {data[:60]!r}"


def owes_answer(sent: bytes) -> bool:
    """True if the bytes are a request line, complete headers, and the whole body that they declare. Then there must be
    an answer, even if the content is invalid. If the length of the body is ambiguous, an answer is optional."""
    head, mark, body = sent.partition(b"\r\n\r\n")
    if not mark or REQUEST_LINE.match(sent) is None:
        return False
    framing = FRAMING.findall(head)
    if not framing:
        return True
    length, is_chunked = LENGTH.search(head + b"\r"), CHUNKED.search(head + b"\r")
    if len(framing) > 1 or not (length or is_chunked):
        return False
    return len(body) >= int(length.group(1)) if length else _has_all_chunks(body)


def _has_all_chunks(body: bytes) -> bool:
    try:
        take_chunks(body)
    except (Incomplete, Malformed):
        return False
    return True


def _parse(case: Case, outcome: Outcome) -> tuple[list[Answer], bytes]:
    """Parses the answers; one may be to HEAD and have no body."""
    return parse_answers(outcome.received, is_closed=True, may_be_to_head=b"HEAD" in case.sent.upper())


def _may_end_anywhere(answers: list[Answer], rest: bytes) -> bool:
    """Event streams and websockets may end within a piece after the client's FIN."""
    return b"text/event-stream" in rest[:1000] or (answers != [] and answers[-1].status == 101)


def _dies(target: Target, seconds: float) -> bool:
    """True if the process ends soon; it may still be writing a report."""
    deadline = time.monotonic() + seconds
    while target.is_alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not target.is_alive()
