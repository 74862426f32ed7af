"""Runs attacks and judges them: a row each."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from broadway_attack.registry import Attack
from broadway_attack.scene import MIB, MemoryWatch, Scene, scene

GRADERS = 50
WORST_S = 1.0  # a heartbeat, a result
LEFT_MIB = 32  # memory afterwards over memory before
BACK_S = 15.0  # how long memory has to come back
WARM_S = 1.0
WAIT_S = 30.0


@dataclass
class Row:
    """What came of one attack. Memory in MiB, times in seconds."""

    name: str
    sends: str
    before: float = 0.0
    peak: float = 0.0
    after: float = 0.0
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
    """One attack on a stack of its own. What goes wrong in it is a fault of its row."""
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
    """Until all graders are at work."""
    deadline = time.monotonic() + WAIT_S
    while (report := where.load.ask("report"))["graders"] < graders or report["result"]["count"] < graders:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the graders don't work before the attack: {report}")
        time.sleep(0.05)
    time.sleep(WARM_S)


def _run_in(where: Scene, attack: Attack, row: Row) -> None:
    """The attack, and what is seen meanwhile and afterwards."""
    where.begin()
    try:
        attack.function(where)
    except Exception as trouble:
        where.claim(False, f"the attack was broken off: {trouble!r}"[:300])
    measured = where.load.ask("report")
    where.let_go()
    row.before = where.before / MIB
    row.after = _memory_that_stays(where.memory, row.before)
    row.peak = max(where.before, where.memory.peak) / MIB
    row.dead = where.dead()
    _judge(where, attack, row, measured)


def _memory_that_stays(memory: MemoryWatch, before: float) -> float:
    """MiB, as soon as it is little enough, or when there was time enough."""
    deadline = time.monotonic() + BACK_S
    while memory.now() / MIB > before + LEFT_MIB and time.monotonic() < deadline:
        time.sleep(0.1)
    return memory.now() / MIB


def _judge(where: Scene, attack: Attack, row: Row, measured: dict) -> None:
    """The limits that hold for every attack."""
    row.beat, row.result = measured["beat"]["worst"], measured["result"]["worst"]
    row.refused = measured["beat"]["refused"] + measured["result"]["refused"]
    claim = where.claim
    claim(not row.dead, f"died: {', '.join(row.dead)}")
    claim(row.beat < WORST_S, f"a heartbeat took {row.beat:.2f} s")
    claim(row.result < WORST_S, f"a result took {row.result:.2f} s")
    claim(row.after - row.before <= LEFT_MIB, f"{row.after - row.before:.0f} MiB of memory are left behind")
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
    """All of them, one after the other; says how it goes."""
    rows = []
    for number, attack in enumerate(attacks, 1):
        say(f"[{number}/{len(attacks)}] {attack.name}: {attack.sends} ...")
        rows.append(run_attack(attack, preset, seed, is_quick))
        row = rows[-1]
        say(f"    {row.verdict}, {row.seconds:.0f} s" + "".join(f"\n      {fault}" for fault in row.faults))
    return rows


HEAD = ("", "what is sent", "MiB before", "peak", "after", "heartbeat", "result", "died", "verdict")
LINE = "{:<5} {:<58} {:>10} {:>6} {:>6} {:>9} {:>8} {:>5}  {}"
LIMITS = (
    f"limits: no process dies; worst heartbeat and worst result under {WORST_S:g} s; memory back to before + "
    f"{LEFT_MIB} MiB within {BACK_S:g} s; no job loses its grader; all runs end"
)


def table(rows: list[Row]) -> Iterator[str]:
    """The lines of the table."""
    yield LINE.format(*HEAD)
    for row in rows:
        memory = [f"{size:.0f}" for size in (row.before, row.peak, row.after)]
        times = [f"{seconds:.2f} s" for seconds in (row.beat, row.result)]
        yield LINE.format(row.name, row.sends[:58], *memory, *times, len(row.dead) or "no", row.verdict)
        yield from (f"        {text}" for text in row.notes)
        yield from (f"      ! {text}" for text in row.faults)
    failed = sum(bool(row.faults) for row in rows)
    yield LIMITS
    yield f"{len(rows) - failed} passed, {failed} failed"
