"""A hundred graders at one API, in one process: no job is lost or run twice."""

import threading
from collections import Counter

import fake_api
import pytest
from broadway_tools.grader import worker
from broadway_tools.grader.faults import Fault
from broadway_tools.grader.health import Health
from broadway_tools.grader.metrics import Metrics
from broadway_tools.grader.server import Server
from broadway_tools.grader.stage import Outcome
from broadway_tools.grader.worker import Settings, Worker

GRADERS, JOBS, BROKEN, LEAVING = 100, 1000, 5, 20
STAGE = {"image": "any", "entrypoint": ["grade"], "env": []}


class Runner:
    """Runs nothing, but says whose stage it was."""

    DIRECTORY_MODE = 0o700

    def __init__(self, number, runs, name):
        self._number, self._runs, self._name = number, runs, name

    def run(self, stage, directory, stdout, stderr):
        if self._number < BROKEN:
            raise Fault("engine", "does not answer")
        assert directory.is_dir() and stage.entrypoint == ["grade"]
        stdout.write(self._name.encode())
        stderr.write(b"e" * 1000)
        self._runs.append((self._number, self._name))
        return Outcome(exit_code=0)

    def kill(self):
        """Nothing runs for longer than an instant."""


def make_grader(number, url, work_dir, runs):
    metrics = Metrics()
    settings = Settings(
        urls=[url],
        token="secret",
        hostname=f"grader-{number}",
        concurrency=1,
        work_dir=work_dir,
        poll_wait_s=5,
        max_log_bytes=100_000,
        stage_timeout_s=60,
        max_jobs=None,
        stop_grace_s=5,
        make_runner=lambda name: Runner(number, runs, name),
        make_line=lambda: Server([url]),
        min_free_bytes=0,
        health=Health(lambda _: None, metrics),
        metrics=metrics,
    )
    return Worker(settings)


@pytest.fixture
def graders(api, tmp_path, monkeypatch):
    """(the graders, (number, name) of each stage that ran). They are stopped at the end."""
    # The fake hands a job out once, even if its answer is late on a busy machine.
    monkeypatch.setattr(worker, "LAST_ANSWER_S", 2)
    runs = []
    graders = [make_grader(number, api.url, tmp_path, runs) for number in range(GRADERS)]
    yield graders, runs
    stop(graders)


@pytest.fixture
def api(monkeypatch):
    """A fake API to which many graders can connect at once, and to which jobs can be returned."""
    monkeypatch.setattr(fake_api._Server, "request_queue_size", 2 * GRADERS)
    with fake_api.FakeApi(heartbeat=5) as api:
        api.limits = {"Broadway-Outcomes": "infrastructure"}
        yield api


def stop(graders):
    """Drains them all at once, and waits for their end."""
    threads = [threading.Thread(target=lambda grader=grader: (grader.stop(), grader.wait())) for grader in graders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_a_hundred_graders_lose_no_job(api, graders):
    graders, runs = graders
    for grader in graders:
        grader.start()
    api.wait_for(lambda: len(api.registrations) == GRADERS, 60)
    # Troubles: answers to results are lost, results and polls are refused for a moment.
    api.lost_answers += [("POST", "/api/v1/grading_job")] * 20
    api.refusals += [("POST", "/api/v1/grading_job", 503), ("GET", "/api/v1/grading_job", 503)] * 20
    jobs = [api.put(STAGE) for _ in range(JOBS)]
    api.wait_for(lambda: len(api.results) >= JOBS // 4, 60)
    stop(graders[-LEAVING:])
    api.wait_for(lambda: len(api.results) == JOBS, 60)
    assert set(api.results) == set(jobs)
    assert all(body["success"] and body["logs"]["stdout"] == f"{job}-1" for job, body in api.results.items())
    assert Counter(name for _, name in runs) == Counter(f"{job}-1" for job in jobs)
    assert len({number for number, _ in runs}) > GRADERS // 10, "the graders share the jobs"
    assert len(api.handed_out) == JOBS + len(api.returned)
    assert not api.lost_answers and not api.refusals
