"""The grader over HTTP: one thread per slot takes jobs, another sends heartbeats; all of them are one worker."""

import logging
import threading
import time
from dataclasses import dataclass
from functools import cache, partial

from broadway_tools.grader.faults import Fault, check_disk
from broadway_tools.grader.job import Job
from broadway_tools.grader.limits import Limits, fit, job_return, shortened
from broadway_tools.grader.live_log import LiveLog, LiveSender
from broadway_tools.grader.registration import fault_sentence
from broadway_tools.grader.server_errors import Interrupted, Refused, Stopped, Unavailable

# After an empty answer that came sooner, the next poll waits.
SHORTEST_POLL_S = 0.5
# After a stop, the time to receive a job that the server had already sent.
LAST_ANSWER_S = 0.2
# A worker is dead for the API after this number of heartbeat intervals and a second without a request.
DEAD_INTERVALS = 2.5

log = logging.getLogger("grader")


@dataclass
class Settings:
    """The settings of the command line."""

    urls: list
    token: str
    hostname: str
    concurrency: int
    work_dir: object
    poll_wait_s: float
    max_log_bytes: int
    stage_timeout_s: float
    max_jobs: int
    stop_grace_s: float
    make_runner: object
    make_line: object  # a Server for one thread
    min_free_bytes: int
    health: object
    metrics: object
    optional: dict = None  # arguments of the registration that an older API may not know
    make_files: object = None  # a JobFiles of (line, worker id, job id, wait); None: no files
    has_default_results: bool = True  # whether scores are looked for where no stage names a file
    has_live_logs: bool = False  # whether logs are sent while jobs run
    cpusets: object = None  # CpuSets, if slots have processors of their own


class Worker:
    """Call `start` once, then `wait` until it has ended by itself or after `stop`. Any thread may `stop` and `kill`."""

    def __init__(self, settings):
        self._settings = settings
        self._registering = threading.Lock()  # held while one slot registers for all
        self._lock = threading.Lock()  # guards the fields of this paragraph
        self._registration = None  # (worker id, heartbeat interval in seconds)
        self._limits = Limits()  # the limits of the API
        self._said_fault = ""  # the last that the API was told; "": no fault
        self._jobs = {}
        self._jobs_left = settings.max_jobs
        self._has_abandoned = False  # the worker id holds a job that no slot runs
        self._register_at = 0  # not before, by the monotonic clock
        self._last_job = time.monotonic()

        self._stopping = threading.Event()  # takes no new jobs
        self._all_done = threading.Event()  # all slots have ended
        self._beat_now = threading.Event()
        self._failure = None
        self._poll_lines = [settings.make_line() for _ in range(settings.concurrency)]
        self._slots = [
            threading.Thread(target=self._guard, args=(self._serve, line), daemon=True) for line in self._poll_lines
        ]
        self._heart = threading.Thread(target=self._guard, args=(self._keep_alive,), daemon=True)
        self._live_sender = LiveSender()
        self._live_line = cache(settings.make_line)  # of the sender's thread
        settings.health.on_change(self._health_changed)

    def state(self):
        """None if jobs are taken, else the reason why not."""
        if self._stopping.is_set():
            return "draining"
        with self._lock:
            is_registered = self._registration is not None and not self._has_abandoned
        return self._settings.health.reason or (None if is_registered else "not registered")

    def idle_s(self):
        """Seconds since the last job; 0 while one runs."""
        with self._lock:
            return 0 if self._jobs else time.monotonic() - self._last_job

    def running(self):
        """The number of jobs that run."""
        with self._lock:
            return len(self._jobs)

    def start(self):
        """Registers as soon as a server answers, then takes jobs."""
        for thread in [*self._slots, self._heart]:
            thread.start()

    def wait(self):
        """Returns when the last job is done: None, or a sentence with the reason why this worker could not continue."""
        for thread in self._slots:
            thread.join()
        self._all_done.set()
        self._beat_now.set()
        self._heart.join(timeout=1)
        return self._failure

    def stop(self):
        """Takes no new job, and ends polls. Running jobs are completed, and heartbeats continue until then."""
        self._stopping.set()
        self._settings.metrics.set("broadway_grader_draining", 1)
        for line in self._poll_lines:
            line.stop()
        time.sleep(LAST_ANSWER_S)
        for line in self._poll_lines:
            line.cut()

    def kill(self):
        """Kills the running jobs; their results are not reported."""
        self.stop()
        self._all_done.set()
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.kill()

    def _guard(self, function, *arguments):
        """If one thread fails, the whole worker ends."""
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
        """Takes one job after another. Results have a separate connection, which a stop must not cut."""
        result_line = self._settings.make_line()
        while not self._stopping.is_set() and self._reserve():
            job, worker_id = self._take(poll_line, result_line)
            if job is None or not self._work(job, worker_id, result_line):
                self._unreserve()

    def _take(self, line, result_line):
        """(a job, the worker id that holds it), or (None, None) if there is none at the moment."""
        settings = self._settings
        settings.health.check(check_disk, settings.work_dir, settings.min_free_bytes)
        if not self._may_poll():
            return None, None
        worker_id = self._identity(line)  # which says what is wrong with this machine, if anything is
        if not settings.health.wait_until_healthy(lambda: self._must_probe(worker_id)):
            return None, None
        return self._accept(self._poll(line, worker_id), worker_id, result_line), worker_id

    def _may_poll(self):
        """False, after a moment, while the worker id holds an abandoned job, or must not register yet."""
        with self._lock:
            may = not self._has_abandoned and time.monotonic() >= self._register_at
        if not may:
            self._stopping.wait(SHORTEST_POLL_S)
        return may

    def _must_probe(self, worker_id):
        """Whether to wait no longer for the machine: a stop, or the worker id is no longer this one's."""
        with self._lock:
            is_kept = self._registration is not None and self._registration[0] == worker_id
            return self._stopping.is_set() or self._has_abandoned or not is_kept

    def _health_changed(self):
        if self._settings.health.reason:
            self._interrupt_polls()
        self._beat_now.set()

    def _interrupt_polls(self):
        for line in self._poll_lines:
            line.interrupt()

    def _poll(self, line, worker_id):
        started = time.monotonic()
        try:
            handout = line.poll(worker_id, self._settings.poll_wait_s)
        except Interrupted:
            return None
        except Unavailable as error:
            self._pause(error)
            return None
        except Refused as error:
            self._forget(worker_id, error)
            return None
        if handout is None:
            self._stopping.wait(max(0, started + SHORTEST_POLL_S - time.monotonic()))
        return handout

    def _open_files(self, job_id, worker_id, line):
        return self._settings.make_files(line, worker_id, job_id, self._all_done.wait)

    def _open_live_log(self, job_id, worker_id):
        """The LiveLog of a job, over one connection for all; None if the API takes none."""
        if not self._settings.has_live_logs or not self._limits.takes_chunks:
            return None
        return LiveLog(self._live_sender, job_id, lambda: partial(self._live_line().send_log, job_id, worker_id))

    def _accept(self, handout, worker_id, line):
        """The job of a hand-out; None if it already runs, because it was delivered again after a lost answer."""
        if handout is None:
            return None
        job_id = handout["job_id"]
        runner = self._settings.make_runner(f"{job_id}-{handout.get('attempt', 1)}")
        files = self._settings.make_files and self._limits.has_files and self._open_files(job_id, worker_id, line)
        job = Job(handout, runner, self._settings, files or None, self._open_live_log(job_id, worker_id))
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
        """Runs a job and reports its result. False if this machine can't run it."""
        log.info("job %s started", job.id)
        metrics, started, outcome = self._settings.metrics, time.monotonic(), "none"
        metrics.add("broadway_grader_running_jobs")
        try:
            reply = fit(run_job(job), self._limits)
            outcome = "cancelled" if job.is_cancelled else "succeeded" if reply["success"] else "failed"
            if job.is_cancelled:
                log.info("job %s ended, since it was cancelled, %.2f s", job.id, time.monotonic() - started)
            elif not self._all_done.is_set():
                self._report(job, {"worker_id": worker_id, **reply}, line)
                seconds = time.monotonic() - started
                log.info("job %s done, success=%s, %.2f s", job.id, str(reply["success"]).lower(), seconds)
        except Fault as fault:
            outcome = "infrastructure"
            self._return_job(job, fault, worker_id, line)
        finally:
            metrics.add("broadway_grader_jobs_total", outcome=outcome)
            metrics.add("broadway_grader_running_jobs", -1)
            self._end(job)
        return outcome != "infrastructure"

    def _end(self, job):
        with self._lock:
            del self._jobs[job.id]
            self._last_job = time.monotonic()
            if not self._has_abandoned or self._jobs or self._registration is None:
                return
            # The API hands the jobs of a dead worker to others; this grader registers anew after that.
            silence_s = DEAD_INTERVALS * self._registration[1] + 1
            self._registration, self._has_abandoned = None, False
            self._register_at = time.monotonic() + silence_s
        log.info("sending nothing for %.1f s, so that the job is handed to another grader", silence_s)

    def _return_job(self, job, fault, worker_id, line):
        """Reports the fault if the API accepts that outcome; else lets the attempt end."""
        log.error("job %s can't be run here: %s: %s", job.id, fault.kind, fault)
        self._settings.health.report(fault)
        if self._all_done.is_set():
            return
        if self._limits.takes_returns:
            self._report(job, {"worker_id": worker_id, **job_return(fault)}, line)
            return
        with self._lock:
            self._has_abandoned = True
        self._interrupt_polls()

    def _report(self, job, body, line):
        """Returns when the server has accepted the result, or refused it finally."""
        while not self._all_done.is_set():
            try:
                line.post_result(job.id, body)
                return
            except Unavailable as error:
                log.warning("job %s: its result waits: %s", job.id, error)
                self._all_done.wait(error.pause_s)
            except Refused as error:
                if error.status != 413 or "result" not in body or "shortened" in body["result"]:
                    log.error("job %s: its result was refused: %s", job.id, error)
                    return
                log.warning("job %s: its result is too large (%s); sending it without output", job.id, error)
                body = {**body, "result": shortened(body["result"]), "logs": {"stdout": "", "stderr": ""}}
                body.pop("tests", None)

    def _reserve(self):
        """Whether another job may be taken."""
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
        """The worker id; registers if there is none. Raises Refused if the server refuses the registration, Stopped."""
        settings = self._settings
        with self._registering:
            while self._registration is None:
                fault = fault_sentence(settings.health.reason)
                try:
                    registration = line.register(settings.token, settings.hostname, settings.concurrency, fault)
                except Unavailable as error:
                    self._pause(error)
                    continue
                log.info("registered; heartbeat every %s s", registration[1])
                with self._lock:
                    self._registration = registration
                    self._limits = line.limits
                    self._said_fault = fault
                self._beat_now.set()
            return self._registration[0]

    def _forget(self, worker_id, error):
        """Drops an id that the server no longer knows. Raises `error` if it has another reason."""
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
        fault = fault_sentence(self._settings.health.reason)
        with self._lock:
            jobs = list(self._jobs) if self._limits.tells_cancels else None
            says_fault = self._limits.takes_faults and bool(fault or self._said_fault)
        try:
            self._cancel(line.heartbeat(worker_id, jobs, fault if says_fault else None))
            with self._lock:
                if says_fault and self._registration == (worker_id, heartbeat_s):
                    self._said_fault = fault
        except Unavailable as error:
            log.warning("heartbeat: %s", error)
            return max(error.pause_s, 0.1)
        except Refused as error:
            self._forget(worker_id, error)
        return heartbeat_s

    def _cancel(self, job_ids):
        """Ends those of the jobs that run."""
        with self._lock:
            jobs = [self._jobs[id] for id in job_ids if id in self._jobs and not self._jobs[id].is_cancelled]
        for job in jobs:
            log.info("job %s was cancelled", job.id)
            job.cancel()

    def _pause(self, error):
        log.warning("%s", error)
        self._stopping.wait(error.pause_s)


def run_job(job):
    """The body that reports a job. Raises Fault if this machine can't run it, also for a defect of the grader."""
    try:
        return job.run()
    except Fault:
        raise
    except Exception as error:
        log.exception("job %s could not be run", job.id)
        raise Fault("grader", f"{type(error).__name__}: {error}") from error
