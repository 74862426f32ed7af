"""A roll-out of three replicas and two schedulers under load loses nothing, refuses nothing, and causes no permanent
failure."""

import subprocess
import threading
import time

import httpx
import pytest
import rollout
from broadway import ROUTE, BackgroundGrader, stop_all
from harness import Process, Replica, Stack, free_port
from history import check_history
from pipelines import run_of
from processes import is_running
from service import Service
from waiting import PATIENCE, wait_until

STUDENTS = 30
GRADERS = 8
JOB_S = 0.15


class Client(threading.Thread):
    """Submits runs, starts them and reads their status, in sequence, until it is stopped. Retryable errors are retried
    and counted; any other error is a failure."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url = url
        self.http = self._connect()
        self.runs = []
        self.asked = 0
        self.retried = []
        self.failure = None
        self.leaving = threading.Event()

    def run(self):
        try:
            while not self.leaving.is_set():
                run = self.ask("POST", f"{ROUTE}/grading_run", {200}, json=run_of(STUDENTS, pre=True, post=True))
                self.runs.append(run.json()["id"])
                # 409: an earlier try, whose answer was lost, has started the run.
                self.ask("POST", f"{ROUTE}/grading_run/{self.runs[-1]}", {200}, after_loss={200, 409})
                while not self.leaving.wait(0.1):
                    status = self.ask("GET", f"{ROUTE}/grading_run/{self.runs[-1]}?students=false", {200})
                    if status.json()["state"] == "finished":
                        break
        except BaseException as failure:
            self.failure = failure

    def ask(self, method, path, good, after_loss=None, **request):
        """The answer, whose status must be in `good`, or in `after_loss` if an answer to the same request was lost."""
        deadline = time.monotonic() + 30 * PATIENCE
        while True:
            self.asked += 1
            try:
                answer = self.http.request(method, path, **request)
                if answer.status_code in good:
                    return answer
                assert answer.status_code == 503 and "retry-after" in answer.headers, (
                    f"{method} {path}: {answer.status_code} {answer.text}"
                )
                self.retried.append("503")
            except httpx.TransportError as error:
                self.retried.append(type(error).__name__)
                good = after_loss or good
                self.http.close()
                self.http = self._connect()
            assert time.monotonic() < deadline, f"{method} {path}: no answer within 30 s: {self.retried[-5:]}"
            time.sleep(0.1)

    def _connect(self):
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False)


@pytest.fixture
def times():
    return {name: rollout.times_of(name) for name in ("broadway-api", "broadway-scheduler")}


@pytest.fixture
def stack(tmp_path, times):
    """Three replicas and two schedulers, with the flags of the manifests."""
    started = Stack(
        tmp_path / "stack",
        replicas=3,
        schedulers=2,
        api=times["broadway-api"].flags,
        scheduler=times["broadway-scheduler"].flags,
    )
    started.up()
    yield started
    started.down()


@pytest.fixture
def started():
    """The processes of a test, which end with it."""
    processes = []
    yield processes
    for process in processes:
        process.end()


def old_pod(stack, kind, index):
    member = stack.described[kind][index]
    log = stack.directory / f"{kind}-{index}.log"
    port = int(member["url"].rpartition(":")[2])
    pid = member["pid"]
    return rollout.Pod(f"{kind}-{index}", pid, port, lambda: is_running(pid), lambda: log.read_text(encoding="utf-8"))


def new_pod(name, process, port):
    return rollout.Pod(name, process.child.pid, port, lambda: process.child.poll() is None, process.said)


def replica_starter(stack, started, times):
    """Starts a replica, and returns it when its startup probe and its readiness probe pass."""

    def start(index):
        flags = [f"--{flag}" for flag in times.flags]
        replica = Replica(stack, stack.directory / f"new-api-{index}.log", *flags)
        started.append(replica)
        wait_until(lambda: replica.internal.answers(200, "GET", "/readyz"), times.startup, "the new replica is ready")
        return new_pod(f"new api-{index}", replica, replica.port)

    return start


def scheduler_starter(stack, started, times):
    """Starts a scheduler in the same way."""

    def start(index):
        port = free_port()
        scheduler = Process(
            "broadway-scheduler",
            f"--mongodb-uri={stack.described['mongodb_uri']}",
            f"--mongodb-database={stack.described['database']}",
            f"--metrics-port={port}",
            *(f"--{flag}" for flag in times.flags),
            log=stack.directory / f"new-scheduler-{index}.log",
            env={"BROADWAY_INTERNAL_TOKEN": stack.described["internal_token"]},
        )
        started.append(scheduler)
        wait_until(lambda: is_ready(port), times.startup, "the new scheduler is ready")
        return new_pod(f"new scheduler-{index}", scheduler, port)

    return start


def is_ready(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def grade(_job):
    time.sleep(JOB_S)  # the duration of a job
    return "graded"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("trap '' TERM; while true; do sleep 0.1; done", id="stays"),
        pytest.param("exec sleep 60", id="ends without a word"),
    ],
)
def test_a_pod_that_does_not_terminate_in_time_fails_the_roll_out(script, monkeypatch):
    monkeypatch.setattr(rollout, "NEWS_S", 0)
    times = rollout.Times(min_ready=0, pre_stop=0.3, termination=1.3, startup=1, flags=())
    child = subprocess.Popen(["bash", "-c", script])
    pod = rollout.Pod("stubborn", child.pid, None, lambda: child.poll() is None, lambda: "leaving\n")
    try:
        with pytest.raises(AssertionError, match=r"has left by itself|did not close in order"):
            rollout.terminate(pod, times, lambda: None)
    finally:
        child.kill()
        child.wait()


def test_a_roll_out_under_load_loses_and_refuses_nothing(stack, started, times, capsys):
    api, scheduler = times["broadway-api"], times["broadway-scheduler"]
    assert api.pre_stop > rollout.NEWS_S, "the replica would stop before proxies have heard"
    with Service() as service:
        replicas = [old_pod(stack, "api", index) for index in range(3)]
        service.set_pods(pod.port for pod in replicas)
        graders = [BackgroundGrader([service.url], stack.cluster_token, grade=grade) for _ in range(GRADERS)]
        clients = [Client(service.url) for _ in range(2)]
        for client in clients:
            client.start()
        begun = time.monotonic()
        left = rollout.roll(
            replicas,
            api,
            replica_starter(stack, started, api),
            lambda pods: service.set_pods(pod.port for pod in pods),
        )
        schedulers = [old_pod(stack, "scheduler", index) for index in range(2)]
        left += rollout.roll(schedulers, scheduler, scheduler_starter(stack, started, scheduler), lambda pods: None)
        took = time.monotonic() - begun
        for client in clients:
            client.leaving.set()
        for client in clients:
            client.join(60)
            assert client.failure is None, repr(client.failure)
        runs = [run for client in clients for run in client.runs]
        finish_all(stack, runs)
        stop_all(graders)
    assert [grader.refused for grader in graders] == [[]] * GRADERS, "a result was refused"
    leases = [lease for run in runs for lease in check_history(stack, run, STUDENTS, graders=graders)]
    report(capsys, took, left, runs, leases, graders, clients, service)


def finish_all(stack, runs):
    """Checks that every acknowledged run completes successfully."""
    assert len(runs) > 2
    state = {run: None for run in runs}

    def unfinished():
        for run in [run for run, seen in state.items() if seen != "finished"]:
            state[run] = stack.database.run(run)["state"]
        return [run for run, seen in state.items() if seen != "finished"]

    # A run that was not started before the load ended is ignored.
    wait_until(lambda: all(state[run] == "created" for run in unfinished()), 60, "all started runs are finished")
    created = [run for run, seen in state.items() if seen == "created"]
    for run in created:
        runs.remove(run)
    assert len(created) <= 2


def report(capsys, took, left, runs, leases, graders, clients, service):
    results = sum(len(grader.accepted) for grader in graders)
    ended = [lease["ended"] for lease in leases if "ended" in lease]
    retried = [kind for client in clients for kind in client.retried]
    with capsys.disabled():
        print(
            f"\nroll-out of 3 replicas and 2 schedulers in {took:.0f} s: they left within "
            f"{', '.join(f'{seconds:.1f}' for seconds in left)} s of the signal\n"
            f"{len(runs)} runs finished, {results} results accepted, 0 refused; leases that ended without a result: "
            f"{ {kind: ended.count(kind) for kind in sorted(set(ended))} }\n"
            f"{sum(client.asked for client in clients)} requests of clients, tried again: "
            f"{ {kind: retried.count(kind) for kind in sorted(set(retried))} }; connections refused by the service: "
            f"{service.refused}"
        )
    assert results == sum(STUDENTS + 2 for _ in runs)
