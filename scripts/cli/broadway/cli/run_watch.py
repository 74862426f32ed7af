"""`broadway run watch`: one screen of a run, whatever its size."""

import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from broadway.cli.outcome import DETACHED, FAILED, SUCCESS
from broadway.cli.output import safe, student_name
from broadway.cli.progress import COUNTS, Rate, describe, duration, held_back
from broadway.cli.run_submit import follow
from broadway.cli.session import FOLLOW_S, RUN, Session, connected
from broadway.client import Client
from broadway.models import Job, RunStatus

EVERY_S = 1.0
# Lines of the screen that are not rows of jobs: head, bar, counts, pace, notice, two titles and blank lines.
FRAME_LINES = 11
STYLES = {"succeeded": "green", "failed": "red", "running": "cyan", "cancelled": "yellow", "superseded": "yellow"}


@click.command()
@click.argument("run", type=RUN)
@connected(retry_s=FOLLOW_S)
def watch(session: Session, run: str) -> None:
    """Watch a run on one screen until it is over: counts, rate, estimate, running jobs and failures.

    Exits with 0 if all jobs succeeded, 1 if some failed. Ctrl-C detaches; the run goes on. Without a terminal, a line
    is printed for each change.
    """
    console = Console(stderr=not sys.stdout.isatty())
    if not console.is_terminal:
        sys.exit(follow(session.client, run, console))
    screen = Screen(run, console)
    session.client.on_retry = screen.say_waiting
    status = session.client.status(run)  # an unknown run is said without a screen
    try:
        status = _show(session.client, screen, status)
    except KeyboardInterrupt:
        click.echo(f"detached: the run goes on; see it again with: broadway run watch {run}", err=True)
        sys.exit(DETACHED)
    click.echo(describe(status))
    sys.exit(SUCCESS if status.is_success else FAILED)


def _show(client: Client, screen: "Screen", status: RunStatus) -> RunStatus:
    with Live(screen, console=screen.console, screen=True, auto_refresh=True, refresh_per_second=2) as live:
        last = status
        for last, running, failed in _scans(client, status, screen.rows):
            screen.update(last, running, failed)
            live.refresh()
    return last


def _scans(client: Client, status: RunStatus, rows: int) -> Iterator[tuple[RunStatus, list[Job], list[Job]]]:
    """Yields the status of a run with the first of its running and of its failed jobs, until it is over."""
    failed: list[Job] = []
    failures = 0
    while True:
        if status.progress["failed"] != failures or (status.is_over and status.progress["failed"]):
            failed, failures = _first_jobs(client, status.run_id, rows, outcome="failed"), status.progress["failed"]
        running = _first_jobs(client, status.run_id, rows, state="Running") if status.progress["running"] else []
        yield status, running, failed
        if status.is_over:
            return
        time.sleep(EVERY_S)
        status = client.status(status.run_id)


def _first_jobs(client: Client, run: str, count: int, **filters: str) -> list[Job]:
    jobs = client.jobs(run, limit=count, **filters)
    return [job for job, _ in zip(jobs, range(count), strict=False)]


class Screen:
    """What is shown of a run; rendered again and again, also while a server is waited for."""

    def __init__(self, run: str, console: Console) -> None:
        self.console = console
        self.rows = max(1, (console.height - FRAME_LINES) // 2)
        self._run = run
        self._lock = threading.Lock()
        self._status: RunStatus | None = None
        self._running: list[Job] = []
        self._failed: list[Job] = []
        self._waiting = ""
        self._rate = Rate()
        self._begun = time.monotonic()

    def update(self, status: RunStatus, running: list[Job], failed: list[Job]) -> None:
        """Takes a new look at the run."""
        with self._lock:
            self._status, self._running, self._failed, self._waiting = status, running, failed, ""
            self._rate.see(status.done)

    def say_waiting(self, why: str) -> None:
        """Says that no server answers, until the next look."""
        with self._lock:
            self._waiting = f"waiting: {why}"

    def __rich__(self) -> RenderableType:
        with self._lock:
            status = self._status
            if status is None:
                return Text(self._waiting or f"run {self._run}")
            parts: list[RenderableType] = [self._head(status), _bar(status), _counts(status), self._notice(status)]
            parts += [Text(), *_jobs(f"running ({status.progress['running']})", self._running, "running", self.rows)]
            parts += [Text(), *_jobs(f"failed ({status.progress['failed']})", self._failed, "failed", self.rows)]
            parts += [Text(), _line("Ctrl-C leaves; the run goes on", "dim")]
        return Group(*parts)

    def _head(self, status: RunStatus) -> RenderableType:
        name = safe(status.answer.get("name", ""))
        elapsed = _elapsed(status) if status.started_at else time.monotonic() - self._begun
        return _line(f"{status.state:<14} {self._run}  {name}  {duration(elapsed)}", "bold")

    def _notice(self, status: RunStatus) -> RenderableType:
        if self._waiting:
            return _line(self._waiting, "yellow")
        if held := held_back(status):
            return _line(held, "yellow")
        return _line(self._rate.describe(status.progress["total"] - status.done))


def _line(text: str, style: str = "") -> Text:
    """Text of one line, cut at the edge of the screen."""
    return Text(safe(text), style=style, no_wrap=True, overflow="ellipsis")


def _elapsed(status: RunStatus) -> float:
    begun = _moment(status.started_at)
    ended = _moment(status.finished_at) if status.finished_at else datetime.now(timezone.utc)
    return (ended - begun).total_seconds() if begun and ended else 0.0


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        return None


def _bar(status: RunStatus) -> RenderableType:
    total = status.progress["total"]
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(justify="right")
    grid.add_row(ProgressBar(total=max(total, 1), completed=status.done), f"{status.done}/{total}")
    return grid


def _counts(status: RunStatus) -> RenderableType:
    parts = [(f"{status.progress.get(name, 0)} {name}", STYLES.get(name, "")) for name in COUNTS]
    shown = [part for part in parts if part[0][0] != "0" or part[0].split()[1] in COUNTS[:4]]
    text = Text(no_wrap=True, overflow="ellipsis")
    for place, (words, style) in enumerate(shown):
        text.append("   " if place else "").append(words, style)
    return text


def _jobs(title: str, jobs: list[Job], kind: str, rows: int) -> list[RenderableType]:
    """A title and exactly `rows` lines, so that nothing below moves."""
    lines: list[RenderableType] = [_line(title, STYLES[kind])]
    for job in jobs[:rows]:
        student = job.get("student")
        who = student_name(student["env"]) or f"student {student['index']}" if student else job["kind"]
        owner = f"{job['owner']}'s fault" if "owner" in job else f"attempt {job.get('attempts', '')}"
        lines.append(_line(f"  {job['job_id']}  {who:<24.24}  {owner}"))
    return lines + [Text()] * (rows - len(jobs[:rows]))
