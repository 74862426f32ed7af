"""Shows the progress of a run: a bar on a terminal, a line for every change elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Iterable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from broadway.models import RunStatus

COUNTS = ("queued", "running", "succeeded", "failed", "cancelled", "superseded")
# The rate is that of the last minute, and known once it was watched for so long.
RATE_WINDOW_S, RATE_LEAST_S = 60.0, 5.0


class Rate:
    """How fast a run's jobs end. Times are seconds of `clock`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, done: int) -> None:
        """Notes that so many jobs have ended by now."""
        now = self._clock()
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] <= now - RATE_WINDOW_S:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """Jobs a second; None while that is unknown or nothing ends."""
        if not self._seen:
            return None
        (begun, before), (_, done) = self._seen[0], self._seen[-1]
        seconds = self._clock() - begun
        return (done - before) / seconds if seconds >= RATE_LEAST_S and done > before else None

    def describe(self, left: int) -> str:
        """The rate, and the time that so many jobs take at this rate; empty while that is unknown."""
        rate = self.per_second
        if rate is None:
            return ""
        shown = f"{rate:.0f}/s" if rate >= 10 else f"{60 * rate:.0f}/min" if rate >= 1 / 60 else "less than 1/min"
        return f"{shown}, about {duration(left / rate)} left" if left else shown


def duration(seconds: float) -> str:
    """A time span for people, in its two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def show_progress(statuses: Iterable[RunStatus], console: Console) -> RunStatus:
    """Shows every status of an iterable as it arrives. Returns the last one."""
    return _show_bar(statuses, console) if console.is_terminal else _show_lines(statuses, console)


def describe(status: RunStatus) -> str:
    """One line: the state, and the counts that aren't 0."""
    progress = status.progress
    counts = ", ".join(f"{progress[name]} {name}" for name in COUNTS if progress.get(name))  # type: ignore[literal-required]
    line = f"{status.state}: {status.done}/{progress['total']} done" + (f" ({counts})" if counts else "")
    return line + (f"; {held_back(status)}" if held_back(status) else "")


def held_back(status: RunStatus) -> str:
    """Why the run does not go on: a pause, or that no grader is there; else empty."""
    if status.paused is not None:
        note = f": {status.paused['note']}" if status.paused["note"] else ""
        return f"paused ({status.paused['kind']}, by {status.paused['by']}){note}"
    return f"waiting: {status.waiting_for}" if status.waiting_for else ""


def _show_bar(statuses: Iterable[RunStatus], console: Console) -> RunStatus:
    columns = (
        TextColumn("{task.description:<14}"),
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[rate]}"),
    )
    rate = Rate()
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None, failed=0, rate="")
        for status in statuses:
            total = status.progress["total"]
            rate.see(status.done)
            bar.update(
                task,
                description=status.state,
                total=max(total, 1),
                completed=status.done if total else 1,
                failed=status.progress["failed"],
                rate=(held_back(status) or rate.describe(total - status.done))[:22],  # 80 columns hold it all
            )
    return status


def _show_lines(statuses: Iterable[RunStatus], console: Console) -> RunStatus:
    shown, rate = None, Rate()
    for status in statuses:
        rate.see(status.done)
        line = describe(status)
        if line != shown:
            pace = "" if status.is_over else rate.describe(status.progress["total"] - status.done)
            console.print(line + (f", {pace}" if pace else ""), highlight=False, soft_wrap=True, markup=False)
            shown = line
    return status
