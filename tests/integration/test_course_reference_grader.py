"""scripts/grader in the course protocol, as a process."""

import signal
import subprocess

import pytest
from course import stage
from harness import SCRIPTS, clean_environment
from waiting import wait_until

COMPLETE = "grading run is complete"


def sh(script, **more):
    return stage(entrypoint=["/bin/sh", "-c", script], **more)


@pytest.fixture
def start_grader(staff, tmp_path):
    """Starts a grader of the stack; it ends with the test."""
    started = []

    def start(*flags):
        argv = [str(SCRIPTS / "grader"), "--runner=process", f"--work-dir={tmp_path}", *flags]
        argv += [f"--url={url}" for url in staff.stack.urls]
        with open(tmp_path / "grader.log", "ab") as log:
            environment = clean_environment(BROADWAY_CLUSTER_TOKEN=staff.stack.cluster_token)
            started.append(subprocess.Popen(argv, stdout=log, stderr=log, env=environment))
        return started[-1]

    yield start
    for grader in started:
        if grader.poll() is None:
            grader.kill()
        grader.wait()
    print((tmp_path / "grader.log").read_text(encoding="utf-8")[-3000:])


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_it_grades_a_whole_run(staff, start_grader, protocol):
    course = staff.course()
    config = {
        "pre_processing_pipeline": [sh("echo before")],
        "student_pipeline": [sh('echo "$who of $GRADING_RUN_ID"', env={"who": "nobody"}), sh("echo err >&2")],
        "post_processing_pipeline": [sh("exit $CODE")],
    }
    start_grader(f"--protocol={protocol}", "--concurrency=2", "--hostname=bench 7", "--tag=lab", "--tag=gpu")
    run = course.run([{"who": f"s{n}"} for n in range(4)], config, post_processing_env={"CODE": 0})
    wait_until(lambda: course.state(run) == COMPLETE, 30, "the run is complete")
    status = course.status(run)
    assert set(status["student_jobs_state"].values()) == {"grading job was successful"}
    for index, job in enumerate(status["student_jobs_state"]):
        assert course.log(job) == {"stdout": f"s{index} of {run}\n", "stderr": "err\n"}
    own = [row for row in course.workers() if row["alive"] and row["hostname"] == "bench 7"]
    assert own and all(row["tags"] == ["lab", "gpu"] for row in own)


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_it_finishes_its_job_before_it_exits(staff, start_grader, protocol, tmp_path):
    course = staff.course()
    grader = start_grader(f"--protocol={protocol}")
    begun = tmp_path / "begun"
    run = course.run(2, {"student_pipeline": [sh(f"touch {begun}; sleep 2")]})
    wait_until(begun.exists, 20, "a job runs")
    grader.send_signal(signal.SIGTERM)
    assert grader.wait(20) == 0
    # By websocket the next job may be handed to it while it leaves; it goes back at once.
    states = ["grading job was successful", "grading job has been scheduled"]
    wait_until(lambda: list(course.status(run)["student_jobs_state"].values()) == states, 5, "the other job waits")


def test_a_failing_stage_fails_the_job(staff, start_grader):
    course = staff.course()
    start_grader("--protocol=course-ws", "--once")
    run = course.run(1, {"student_pipeline": [sh("exit 3"), sh("echo never")]})
    wait_until(lambda: course.state(run) == COMPLETE, 20, "the run is complete")
    assert list(course.status(run)["student_jobs_state"].values()) == ["grading job failed"]


LONG_LOG = "echo first; head -c 6000000 /dev/zero | tr '\\0' x; printf '\\303\\274\\n%.0s' $(seq 3000); echo 'score 97'"


def assert_ends_are_kept(log):
    """Checks that the first and the last line are kept with the mark between them, that no character is cut, and that
    only the grader has cut the log."""
    assert log.startswith("first\nxxx") and log.endswith("ü\nü\nscore 97\n")
    assert log.count("bytes cut ...]") == 1 and "\ufffd" not in log
    assert 3 * 1024 * 1024 < len(log.encode()) <= 4 * 1024 * 1024


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_a_log_over_the_limit_keeps_its_first_and_last_line(staff, start_grader, protocol):
    course = staff.course()
    start_grader(f"--protocol={protocol}", "--once", "--max-log-bytes=8000000")
    run = course.run(1, {"student_pipeline": [sh(LONG_LOG)]})
    wait_until(lambda: course.state(run) == COMPLETE, 30, "the run is complete")
    (job,) = course.status(run)["student_jobs_state"]
    assert_ends_are_kept(course.log(job)["stdout"])
    assert "note" not in staff.stack.database.result(job)
