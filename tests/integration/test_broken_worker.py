"""A grader that fails several jobs in a row within seconds is broken, not its jobs: it gets no jobs for a while."""

from broadway import Api
from pipelines import run_of
from test_health import sample_values
from waiting import wait_until


def paused(stack):
    api = Api(stack.described["scheduler"][0]["url"])
    try:
        return sample_values(api.request("GET", "/metrics").text)["broadway_scheduler_workers_paused"]
    finally:
        api.close()


def fail(grader, times, **more):
    for _ in range(times):
        grader.finish(grader.take(), "no engine", success=False, **more)


def test_five_fast_failures_without_output_pause_a_worker_visibly(stack):
    run = stack.api.submit_and_start(run_of(8))
    broken, sound = stack.grader(hostname="broken"), stack.grader()
    before = paused(stack)
    fail(broken, 5)
    wait_until(lambda: paused(stack) == before + 1, 5, "the pause shows")
    assert broken.poll(wait=0.5) is None
    for _ in range(3):
        sound.finish(sound.take())
    assert stack.api.wait_over(run)["progress"]["failed"] == 5
    log = (stack.directory / "scheduler-0.log").read_text()
    assert "worker paused" in log and "broken" in log


def test_failures_with_output_do_not_count(stack):
    stack.api.submit_and_start(run_of(7))
    grader = stack.grader()
    fail(grader, 6, logs={"stderr": "make: *** [all] Error 2"})
    grader.finish(grader.take())


def test_a_success_in_between_resets_the_failures(stack):
    stack.api.submit_and_start(run_of(10))
    grader = stack.grader()
    fail(grader, 4)
    grader.finish(grader.take())
    fail(grader, 4)
    grader.finish(grader.take())
