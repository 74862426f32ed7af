"""The loop: runs cases until the time is over, writes findings into files, and prints figures at the end."""

import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from broadway_fuzz import seeds
from broadway_fuzz.bystander import Bystander
from broadway_fuzz.case import Case, to_json
from broadway_fuzz.cases import Cases
from broadway_fuzz.oracle import Oracle
from broadway_fuzz.system import System

EARLIER = 12
PROGRESS_S = 2.0
REPEATED = 3


@dataclass
class Finding:
    """A case with a wrong outcome."""

    number: int
    case: Case
    problem: str
    file: Path


@dataclass
class Tally:
    """Counts of the cases so far."""

    cases: Counter = field(default_factory=Counter)
    seconds: Counter = field(default_factory=Counter)
    failed: int = 0
    signatures: Counter = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.cases.values())


class Fuzzer:
    """Runs the cases of a seed against a system."""

    def __init__(self, running: System, oracle: Oracle, seed: int, directory: Path, most_findings: int = 20):
        self.running, self.oracle, self.seed, self.directory = running, oracle, seed, directory
        self.most_findings = most_findings
        self.cases = Cases(seed)
        self.tally = Tally()
        self.bystander: Bystander | None = None
        self._earlier: deque[Case] = deque(maxlen=EARLIER)
        self._told = 0.0
        self._before = {target.pid: target.descriptors() for target in running.targets.values()}

    def run(self, seconds: float, first: int = 0) -> Tally:
        """Runs cases from number `first` on, for `seconds`, or until there are too many findings."""
        deadline, number = time.monotonic() + seconds, first
        worker = self.running.pairs[seeds.WORKER]
        self.bystander = Bystander(self.running.targets["public"], worker, self.oracle.slowness)
        while time.monotonic() < deadline and len(self.tally.findings) < self.most_findings:
            self.run_case(number, self.cases.case(number))
            number += 1
            self._print_progress(number, deadline)
        self.bystander.close()
        return self.tally

    def check_rest(self) -> None:
        """Checks that no connection stays open at the end."""
        for name, target in self.running.targets.items():
            begun = time.monotonic()
            problem = self.oracle.comes_to_rest(target, self._before.get(target.pid, target.descriptors()))
            self.tally.cases["at rest"] += 1
            self.tally.seconds["at rest"] += time.monotonic() - begun
            if problem is not None:
                self.tally.failed += 1
                self.tally.signatures[f"{name} port: {problem}"] += 1

    def run_case(self, number: int, case: Case) -> str | None:
        """Runs one case; writes and returns a finding."""
        begun = time.monotonic()
        target = self.running.targets[case.target]
        problem = self.oracle.try_case(case.translated(self.running.pairs), target, self.cases.source(number))
        problem = problem or (self.bystander and self.bystander.take_problem())
        self.tally.cases[case.kind] += 1
        self.tally.seconds[case.kind] += time.monotonic() - begun
        if problem is not None:
            self._write_down(number, case, problem)
            self.running.revive()
            if self.bystander:
                self.bystander.target = self.running.targets["public"]
        self._earlier.append(case)
        return problem

    def _write_down(self, number: int, case: Case, problem: str) -> None:
        """Writes a finding to a file and the terminal; one that resembles a known one is only counted."""
        self.tally.failed += 1
        signature = f"{case.target} port, {case.kind.split(',', maxsplit=1)[0]}: {problem.split(':', maxsplit=1)[0]}"
        self.tally.signatures[signature] += 1
        if self.tally.signatures[signature] > REPEATED:
            return
        file = self.directory / f"finding-seed-{self.seed}-case-{number}.json"
        earlier = [to_json(one) for one in self._earlier]
        text = {"seed": self.seed, "number": number, "problem": problem, "case": to_json(case), "earlier": earlier}
        file.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")
        self.tally.findings.append(Finding(number, case, problem, file))
        click.echo(f"\nFINDING: seed {self.seed}, case {number} ({case.kind}, port {case.target}): {problem}")
        click.echo(f"  sent: {_shortened(case.sent)}")
        click.echo(f"  file: {file}\n  again: tests/fuzz/run --replay {file}")
        if target_log := _last_report(self.running.targets[case.target].log):
            click.echo(target_log)

    def _print_progress(self, number: int, deadline: float) -> None:
        now = time.monotonic()
        if now - self._told < (PROGRESS_S if sys.stderr.isatty() else 5 * PROGRESS_S):
            return
        self._told = now
        memory = {
            name: target.resident_bytes() >> 20 for name, target in self.running.targets.items() if name != "internal"
        }
        sizes = ", ".join(f"{name} {size} MiB" for name, size in memory.items())
        end = "\r" if sys.stderr.isatty() else "\n"
        text = f"case {number}, {self.tally.failed} failed, {deadline - now:.0f} s left, {sizes}   "
        click.echo(text + end, nl=False, err=True)


def replay(running: System, oracle: Oracle, case: Case, earlier: list[Case], say: Callable[[str], None]) -> bool:
    """Runs one case again: alone, then after the cases before it. Returns whether it failed."""
    for name, cases in (("alone", [case]), ("after the cases before it", [*earlier, case])):
        for one in cases:
            target = running.targets[one.target]
            problem = oracle.try_case(one.translated(running.pairs), target)
            if problem is not None:
                say(f"fails {name}: {problem}")
                return True
        say(f"no failure {name}")
    return False


def report(tally: Tally, oracle: Oracle) -> Iterator[str]:
    """The lines at the end."""
    groups = Counter({kind.split(",")[0]: 0 for kind in tally.cases})
    seconds: Counter = Counter()
    for kind, count in tally.cases.items():
        groups[kind.split(",")[0]] += count
        seconds[kind.split(",")[0]] += tally.seconds[kind]
    yield f"{'kind':<28} {'cases':>7} {'cases/s':>8}  closed without an answer"
    silent = Counter()
    for kind, count in oracle.closed_unanswered.items():
        silent[kind.split(",")[0]] += count
    for kind in sorted(groups):
        yield f"{kind:<28} {groups[kind]:>7} {groups[kind] / max(seconds[kind], 1e-3):>8.0f}  {silent[kind] or ''}"
    yield "statuses: " + ", ".join(f"{status} {count}x" for status, count in sorted(oracle.statuses.items()))
    yield f"closed without an answer: {sum(silent.values())}; left open: {sum(oracle.left_open.values())}"
    yield from (f"FOUND {count}x: {signature}" for signature, count in sorted(tally.signatures.items()))
    yield f"{tally.total - tally.failed} passed, {tally.failed} failed"


def new_seed() -> int:
    """A random seed."""
    return random.SystemRandom().randrange(1, 2**31)


def _shortened(data: bytes, most: int = 400) -> str:
    text = repr(data)
    return text if len(text) <= most else f"{text[: most // 2]} … {text[-most // 2 :]} ({len(data)} bytes)"


def _last_report(log: Path) -> str:
    """The report of a sanitizer at the end of a log."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    start = max(
        text.rfind("ERROR: AddressSanitizer"), text.rfind("WARNING: ThreadSanitizer"), text.rfind(": runtime error: ")
    )
    return "" if start < 0 else "\n".join("    " + line[:160] for line in text[start:].splitlines()[:30])
