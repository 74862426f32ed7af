"""Observes leadership: how long two schedulers lead at once, how long none leads, how often the leader changes."""

import threading
import time

from broadway_faults.caller import fetch

LOOK_S = 0.03
LEADS = "\nbroadway_scheduler_is_leader 1\n"


class LeaderWatch:
    """Reads every scheduler's metrics until stopped. A scheduler that does not answer is not counted."""

    def __init__(self, scene):
        self.members = scene.cluster.schedulers
        self.overlap_s = self.longest_overlap_s = 0.0
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="leader watch", daemon=True)
        self.thread.start()

    def stop(self):
        """Returns the longest uninterrupted time in which two schedulers reported to lead."""
        self.is_stopping.set()
        self.thread.join(10)
        return self.longest_overlap_s

    def _leads(self, member):
        if not member.is_alive() or member.is_stopped():
            return False
        return LEADS in fetch(member.url, "GET", "/metrics", timeout_s=0.5).text

    def _run(self):
        since = None
        while not self.is_stopping.wait(LOOK_S):
            begun = time.monotonic()
            two = sum(self._leads(member) for member in self.members) > 1
            if not two:
                since = None
                continue
            since = since or begun
            self.longest_overlap_s = max(self.longest_overlap_s, time.monotonic() - since)
