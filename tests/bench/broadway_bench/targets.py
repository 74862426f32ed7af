"""The targets: ratios of figures of one round, and their limits."""

from collections.abc import Callable
from dataclasses import dataclass

WIDE = "256 graders, runs of 1000"
NARROW = "8 graders, runs of 1000"


@dataclass
class Target:
    """A figure that is computed from others, with its limit `least` or `most`."""

    name: str
    compute: Callable
    least: float = None
    most: float = None

    def is_met(self, value):
        """True if the value meets the target."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def wish(self):
        """The limit as text: "≥ 0.6"."""
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"


def _unit(figures):
    return figures["floor", "one journaled insert, p50 ms"] + figures["floor", "one delivery, p50 ms"]


def _over(above, below):
    return lambda figures: figures[above] / figures[below]


def _at(*keys):
    return lambda figures: figures[keys]


def _cpu_us(part):
    return lambda figures: figures["jobs", f"{WIDE}: {part}, cpu s per 1,000 jobs"] * 1000


def _submit_over_limit(figures):
    limit = min(
        figures["floor", "bare ulfius POST/s"],
        2 * figures["floor", "jobs/s at batches of 64"],
    )
    return figures["submit", "256 clients, runs of 1: accepted/s"] / limit


def _all_held_over_rate(figures):
    rate = figures["jobs", f"{WIDE}: jobs/s"]
    return figures["waiting", "10000 parked: a job for all, s"] / (10000 / rate)


def _parked_kib(figures):
    return sum(figures["waiting", f"10000 parked: {what}, KiB each"] for what in ("replica", "kernel"))


TARGETS = [
    Target(
        "jobs/s with 256 graders, over floor at batches of 64",
        _over(("jobs", f"{WIDE}: jobs/s"), ("floor", "jobs/s at batches of 64")),
        least=0.6,
    ),
    Target("jobs/s with 8 graders", _at("jobs", f"{NARROW}: jobs/s"), least=500),
    Target("scheduler, µs of cpu per job", _cpu_us("scheduler"), most=60),
    Target("API, µs of cpu per job", _cpu_us("api"), most=300),
    Target(
        "hand-out p50, 50 waiting, over insert + delivery",
        lambda figures: figures["handout", "50 waiting: start, p50 ms"] / _unit(figures),
        most=2.0,
    ),
    Target(
        "hand-out p99 over p50, 50 waiting",
        _over(("handout", "50 waiting: start, p99 ms"), ("handout", "50 waiting: start, p50 ms")),
        most=4,
    ),
    Target(
        "hand-out p50, 10,000 waiting over 8",
        _over(("handout", "10000 waiting: start, p50 ms"), ("handout", "8 waiting: start, p50 ms")),
        most=1.5,
    ),
    Target("parked poll, KiB (replica and kernel)", _parked_kib, most=16),
    Target("10,000 idle, replica's % of a core", _at("waiting", "10000 parked: replica idle, % of a core"), most=1),
    Target("10,000 parked: all handed out, over 10,000 / (jobs/s)", _all_held_over_rate, most=1.5),
    Target("submissions/s, 256 clients, over min(bare ulfius, floor's inserts/s at 64)", _submit_over_limit, least=0.5),
    Target(
        "jobs/s at a backlog of 1M over 1k",
        _over(("backlog", "1M queued: jobs/s"), ("backlog", "1k queued: jobs/s")),
        least=0.9,
    ),
    Target("scheduler at 1M queued, MiB", _at("backlog", "1M queued: scheduler, MiB"), most=64),
    Target("scheduler's cold start at 1M queued, s", _at("backlog", "1M queued: cold start, s"), most=3),
    Target("status of 10,000, first, ms", _at("status", "10000 students: after, first, ms"), most=1000),
    Target("status of 10,000, again, ms", _at("status", "10000 students: after, again, ms"), most=150),
]

FAULTS = ("lost", "refused", "twice", "missing")


def fault_count(figures):
    """How often anything was lost, refused, handed out twice or missing."""
    return sum(value for (_, name), value in figures.items() if name.rpartition(": ")[2] in FAULTS)
