"""Replaces secrets of running processes as in docs/operations.md: no step locks out a client, and at the end the old
secrets are refused."""

import json
import os
import signal

import httpx
import pytest
from broadway import ROUTE, Api, ClassicGrader
from harness import Process, Replica, Stack, free_port
from pipelines import run_of
from waiting import wait_until

OLD, NEW = "old", "new"
ANYWHERE = "--bind-address=0.0.0.0"  # clients need a token only beyond loopback
KINDS = ("internal", "cluster", "client")


def token(age, kind):
    return f"the-{age}-{kind}-token"


def secrets(first, second=None):
    """The environment of a replica with these tokens."""
    named = {f"BROADWAY_{kind.upper()}_TOKEN": token(first, kind) for kind in KINDS}
    if second:
        named |= {f"BROADWAY_SECOND_{kind.upper()}_TOKEN": token(second, kind) for kind in KINDS}
    return named


class Tiers:
    """Both tiers on a separate database; each process is started with given secrets."""

    def __init__(self, stack, directory):
        self.stack, self.directory = stack, directory
        self.running = []
        self.count = 0

    def _log(self):
        self.count += 1
        return self.directory / f"{self.count}.log"

    def api(self, *flags, env):
        """Starts a replica and waits until it is ready."""
        replica = Replica(self.stack, self._log(), ANYWHERE, *flags, database="rotation", env=env)
        self.running.append(replica)
        return replica.wait_ready()

    def scheduler(self, age):
        """Starts a scheduler and waits until it is ready; it leads if no other does."""
        port = free_port()
        scheduler = Process(
            "broadway-scheduler",
            f"--mongodb-uri={self.stack.described['mongodb_uri']}",
            "--mongodb-database=rotation",
            f"--metrics-port={port}",
            log=self._log(),
            env={"BROADWAY_INTERNAL_TOKEN": token(age, "internal")},
        )
        self.running.append(scheduler)
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 15, "the scheduler is ready")
        return scheduler

    def end(self, process):
        self.running.remove(process)
        process.end()

    def end_all(self):
        for process in list(self.running):
            self.end(process)


def answers(url):
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A stack, for its database server."""
    started = Stack(tmp_path_factory.mktemp("stack") / "stack").up()
    yield started
    started.down()


@pytest.fixture
def tiers(stack, tmp_path):
    made = Tiers(stack, tmp_path)
    yield made
    made.end_all()


def work(replica, *ages):
    """Checks that a client and a grader with each of these sets of tokens can run a job at this replica, and so that
    the scheduler can call it."""
    for age in ages:
        api = Api(replica.url, headers={"Authorization": f"Bearer {token(age, 'client')}"})
        grader = ClassicGrader(replica.url, token(age, "cluster"))
        run = api.submit_and_start(run_of(1))
        grader.finish(grader.take(20))
        api.wait_over(run)
        api.close()
        grader.close()


def test_tokens_are_exchanged_without_locking_out_a_client(tiers):
    leader, before = tiers.scheduler(OLD), tiers.api(env=secrets(OLD))
    work(before, OLD)
    # First step: the second tokens are valid besides the first ones.
    both = tiers.api(env=secrets(OLD, NEW))
    tiers.end(before)
    work(both, OLD, NEW)
    # Second step: first and second tokens are exchanged, in either order of the tiers.
    swapped = tiers.api(env=secrets(NEW, OLD))
    work(both, OLD, NEW)
    work(swapped, OLD, NEW)
    successor = tiers.scheduler(NEW)
    tiers.end(leader)
    work(both, OLD, NEW)
    work(swapped, OLD, NEW)
    tiers.end(both)
    # Third step: the old tokens are removed.
    after = tiers.api(env=secrets(NEW))
    tiers.end(swapped)
    work(after, NEW)
    assert successor.child.poll() is None
    refused = {"Authorization": f"Bearer {token(OLD, 'client')}"}
    assert after.api.answers(401, "POST", f"{ROUTE}/grading_run", json=run_of(1), headers=refused)
    old_cluster = {"token": token(OLD, "cluster")}
    assert not after.api.answers(200, "GET", f"{ROUTE}/worker_register", params=old_cluster)
    callback = {"json": {}, "headers": {"Authorization": f"Bearer {token(OLD, 'internal')}"}}
    assert after.internal.answers(401, "POST", "/internal/v1/callbacks", **callback)


def test_a_scheduler_with_a_removed_internal_token_hands_nothing_out(tiers):
    """Shows that the test above can fail."""
    tiers.scheduler(OLD)
    replica = tiers.api(env=secrets(NEW))
    with pytest.raises(AssertionError, match="gets a job"):
        api = Api(replica.url, headers={"Authorization": f"Bearer {token(NEW, 'client')}"})
        api.submit_and_start(run_of(1))
        ClassicGrader(replica.url, token(NEW, "cluster")).take(4)


def test_a_course_gets_a_second_token_and_loses_the_first_by_sighup(tiers, tmp_path):
    path = tmp_path / "courses.json"

    def courses(*tokens):
        path.write_text(json.dumps({"cs225": {"tokens": list(tokens)}}), encoding="utf-8")

    def status(token_of_course):
        headers = {"Authorization": f"Bearer {token_of_course}"}
        return replica.api.request("GET", f"{ROUTE}/queue/cs225/length", headers=headers).status_code

    courses("old-of-cs225")
    tiers.scheduler(OLD)
    replica = tiers.api(f"--course-config={path}", env=secrets(OLD))
    wait_until(lambda: status("old-of-cs225") == 200, 10, "the course is known")
    courses("old-of-cs225", "new-of-cs225")
    os.kill(replica.child.pid, signal.SIGHUP)
    wait_until(lambda: status("new-of-cs225") == 200, 10, "the new token is known")
    assert status("old-of-cs225") == 200, "both are good meanwhile"
    courses("new-of-cs225")
    os.kill(replica.child.pid, signal.SIGHUP)
    wait_until(lambda: status("old-of-cs225") == 401, 10, "the old token is gone")
    assert status("new-of-cs225") == 200
