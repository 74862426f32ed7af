"""Stacks for the tests. One with three replicas is shared by most; each test leaves its queue empty."""

import os

import harness
import pytest
from harness import ROOT, Replica, run_stack

os.environ.setdefault("TSAN_OPTIONS", f"suppressions={ROOT / 'tests' / 'tsan.supp'}")


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory):
    """Three replicas and a scheduler, with a heartbeat of one second."""
    yield from run_stack(tmp_path_factory, "shared", replicas=3, both=("heartbeat-interval=1",))


@pytest.fixture
def stack(shared_stack):
    """The shared stack, with nothing in its queue before and after."""
    shared_stack.drain()
    yield shared_stack
    shared_stack.stop_graders()
    shared_stack.drain()
    shared_stack.stop_graders()


@pytest.fixture
def make_replica(request, tmp_path):
    """Starts further replicas beside a stack, ended with the test."""
    started = []

    def make(stack, *flags, **options):
        log = tmp_path / f"replica-{len(started)}.log"
        started.append(Replica(stack, log, *flags, **options))
        return started[-1]

    yield make
    for replica in started:
        replica.end()
        report = harness.SANITIZER_REPORT.search(replica.said())
        assert report is None, replica.said()[-4000:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure shows the ends of the logs of all that runs."""
    report = yield
    if report.failed:
        for stack in harness.running_stacks:
            for path in stack.log_paths():
                report.sections.append((f"end of {stack.directory.name}/{path.name}", harness.last_lines(path)))
    return report
