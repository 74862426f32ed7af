"""The grader over websockets: one thread and one socket per slot, each registered as a separate worker. The library
answers the server's pings, also while a job runs: these pongs are the heartbeats."""

import itertools
import json
import logging
import queue
import threading
import time

from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, WebSocketException
from websockets.sync.client import connect

from broadway_tools.grader.course import CourseServer, bearer, course_result, plain_handout, worker_id
from broadway_tools.grader.faults import Fault, check_disk
from broadway_tools.grader.job import Job
from broadway_tools.grader.json_stream import json_pieces
from broadway_tools.grader.limits import INFRASTRUCTURE, fit, job_return, read_limits
from broadway_tools.grader.live_log import LiveLog, LiveSender
from broadway_tools.grader.registration import fault_sentence, known
from broadway_tools.grader.worker import run_job

ANSWER_S, LOOK_S, PING_S = 30, 0.5, 5
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10
# After the socket was closed to end an attempt, so that another grader gets the job.
RETURNED_S = 5

log = logging.getLogger("grader")


class SocketWorker:
    """The same as worker.Worker for `--protocol course-ws`: call `start` once, then `wait`; any thread may `stop` and
    `kill`."""

    def __init__(self, settings):
        self._settings = settings
        self._stopping = threading.Event()
        self._killed = threading.Event()
        self._lock = threading.Lock()  # guards the fields of this paragraph
        self._jobs = set()
        self._jobs_left = settings.max_jobs
        self._links = 0  # registered sockets
        self._takes_faults = True  # whether the API does, as far as is known
        self._last_job = time.monotonic()
        self._live_sender = LiveSender()
        self._slots = [
            threading.Thread(target=self._serve, args=(slot,), daemon=True) for slot in range(settings.concurrency)
        ]

    def state(self):
        """None if jobs are taken, else the reason why not."""
        if self._stopping.is_set():
            return "draining"
        return self._settings.health.reason or (None if self._links else "not registered")

    def idle_s(self):
        """Seconds since the last job; 0 while one runs."""
        with self._lock:
            return 0 if self._jobs else time.monotonic() - self._last_job

    def running(self):
        """The number of jobs that run."""
        with self._lock:
            return len(self._jobs)

    def start(self):
        for slot in self._slots:
            slot.start()

    def wait(self):
        """Returns None when the last job is done."""
        for slot in self._slots:
            slot.join()

    def stop(self):
        """Takes no new job; running jobs are completed."""
        self._stopping.set()
        self._settings.metrics.set("broadway_grader_draining", 1)

    def kill(self):
        """Kills the running jobs; their results are not reported."""
        self._killed.set()
        self.stop()
        with self._lock:
            jobs = list(self._jobs)
        for job in jobs:
            job.kill()

    def _serve(self, slot):
        """Keeps one socket open, at one replica or another. The worker keeps its id, so a result that could not be sent
        can be sent after a reconnect."""
        own_id = worker_id(self._settings.hostname)
        pause_s, results, tries = FIRST_PAUSE_S, [], slot
        while not self._stopping.is_set():
            url = self._settings.urls[tries % len(self._settings.urls)]
            tries += 1
            self._check_disk()
            if not self._takes_faults and not self._is_healthy():
                continue
            try:
                link, fault = self._connect(url, own_id)
                with link:
                    pause_s = FIRST_PAUSE_S
                    self._count_link(1)
                    try:
                        inbox = _Inbox(link, self._cancel, fault)
                        has_abandoned = self._work(link, inbox, results, own_id)
                    finally:
                        self._count_link(-1)
                if has_abandoned:
                    self._stopping.wait(RETURNED_S)
            except (OSError, WebSocketException, ValueError) as error:
                log.warning("%s: %s", url, error)
                self._stopping.wait(pause_s)
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)

    def _connect(self, url, own_id):
        address = f"ws{url.removeprefix('http')}/api/v1/worker_ws/{own_id}"
        headers = bearer(self._settings.token)
        link = connect(address, additional_headers=headers, proxy=None, ping_interval=PING_S, max_size=None)
        try:
            self._takes_faults = read_limits(link.response.headers).takes_faults
            fault = fault_sentence(self._settings.health.reason)
            if fault and not self._takes_faults:
                raise ValueError("not registering, since this machine can't run jobs and the API can't be told")
            stated = {
                "hostname": self._settings.hostname,
                **known(self._settings.optional or {}, link.response.headers),
                **({"fault": fault} if fault else {}),
            }
            link.send(json.dumps({"type": "register", "args": stated}))
            if json.loads(link.recv(ANSWER_S)).get("success") is not True:
                raise ValueError(f"the id {own_id} was refused")
        except BaseException:
            link.close()
            raise
        log.info("registered as %s", own_id)
        return link, fault

    def _check_disk(self):
        settings = self._settings
        settings.health.check(check_disk, settings.work_dir, settings.min_free_bytes)

    def _is_healthy(self):
        """Waits until the machine can run jobs; false after a stop."""
        return self._settings.health.wait_until_healthy(self._stopping.is_set)

    def _count_link(self, change):
        with self._lock:
            self._links += change

    def _work(self, link, inbox, results, own_id):
        """Takes one job after another until a stop, the end of the socket, or a fault of the machine that the API
        can't be told. True if the socket must close to end an attempt."""
        while results:
            self._send(link, results)
        limits = read_limits(link.response.headers)
        while not self._stopping.is_set() and self._reserve():
            handout = self._next(inbox)
            if handout is None:
                self._unreserve()
                return False
            try:
                results.append(self._run(plain_handout(handout), limits, inbox, own_id, link))
            except Fault as fault:
                self._unreserve()
                self._settings.health.report(fault)
                if self._takes_faults:  # before the API could send the next job
                    inbox.say_fault(fault_sentence(self._settings.health.reason))
                self._return_job(handout["grading_job_id"], fault, limits, results)
                if not results:
                    return True
            while results and not self._killed.is_set():
                self._send(link, results)
        self._stopping.set()
        return False

    def _return_job(self, job_id, fault, limits, results):
        """Reports the fault if the API accepts that outcome; else the caller must close the socket."""
        log.error("job %s can't be run here: %s: %s", job_id, fault.kind, fault)
        self._settings.metrics.add("broadway_grader_jobs_total", outcome="infrastructure")
        if limits.takes_returns:
            results.append(course_result(job_id, job_return(fault)))

    def _next(self, inbox):
        """A hand-out; None after a stop, or a fault of the machine that the API can't be told. A job that was sent
        before the API knew of a fault is tried."""
        while not self._stopping.is_set() and (self._takes_faults or not self._settings.health.reason):
            if self._takes_faults:
                inbox.say_fault(fault_sentence(self._settings.health.reason))
            handout = inbox.take(LOOK_S)
            if handout is not None:
                return handout
        return None

    def _cancel(self, job_id):
        """Ends the job, if it runs. Called by the threads of the inboxes."""
        with self._lock:
            jobs = [job for job in self._jobs if job.id == job_id]
        for job in jobs:
            log.info("job %s was cancelled", job.id)
            job.cancel()

    def _send(self, link, results):
        try:
            send_json(link, {"type": "job_result", "args": results[0]})
        except ConnectionClosed:
            log.warning("job %s: its result waits for a new socket", results[0]["grading_job_id"])
            raise
        results.pop(0)

    def _run(self, handout, limits, inbox, own_id, link):
        """The message that reports a job."""
        runner = self._settings.make_runner(f"{handout['job_id']}-1")
        files = self._open_files(handout["job_id"], limits, own_id)
        live = self._open_live_log(handout["job_id"], limits, link)
        job = Job(handout, runner, self._settings, files, live)
        started = time.monotonic()
        log.info("job %s started", job.id)
        with self._lock:
            self._jobs.add(job)
        if inbox.cancelled == job.id:  # it came before
            job.cancel()
        self._settings.metrics.add("broadway_grader_running_jobs")
        try:
            reply = fit(run_job(job), limits)
        finally:
            self._settings.metrics.add("broadway_grader_running_jobs", -1)
            with self._lock:
                self._jobs.discard(job)
                self._last_job = time.monotonic()
        outcome = "cancelled" if job.is_cancelled else "succeeded" if reply["success"] else "failed"
        self._settings.metrics.add("broadway_grader_jobs_total", outcome=outcome)
        if job.is_cancelled:  # the server refuses this, and sends the next job
            log.info("job %s ended, since it was cancelled, %.2f s", job.id, time.monotonic() - started)
            return course_result(job.id, {"outcome": INFRASTRUCTURE, "reason": "it was cancelled"})
        log.info("job %s done, success=%s, %.2f s", job.id, reply["success"], time.monotonic() - started)
        return course_result(job.id, reply)

    def _open_live_log(self, job_id, limits, link):
        """The LiveLog of a job, over the same socket; None if the API takes none."""
        if not self._settings.has_live_logs or not limits.takes_chunks:
            return None

        def send(stream, offset, chunk):
            args = {"grading_job_id": job_id, "stream": stream, "offset": offset, "text": chunk.decode()}
            link.send(json.dumps({"type": "job_log", "args": args}, ensure_ascii=False))

        return LiveLog(self._live_sender, job_id, lambda: send)

    def _open_files(self, job_id, limits, own_id):
        """The job's files, over HTTP; None if the API has none."""
        settings = self._settings
        if settings.make_files is None or not limits.has_files:
            return None
        return settings.make_files(CourseServer(settings.urls, settings.token), own_id, job_id, self._killed.wait)

    def _reserve(self):
        """Whether another job may be taken."""
        with self._lock:
            if self._jobs_left is None:
                return True
            self._jobs_left -= 1
            return self._jobs_left >= 0

    def _unreserve(self):
        with self._lock:
            if self._jobs_left is not None:
                self._jobs_left += 1


class _Inbox:
    """What a socket receives, also while its job runs: a thread reads it until the socket is closed. `fault` was said
    at the registration."""

    def __init__(self, link, cancel, fault):
        self._link = link
        self._said_fault = fault
        self._cancel = cancel
        self.cancelled = None  # the id of the last job that was cancelled
        self._handouts = queue.SimpleQueue()  # and at last the exception that ended the socket
        threading.Thread(target=self._read, daemon=True).start()

    def say_fault(self, fault):
        """Says why this machine can't run jobs ("": it can again), if that has changed."""
        if fault != self._said_fault:
            self._link.send(json.dumps({"type": "fault", "args": {"fault": fault}}))
            self._said_fault = fault

    def take(self, seconds):
        """The next hand-out; None if none comes in this time. Raises ConnectionClosed, ValueError."""
        try:
            handout = self._handouts.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(handout, Exception):
            raise handout
        return handout

    def _read(self):
        try:
            for text in self._link:
                self._take(json.loads(text))
            raise ConnectionClosedOK(None, None)
        except Exception as error:
            self._handouts.put(error)

    def _take(self, message):
        if message.get("type") == "cancel":
            self.cancelled = message["args"]["grading_job_id"]
            self._cancel(self.cancelled)
        elif message.get("type") == "log_refused":
            log.info("job %s: a chunk of its log was refused: %s", *message["args"].values())
        else:
            self._handouts.put(message)


def send_json(link, value):
    """Sends one message; a long one in frames, so that the library copies one frame at a time."""
    pieces = json_pieces(value)
    first = next(pieces)
    second = next(pieces, None)
    link.send(first if second is None else itertools.chain((first, second), pieces))
