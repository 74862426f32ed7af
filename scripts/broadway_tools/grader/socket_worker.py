"""The grader at work over websockets: one thread and one socket per slot, each a worker of its own. The library answers
the server's pings, also while a job runs: those are the heartbeats."""

import json
import logging
import threading
import time

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

from broadway_tools.grader.course import bearer, course_result, plain_handout, worker_id
from broadway_tools.grader.job import Job
from broadway_tools.grader.limits import fit, read_limits, to_json
from broadway_tools.grader.worker import run_job

ANSWER_S, LOOK_S, PING_S = 30, 0.5, 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10

log = logging.getLogger("grader")


class SocketWorker:
    """The same as worker.Worker for `--protocol course-ws`: call `start` once, then `wait`; any thread may `stop` and
    `kill`."""

    def __init__(self, settings):
        self._settings = settings
        self._stopping = threading.Event()
        self._killed = threading.Event()
        self._lock = threading.Lock()  # guards what is in this paragraph
        self._jobs = set()
        self._jobs_left = settings.max_jobs
        self._slots = [
            threading.Thread(target=self._serve, args=(slot,), daemon=True) for slot in range(settings.concurrency)
        ]

    def start(self):
        for slot in self._slots:
            slot.start()

    def wait(self):
        """Returns None when the last job is done."""
        for slot in self._slots:
            slot.join()

    def stop(self):
        """No new job; running ones go on to their end."""
        self._stopping.set()

    def kill(self):
        """Ends the running jobs; nothing is reported of them."""
        self._killed.set()
        self.stop()
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.kill()

    def _serve(self, slot):
        """Keeps one socket open, at one replica or the next. It keeps its id: so a result that could not be sent may
        be sent once it is back."""
        own_id = worker_id(self._settings.hostname)
        pause_s, results, tries = FIRST_PAUSE_S, [], slot
        while not self._stopping.is_set():
            url = self._settings.urls[tries % len(self._settings.urls)]
            tries += 1
            try:
                with self._connect(url, own_id) as link:
                    pause_s = FIRST_PAUSE_S
                    self._work(link, results)
            except (OSError, WebSocketException, ValueError) as error:
                log.warning("%s: %s", url, error)
                self._stopping.wait(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _connect(self, url, own_id):
        address = f"ws{url.removeprefix('http')}/api/v1/worker_ws/{own_id}"
        headers = bearer(self._settings.token)
        link = connect(address, additional_headers=headers, proxy=None, ping_interval=PING_S, max_size=None)
        try:
            link.send(json.dumps({"type": "register", "args": {"hostname": self._settings.hostname}}))
            if json.loads(link.recv(ANSWER_S)) != {"success": True}:
                raise ValueError(f"the id {own_id} was refused")
        except BaseException:
            link.close()
            raise
        log.info("registered as %s", own_id)
        return link

    def _work(self, link, results):
        """Takes one job after the other until a stop, or the end of the socket."""
        while results:
            self._send(link, results)
        while not self._stopping.is_set() and self._reserve():
            handout = self._next(link)
            if handout is None:
                return
            results.append(self._run(plain_handout(handout), read_limits(link.response.headers)))
            while results and not self._killed.is_set():
                self._send(link, results)
        self._stopping.set()

    def _next(self, link):
        """A hand-out; None after a stop."""
        while not self._stopping.is_set():
            try:
                return json.loads(link.recv(LOOK_S))
            except TimeoutError:
                continue
        return None

    def _send(self, link, results):
        try:
            link.send(to_json({"type": "job_result", "args": results[0]}).decode())
        except ConnectionClosed:
            log.warning("job %s: its result waits for a new socket", results[0]["grading_job_id"])
            raise
        results.pop(0)

    def _run(self, handout, limits):
        """What to send of a job."""
        job = Job(handout, self._settings.make_runner(f"{handout['job_id']}-1"), self._settings)
        started = time.monotonic()
        log.info("job %s started", job.id)
        with self._lock:
            self._jobs.add(job)
        try:
            reply = fit(run_job(job), limits)
        finally:
            with self._lock:
                self._jobs.discard(job)
        log.info("job %s done, success=%s, %.2f s", job.id, reply["success"], time.monotonic() - started)
        return course_result(job.id, reply)

    def _reserve(self):
        """May another job be taken?"""
        with self._lock:
            if self._jobs_left is None:
                return True
            self._jobs_left -= 1
            return self._jobs_left >= 0
