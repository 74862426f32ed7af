"""The grader at work: one thread per slot takes jobs, one more keeps the heartbeat; all of them one worker."""

import logging
import threading
import time
from dataclasses import dataclass

from broadway_tools.grader.job import Job
from broadway_tools.grader.limits import Limits, fit, shortened
from broadway_tools.grader.server import Refused, Stopped, Unavailable

# An empty answer that came sooner is no reason to ask again at once.
SHORTEST_POLL_S = 0.5
# After a stop, for a job that the server had already sent.
LAST_ANSWER_S = 0.2

log = logging.getLogger("grader")


@dataclass
class Settings:
    """What the command line said."""

    urls: list
    token: str
    hostname: str
    concurrency: int
    work_dir: object
    poll_wait_s: float
    max_log_bytes: int
    stage_timeout_s: float
    max_jobs: int
    make_runner: object
    make_line: object  # a Server for one thread


class Worker:
    """Call `start` once, then `wait` until it has ended by itself or after `stop`. Any thread may `stop` and `kill`."""

    def __init__(self, settings):
        self._settings = settings
        self._registering = threading.Lock()  # held while one slot registers for all
        self._lock = threading.Lock()  # guards what is in this paragraph
        self._registration = None  # (worker id, heartbeat interval in seconds)
        self._limits = Limits()  # the API's
        self._jobs = {}
        self._jobs_left = settings.max_jobs

        self._stopping = threading.Event()  # takes no new jobs
        self._all_done = threading.Event()  # no slot is left
        self._beat_now = threading.Event()
        self._failure = None
        self._poll_lines = [settings.make_line() for _ in range(settings.concurrency)]
        self._slots = [
            threading.Thread(target=self._guard, args=(self._serve, line), daemon=True) for line in self._poll_lines
        ]
        self._heart = threading.Thread(target=self._guard, args=(self._keep_alive,), daemon=True)

    def start(self):
        """Registers as soon as a server answers, then takes jobs."""
        for thread in [*self._slots, self._heart]:
            thread.start()

    def wait(self):
        """Returns when the last job is done: None, or the sentence that says why this worker could not go on."""
        for thread in self._slots:
            thread.join()
        self._all_done.set()
        self._beat_now.set()
        self._heart.join(timeout=1)
        return self._failure

    def stop(self):
        """No new job; polls are broken off. Jobs go on to their end, and so does the heartbeat."""
        self._stopping.set()
        for line in self._poll_lines:
            line.stop()
        time.sleep(LAST_ANSWER_S)
        for line in self._poll_lines:
            line.cut()

    def kill(self):
        """Ends the running jobs; nothing is reported of them."""
        self.stop()
        self._all_done.set()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.kill()

    def _guard(self, function, *arguments):
        """A thread that can't go on ends the worker, not only itself."""
        try:
            function(*arguments)
        except Stopped:
            pass
        except Exception as error:
            log.critical("can't go on: %s", error, exc_info=not isinstance(error, Refused))
            self._failure = self._failure or str(error)
            self.stop()

    # Slots

    def _serve(self, poll_line):
        """Takes one job after the other. Results have a line of their own: a stop must not cut them off."""
        result_line = self._settings.make_line()
        while not self._stopping.is_set() and self._reserve():
            worker_id = self._identity(poll_line)
            handout = self._poll(poll_line, worker_id)
            job = self._accept(handout)
            if job is None:
                self._unreserve()
                continue
            self._work(job, worker_id, result_line)

    def _poll(self, line, worker_id):
        started = time.monotonic()
        try:
            handout = line.poll(worker_id, self._settings.poll_wait_s)
        except Unavailable as error:
            self._pause(error)
            return None
        except Refused as error:
            self._forget(worker_id, error)
            return None
        if handout is None:
            self._stopping.wait(max(0, started + SHORTEST_POLL_S - time.monotonic()))
        return handout

    def _accept(self, handout):
        """The job of a hand-out; None if it is at work already: handed out again since an answer was lost."""
        if handout is None:
            return None
        job_id = handout["job_id"]
        runner = self._settings.make_runner(f"{job_id}-{handout.get('attempt', 1)}")
        job = Job(handout, runner, self._settings)
        with self._lock:
            is_running = job_id in self._jobs
            if not is_running:
                self._jobs[job_id] = job
        if is_running:
            log.info("job %s was handed out again while it runs", job_id)
            self._stopping.wait(SHORTEST_POLL_S)
            return None
        self._beat_now.set()
        return job

    def _work(self, job, worker_id, line):
        log.info("job %s started", job.id)
        started = time.monotonic()
        try:
            reply = fit(run_job(job), self._limits)
            if not self._all_done.is_set():
                self._report(job, {"worker_id": worker_id, **reply}, line)
                seconds = time.monotonic() - started
                log.info("job %s done, success=%s, %.2f s", job.id, str(reply["success"]).lower(), seconds)
        finally:
            with self._lock:
                del self._jobs[job.id]

    def _report(self, job, body, line):
        """Returns when the server has taken the result, or will never take it."""
        while not self._all_done.is_set():
            try:
                line.post_result(job.id, body)
                return
            except Unavailable as error:
                log.warning("job %s: its result waits: %s", job.id, error)
                self._all_done.wait(error.pause_s)
            except Refused as error:
                if error.status != 413 or "shortened" in body["result"]:
                    log.error("job %s: its result was refused: %s", job.id, error)
                    return
                log.warning("job %s: its result is too large (%s); sending it without output", job.id, error)
                body = {**body, "result": shortened(body["result"]), "logs": {"stdout": "", "stderr": ""}}

    def _reserve(self):
        """May another job be taken?"""
        with self._lock:
            if self._jobs_left is None:
                return True
            if self._jobs_left == 0:
                return False
            self._jobs_left -= 1
            return True

    def _unreserve(self):
        with self._lock:
            if self._jobs_left is not None:
                self._jobs_left += 1

    # Identity and heartbeat

    def _identity(self, line):
        """The worker id, registering if there is none. Raises Refused if the server won't have us, Stopped."""
        settings = self._settings
        with self._registering:
            while self._registration is None:
                try:
                    registration = line.register(settings.token, settings.hostname, settings.concurrency)
                except Unavailable as error:
                    self._pause(error)
                    continue
                log.info("registered; heartbeat every %s s", registration[1])
                with self._lock:
                    self._registration = registration
                    self._limits = line.limits
                self._beat_now.set()
            return self._registration[0]

    def _forget(self, worker_id, error):
        """The server doesn't know this id any more: another is needed. Raises `error` if it means something else."""
        if error.status != 400:
            raise error
        log.warning("%s; registering anew", error)
        self._stopping.wait(SHORTEST_POLL_S)
        with self._lock:
            if self._registration and self._registration[0] == worker_id:
                self._registration = None

    def _keep_alive(self):
        line = self._settings.make_line()
        while not self._all_done.is_set():
            with self._lock:
                registration = self._registration
            self._beat_now.wait(self._beat(line, *registration) if registration else None)
            self._beat_now.clear()

    def _beat(self, line, worker_id, heartbeat_s):
        """Seconds until the next."""
        try:
            line.heartbeat(worker_id)
        except Unavailable as error:
            log.warning("heartbeat: %s", error)
            return max(error.pause_s, 0.1)
        except Refused as error:
            self._forget(worker_id, error)
        return heartbeat_s

    def _pause(self, error):
        log.warning("%s", error)
        self._stopping.wait(error.pause_s)


def run_job(job):
    """What to post of a job. If this machine failed it, that is its result: else it would wait for its deadline."""
    try:
        return job.run()
    except Exception as error:
        log.exception("job %s could not be run", job.id)
        result = {"success": False, "stages": [], "error": f"the grader could not run it: {error}"}
        return {"success": False, "result": result, "logs": {"stdout": "", "stderr": ""}}
