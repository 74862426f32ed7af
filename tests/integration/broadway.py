"""A small client of the classic protocol with httpx: the requests of an instructor's script and of a simple grader."""

import itertools
import json
import ssl
import threading
import time

import httpx
from waiting import wait_until

ROUTE = "/api/v1"
TIMEOUT_S = 30
# The tests use plain HTTP. A client that makes its own context reads the list of authorities: 20 ms each time.
TLS = ssl.create_default_context()


class Api:
    """One replica's API for clients."""

    def __init__(self, url, headers=None):
        self.url = url
        self.http = httpx.Client(base_url=url, timeout=TIMEOUT_S, trust_env=False, verify=TLS, headers=headers)

    def close(self):
        self.http.close()

    def request(self, method, path, **request):
        """Sends any request and returns the answer."""
        return self.http.request(method, path, **request)

    def answers(self, status, method, path, **request):
        """True if the replica answers with this status. False also without an answer."""
        try:
            return self.request(method, path, **request).status_code == status
        except httpx.TransportError:
            return False

    def submit(self, definition):
        """Submits a run and returns its id."""
        answer = self.request("POST", f"{ROUTE}/grading_run", json=definition)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def start(self, run):
        """Starts a run."""
        answer = self.request("POST", f"{ROUTE}/grading_run/{run}")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {}

    def cancel(self, run):
        """Cancels a run."""
        answer = self.request("POST", f"{ROUTE}/grading_run/{run}/cancel")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {}

    def submit_and_start(self, definition):
        run = self.submit(definition)
        self.start(run)
        return run

    def status(self, run, **query):
        """The status of a run, parsed."""
        answer = self.request("GET", f"{ROUTE}/grading_run/{run}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def is_over(self, run):
        return self.status(run, students="false")["state"] in (
            "finished",
            "failed",
            "cancelled",
            "superseded",
        )

    def wait_over(self, run, seconds=30):
        """Waits until a run is over; returns its status with results."""
        wait_until(lambda: self.is_over(run), seconds, f"run {run} is over")
        return self.status(run, results="true")


class ClassicGrader:
    """A grader of the classic protocol: registers by query, polls, sends results and heartbeats. No threads."""

    def __init__(self, url, token, **registration):
        self._connect(url)
        self.token = token
        answer = self.http.get(f"{ROUTE}/worker_register", params={"token": token, **registration})
        assert answer.status_code == 200, answer.text
        self.id = answer.json()["worker_id"]
        self.heartbeat = answer.json()["heartbeat"]

    @classmethod
    def known(cls, url, worker_id):
        """A grader that is registered already, by its id."""
        grader = cls.__new__(cls)
        grader._connect(url)
        grader.id = worker_id
        return grader

    def _connect(self, url):
        self.http = httpx.Client(base_url=url, timeout=httpx.Timeout(TIMEOUT_S, read=75), trust_env=False, verify=TLS)

    def at(self, url):
        """The same worker at another replica."""
        return ClassicGrader.known(url, self.id)

    def close(self):
        self.http.close()

    def poll_response(self, **arguments):
        return self.http.get(f"{ROUTE}/grading_job", params={"worker_id": self.id, **arguments})

    def poll(self, wait=0):
        """A job, or None."""
        answer = self.poll_response(wait=wait)
        if answer.status_code == 498:
            assert answer.content == b""
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()

    def take(self, seconds=10):
        """The next job; fails if none comes."""
        return wait_until(lambda: self.poll(wait=1), seconds, f"worker {self.id} gets a job")

    def finish_response(self, job, result, style="json", **more):
        """Sends a result; `job` is a job from poll, or an id."""
        path = f"{ROUTE}/grading_job/{job if isinstance(job, str) else job['job_id']}"
        message = {"worker_id": self.id, "result": result, **more}
        return self.http.post(path, **({"json": message} if style == "json" else {"data": message}))

    def finish(self, job, result="done", style="json", **more):
        """Sends a result, which must be accepted."""
        answer = self.finish_response(job, result, style, **more)
        assert answer.status_code == 200, answer.text
        return answer

    def beat(self, style="form"):
        """Sends a heartbeat, with the worker id as form or as query argument."""
        argument = {"worker_id": self.id}
        if style == "query":
            return self.http.post(f"{ROUTE}/heartbeat", params=argument)
        return self.http.post(f"{ROUTE}/heartbeat", **({"json": argument} if style == "json" else {"data": argument}))


class BackgroundGrader:
    """A grader with two threads: one polls and grades, one sends heartbeats. It changes the replica after a failure,
    and sends a result again until it gets an answer, as a correct grader does. `vanish` is kill -9 as the server sees
    it."""

    def __init__(self, urls, token, grade=None, first=0, wait=5):
        self.urls = itertools.cycle(urls[first:] + urls[:first])
        self.grade = grade or (lambda job: "graded")
        self.wait = wait
        self.taken = []  # every hand-out: (job id, attempt, the job)
        self.accepted = []  # ids of jobs whose result was answered 200
        self.refused = []  # texts of refusals
        self.holding = threading.Event()  # set while it has a job
        self.trouble = None
        self._stop = threading.Event()
        self._gone = threading.Event()
        registrar = ClassicGrader(next(self.urls), token, hostname="background-grader", concurrency=1)
        self.id, self.heartbeat = registrar.id, registrar.heartbeat
        registrar.close()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._work, self._beat)]
        for thread in self._threads:
            thread.start()

    def leave(self):
        """Stops taking jobs."""
        self._stop.set()

    def stop(self):
        """Lets the grader finish its job and stops it. Raises an error of its threads."""
        self.leave()
        for thread in self._threads:
            thread.join(60)
        if self.trouble is not None:
            raise self.trouble

    def vanish(self):
        """Sends nothing from now on."""
        self._gone.set()
        self._stop.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def _work(self):
        try:
            link = ClassicGrader.known(next(self.urls), self.id)
            while not self._stop.is_set():
                link = self._one_round(link)
            link.close()
        except BaseException as trouble:
            self.trouble = trouble
            self._stop.set()

    def _one_round(self, link):
        try:
            answer = link.poll_response(wait=self.wait)
        except httpx.TransportError:
            return self._elsewhere(link)
        if answer.status_code == 498:
            return link
        assert answer.status_code == 200, f"a poll was answered {answer.status_code}: {answer.text}"
        job = answer.json()
        self.taken.append((job["job_id"], job["attempt"], job))
        self.holding.set()
        result = self.grade(job)
        if not self._gone.is_set():
            link = self._deliver(link, job, result)
        self.holding.clear()
        return link

    def _deliver(self, link, job, result):
        deadline = time.monotonic() + 60
        while not self._gone.is_set():
            try:
                answer = link.finish_response(job, result)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                self.accepted.append(job["job_id"])
                return link
            if answer is not None and answer.status_code == 400:
                self.refused.append(answer.text)
                return link
            assert answer is None or answer.status_code == 503, f"a result was answered {answer.status_code}"
            assert time.monotonic() < deadline, "a result could not be delivered within a minute"
            link = self._elsewhere(link)
        return link

    def _elsewhere(self, link):
        link.close()
        self._stop.wait(0.1)
        return ClassicGrader.known(next(self.urls), self.id)

    def _beat(self):
        link = ClassicGrader.known(next(self.urls), self.id)
        while any(thread is not threading.current_thread() and thread.is_alive() for thread in self._threads):
            if self._gone.is_set():
                break
            try:
                link.beat()
            except httpx.TransportError:
                link = self._elsewhere(link)
            # Heartbeats continue until the last result is delivered, also after stop().
            self._gone.wait(self.heartbeat / 2)
        link.close()


def stop_all(graders):
    """Stops all graders together, so that their polls end in parallel."""
    for grader in graders:
        grader.leave()
    for grader in graders:
        grader.stop()


def error_of(answer):
    """The sentence of a refusal, after checking the refusal's form."""
    assert answer.headers["content-type"].startswith("application/json"), answer.headers
    body = json.loads(answer.content)
    assert isinstance(body.get("error"), str) and len(body["error"]) > 5, body
    return body["error"]
