"""`recover`: the leader is killed while 1,000 graders work."""

import itertools
import os
import signal
import time

from broadway_bench.setting import system

GRADERS = 1000
WORK_MS = 1500
STUDENTS = 1000


def recover(wanted):
    """Measures from kill -9 of the leader to the next hand-out; a second scheduler stands by."""
    with system(wanted, schedulers=2) as running:
        generator = running.generator
        generator.ask("work", WORK_MS)
        generator.ask("describe", STUDENTS, 0)
        generator.ask("submit", 20, 4, 0)
        running.generator.ask("graders", GRADERS)
        generator.ask("poll")
        generator.ask("start", 4)
        leader = _leader(running)
        generator.begin("trace", 20)
        time.sleep(4)
        killed = time.monotonic()
        os.kill(leader.pid, signal.SIGKILL)
        held = generator.answer()["held_at"]
        before, after = _around(held, killed)
        return {
            "leader killed, to the next hand-out, s": after - killed,
            "longest time without a hand-out, s": after - before,
            **running.faults(),
        }


def _leader(running):
    for member in running.stack.of_kind("scheduler"):
        if running.http.get(f"{member.url}/readyz").json().get("role") == "leader":
            return member
    raise RuntimeError("nobody leads")


def _around(held, moment):
    """The ends of the longest pause that contains `moment` or begins within a second after it: hand-outs in flight
    still complete."""
    pauses = [(later - earlier, earlier, later) for earlier, later in itertools.pairwise(held)]
    _, before, after = max(pause for pause in pauses if pause[2] > moment and pause[1] < moment + 1)
    return before, after
