"""Runs attacks and checks their limits: a row each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from broadway_attack.registry import Attack
from broadway_attack.scene import MIB, MemoryWatch, Scene, scene

GRADERS = 50
WORST_S = 1.0  # a heartbeat, a result
LEFT_MIB = 32  # memory afterwards over memory before
SCHEDULER_MIB = 64  # how much the scheduler may grow during an attack
BACK_S = 15.0  # time for the memory to return to normal
WARM_S = 1.0
WAIT_S = 30.0


@dataclass
class Row:
    """The outcome of one attack. Memory in MiB, times in seconds."""

    name: str
    sends: str
    before: float = 0.0
    peak: float = 0.0
    after: float = 0.0
    scheduler_growth: float = 0.0
    beat: float = 0.0
    result: float = 0.0
    refused: int = 0
    jobs: int = 0
    dead: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def verdict(self) -> str:
        return "FAILED" if self.faults else "ok"

    def to_json(self) -> dict:
        return {**asdict(self), "verdict": self.verdict}


def run_attack(attack: Attack, preset: str, seed: int, is_quick: bool, graders: int = GRADERS) -> Row:
    """Runs one attack on its own stack. An exception in it is a fault of its row."""
    row, begun = Row(attack.name, attack.sends), time.monotonic()
    try:
        with scene(preset, attack.api_flags, graders, seed, is_quick) as where:
            _wait_for_work(where, graders)
            _run_in(where, attack, row)
    except Exception as trouble:
        row.faults.append(f"the harness failed: {trouble!r}"[:600])
    row.seconds = time.monotonic() - begun
    return row


def _wait_for_work(where: Scene, graders: int) -> None:
    """Waits until all graders are at work."""
    deadline = time.monotonic() + WAIT_S
    while (report := where.load.ask("report"))["graders"] < graders or report["result"]["count"] < graders:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the graders don't work before the attack: {report}")
        time.sleep(0.05)
    time.sleep(WARM_S)


def _run_in(where: Scene, attack: Attack, row: Row) -> None:
    """Runs the attack, and measures during it and afterwards."""
    where.begin()
    try:
        attack.function(where)
    except Exception as trouble:
        where.claim(False, f"the attack was aborted: {trouble!r}"[:300])
    measured = where.load.ask("report")
    where.let_go()
    row.before = where.before / MIB
    row.after = _memory_that_stays(where.memory, row.before)
    row.peak = max(where.before, where.memory.peak) / MIB
    scheduler_peak = max(where.scheduler_before, where.scheduler_memory.peak)
    row.scheduler_growth = (scheduler_peak - where.scheduler_before) / MIB
    row.dead = where.dead()
    _check_limits(where, attack, row, measured)


def _memory_that_stays(memory: MemoryWatch, before: float) -> float:
    """The memory in MiB, once it is below the limit or the time is over."""
    deadline = time.monotonic() + BACK_S
    while memory.now() / MIB > before + LEFT_MIB and time.monotonic() < deadline:
        time.sleep(0.1)
    return memory.now() / MIB


def _check_limits(where: Scene, attack: Attack, row: Row, measured: dict) -> None:
    """Checks the limits of every attack."""
    row.beat, row.result = measured["beat"]["worst"], measured["result"]["worst"]
    row.refused = measured["beat"]["refused"] + measured["result"]["refused"]
    claim = where.claim
    claim(not row.dead, f"died: {', '.join(row.dead)}")
    claim(row.beat < WORST_S, f"a heartbeat took {row.beat:.2f} s")
    claim(row.result < WORST_S, f"a result took {row.result:.2f} s")
    claim(row.after - row.before <= LEFT_MIB, f"{row.after - row.before:.0f} MiB of memory remain")
    grown = row.scheduler_growth
    claim(grown <= SCHEDULER_MIB, f"the scheduler grew by {grown:.0f} MiB, {SCHEDULER_MIB} are allowed")
    if attack.growth_mib is not None:
        grown = row.peak - row.before
        claim(grown <= attack.growth_mib, f"memory grew by {grown:.0f} MiB, {attack.growth_mib} are allowed")
    finished = where.load.ask("finish")
    row.jobs = finished["jobs"]
    claim(finished["unfinished"] == 0, f"{finished['unfinished']} of {finished['runs']} runs don't end")
    claim(finished["failed"] == 0, f"{finished['failed']} runs have failed jobs")
    claim(finished["lost"] == 0, f"{finished['lost']} jobs lost their grader")
    if row.refused:
        common = max(measured["refusals"], key=measured["refusals"].get, default="")
        row.notes.append(f"{row.refused} times in vain, mostly: {common[:150]}")
    if measured["lag"] > WORST_S / 4:
        row.notes.append(f"the measuring process itself was {measured['lag']:.2f} s late")
    if where.faults:
        row.notes.append(f"logs: {where.stack.directory}")
    row.faults += where.faults
    row.notes += where.notes


def run_attacks(attacks: list[Attack], preset: str, seed: int, is_quick: bool, say: Callable[[str], None]) -> list[Row]:
    """Runs all attacks in sequence and prints the progress."""
    rows = []
    for number, attack in enumerate(attacks, 1):
        say(f"[{number}/{len(attacks)}] {attack.name}: {attack.sends} ...")
        rows.append(run_attack(attack, preset, seed, is_quick))
        row = rows[-1]
        say(f"    {row.verdict}, {row.seconds:.0f} s" + "".join(f"\n      {fault}" for fault in row.faults))
    return rows


HEAD = ("", "what is sent", "MiB before", "peak", "after", "scheduler", "heartbeat", "result", "died", "verdict")
LINE = "{:<5} {:<58} {:>10} {:>6} {:>6} {:>9} {:>9} {:>8} {:>5}  {}"
LIMITS = (
    f"limits: no process dies; worst heartbeat and worst result under {WORST_S:g} s; memory back to before + "
    f"{LEFT_MIB} MiB within {BACK_S:g} s; the scheduler grows by {SCHEDULER_MIB} MiB at most; "
    "no job loses its grader; all runs end"
)


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table."""
    yield LINE.format(*HEAD)
    for row in rows:
        memory = [f"{size:.0f}" for size in (row.before, row.peak, row.after)]
        times = [f"{seconds:.2f} s" for seconds in (row.beat, row.result)]
        grown = f"+{row.scheduler_growth:.0f}"
        yield LINE.format(row.name, row.sends[:58], *memory, grown, *times, len(row.dead) or "no", row.verdict)
        yield from (f"        {text}" for text in row.notes)
        yield from (f"      ! {text}" for text in row.faults)
    failed = sum(bool(row.faults) for row in rows)
    yield LIMITS
    yield f"{len(rows) - failed} passed, {failed} failed"
