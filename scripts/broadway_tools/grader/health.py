"""Whether this machine can run jobs. After a fault no slot takes a job until a probe succeeds."""

import logging
import threading
import time

from broadway_tools.grader.faults import IMAGE_KINDS, Fault, check_disk

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1, 30
# A registry that can't be reached stops the grader for this time; then it takes jobs again, as other images are here.
REGISTRY_PAUSE_S = 60
# A fault within this time after a recovery was not found by the probe: the pauses grow.
RELAPSE_S = 60

log = logging.getLogger("grader")


class Health:
    """`probe(fault)` raises Fault while the machine is not healthy; `clean()` is called after each recovery. Any
    thread may call."""

    def __init__(self, probe, metrics, clean=lambda: None, pauses_s=(FIRST_PAUSE_S, LONGEST_PAUSE_S)):
        self._probe = probe
        self._clean = clean
        self._metrics = metrics
        self._pauses_s = pauses_s
        self._changed = threading.Condition()  # guards the fields of this paragraph
        self._fault = None
        self._listeners = []
        self._healthy_since = -RELAPSE_S
        self._relapse_s = 0
        metrics.set("broadway_grader_healthy", 1)

    @property
    def reason(self):
        """The reason of the fault; None if the machine is healthy."""
        with self._changed:
            return self._fault and f"{self._fault.kind}: {self._fault}"

    def on_change(self, listener):
        """`listener()` is called when `reason` has changed: a fault stops the grader, it is another one, or it is
        over."""
        self._listeners.append(listener)

    def _notify(self):
        for listener in self._listeners:
            listener()

    def report(self, fault):
        """Counts a fault. If it stops the grader, `wait_until_healthy` blocks from now on, until a probe succeeds."""
        self._metrics.add("broadway_grader_faults_total", kind=fault.kind)
        if not fault.stops_the_grader:
            return
        with self._changed:
            is_first = self._fault is None
            if is_first:
                self._fault = fault
        if not is_first:
            return
        self._metrics.set("broadway_grader_healthy", 0)
        log.error("no more jobs are taken until this machine has recovered: %s: %s", fault.kind, fault)
        self._notify()
        threading.Thread(target=self._recover, args=(self._first_pause(),), daemon=True).start()

    def check(self, function, *arguments):
        """Calls a function and reports its Fault. True if the machine is healthy."""
        try:
            function(*arguments)
        except Fault as fault:
            self.report(fault)
        with self._changed:
            return self._fault is None

    def wait_until_healthy(self, is_over):
        """Blocks while the machine is not healthy and is_over() is false. True if the machine is healthy."""
        with self._changed:
            while self._fault is not None and not is_over():
                self._changed.wait(0.2)
            return self._fault is None

    def _first_pause(self):
        """The pause before the first probe: none, unless the last recovery did not last."""
        shortest_s, longest_s = self._pauses_s
        is_relapse = time.monotonic() < self._healthy_since + RELAPSE_S
        self._relapse_s = min(2 * self._relapse_s or shortest_s, longest_s) if is_relapse else 0
        return self._relapse_s

    def _recover(self, pause_s):
        began = time.monotonic()
        shortest_s, longest_s = self._pauses_s
        time.sleep(pause_s)
        pause_s = pause_s or shortest_s
        while not self._has_recovered(began):
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
        with self._changed:
            self._healthy_since = time.monotonic()
            self._fault = None
            self._changed.notify_all()
        self._metrics.set("broadway_grader_healthy", 1)
        self._notify()
        log.info("jobs are taken again, after %.1f s", time.monotonic() - began)
        self._clean()

    def _has_recovered(self, began):
        with self._changed:
            fault = self._fault
        try:
            self._probe(fault)
            return True
        except Fault as found:
            if (found.kind, str(found)) != (fault.kind, str(fault)):
                log.error("still no jobs are taken: %s: %s", found.kind, found)
                found.stage = found.stage or fault.stage
                with self._changed:
                    self._fault = found
                self._notify()
            return found.kind in IMAGE_KINDS and time.monotonic() > began + REGISTRY_PAUSE_S
        except Exception:
            log.exception("the probe failed")
            return False


class Probe:
    """Finds out whether jobs can run: the directory and its disk, the engine, and a stage that could not run.

    `containers` has ping() and try_stage(stage), which raise Fault; None if there are no containers."""

    def __init__(self, work_dir, min_free_bytes, containers=None):
        self._work_dir = work_dir
        self._min_free_bytes = min_free_bytes
        self._containers = containers

    def __call__(self, fault=None):
        """Raises Fault unless jobs can run."""
        try:
            self._work_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            pass  # check_disk reports the error
        check_disk(self._work_dir, self._min_free_bytes)
        if self._containers is None:
            return
        self._containers.ping()
        if fault is not None and fault.stage is not None:
            self._containers.try_stage(fault.stage)
