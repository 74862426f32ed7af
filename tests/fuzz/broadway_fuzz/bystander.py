"""A client that sends heartbeats like a grader throughout: the fuzzed requests must not affect it."""

import threading

from broadway_fuzz import seeds
from broadway_fuzz.answers import Malformed, parse_answers
from broadway_fuzz.case import whole
from broadway_fuzz.oracle import Target
from broadway_fuzz.wire import Pace, perform

PAUSE_S = 0.05


class Bystander:
    """Runs in its own thread. `target` may be replaced after a restart."""

    def __init__(self, target: Target, worker: bytes, slowness: float):
        self.target, self.slowness = target, slowness
        heartbeat = seeds.request("POST", seeds.V1 + b"heartbeat", seeds.FORM, body=b"worker_id=" + worker)
        self._case = whole("bystander", "public", heartbeat)
        self._problem: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take_problem(self) -> str | None:
        """The problem since the last call; None if there was none."""
        problem, self._problem = self._problem, None
        return problem

    def close(self) -> None:
        """Ends the thread."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(PAUSE_S):
            target = self.target
            problem = self._beat(target)
            if problem is not None and target is self.target and target.is_alive():
                self._problem = problem

    def _beat(self, target: Target) -> str | None:
        try:
            pace = Pace(5 * self.slowness, 0.3 * self.slowness)
            outcome = perform(self._case, target.address, "127.0.0.1", pace)
            statuses = [answer.status for answer in parse_answers(outcome.received, is_closed=True)[0]]
        except (OSError, Malformed) as error:
            return f"bystander: a heartbeat was not answered: {error}"
        return None if statuses == [200] else f"bystander: a heartbeat was answered with {statuses}"
