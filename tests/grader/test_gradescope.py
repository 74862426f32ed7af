"""The sample of a Gradescope autograder, submitted by the command line and graded in real containers."""

import shutil
import subprocess

import pytest
from course import COURSES
from harness import SCRIPTS, clean_environment
from podman import IMAGE

SAMPLE = SCRIPTS / "samples" / "gradescope"


@pytest.fixture
def autograder(tmp_path):
    """The sample's directory of an autograder, which a test may change; zipped by `submit`."""
    return shutil.copytree(SAMPLE / "autograder", tmp_path / "autograder")


@pytest.fixture
def submit(stack, autograder, tmp_path, start_grader, podman):
    """Submits the autograder with the sample's submissions; returns the command's result when the run is over."""
    for protocol in ("classic", "course-http"):
        runner = ("--runner=podman", f"--engine-socket={podman.socket}", "--concurrency=2")
        start_grader(*runner, f"--protocol={protocol}", env=podman.env)

    def submit_it(*flags, image=IMAGE, token=stack.cluster_token):
        archive = shutil.make_archive(str(tmp_path / "sums"), "zip", autograder)
        argv = [SCRIPTS / "broadway", "run", "submit", f"--server={stack.urls[0]}", f"--image={image}", "--wait"]
        argv += [f"--gradescope={archive}", f"--submissions={SAMPLE / 'submissions'}", "--no-networking", *flags]
        environment = clean_environment(BROADWAY_TOKEN=token, XDG_CONFIG_HOME=str(tmp_path))
        return subprocess.run(argv, env=environment, text=True, capture_output=True, timeout=120, check=False)

    return submit_it


def jobs_of(stack, submitted):
    run = submitted.stdout.split()[0]
    return stack.api.status(run, results="true")["student_statuses"]


def test_an_autograder_of_gradescope_runs_unchanged(stack, submit, podman):
    submitted = submit()
    assert submitted.returncode == 0, f"{submitted.stderr}{jobs_of(stack, submitted)}"
    assert "note: setup.sh runs before each submission" in submitted.stderr
    ada, grace = jobs_of(stack, submitted)
    assert (ada["outcome"], ada["score"], ada["max_score"]) == ("succeeded", 5, 5)
    assert (grace["outcome"], grace["score"]) == ("succeeded", 0)
    assert grace["tests"][0]["output"] == "expected 42, found 41"
    assert podman.containers() == []


def test_an_autograder_of_gradescope_runs_in_a_course(course, submit):
    token = COURSES[course.name]["tokens"][0]
    submitted = submit(f"--course={course.name}", "--assignment=sums", token=token)
    assert submitted.returncode == 0, submitted.stderr
    run = submitted.stdout.split()[0]
    jobs = course.data("GET", f"/grading_run/{course.name}/{run}/jobs")["jobs"]
    assert [(job["outcome"], job["score"]) for job in jobs] == [("succeeded", 5), ("succeeded", 0)]


def test_an_autograder_without_results_fails_the_jobs_and_says_so(stack, submit, autograder):
    (autograder / "run_autograder").write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    submitted = submit()
    assert submitted.returncode == 1, submitted.stderr
    for job in jobs_of(stack, submitted):
        assert (job["outcome"], job["owner"]) == ("failed", "course")
        assert "left no /autograder/results/results.json; its exit status was 3" in str(job["result"])


def test_a_status_counts_only_without_results(stack, submit, autograder):
    program = autograder / "run_autograder"
    program.write_text(program.read_text(encoding="utf-8") + "\nexit 1\n", encoding="utf-8")
    submitted = submit()
    assert submitted.returncode == 0, f"{submitted.stderr}{jobs_of(stack, submitted)}"
    assert [job["score"] for job in jobs_of(stack, submitted)] == [5, 0]


def test_a_failed_setup_fails_the_jobs_unless_it_is_skipped(stack, submit, autograder):
    (autograder / "setup.sh").write_text("#!/bin/sh\nexit 7\n", encoding="utf-8")
    (autograder / "run_autograder").write_text(
        "#!/bin/sh\necho '{\"score\": 1}' >/autograder/results/results.json\n", encoding="utf-8"
    )
    submitted = submit()
    assert submitted.returncode == 1, submitted.stderr
    assert all("setup.sh ended with exit status 7" in str(job["result"]) for job in jobs_of(stack, submitted))
    submitted = submit("--skip-setup")
    assert submitted.returncode == 0, f"{submitted.stderr}{jobs_of(stack, submitted)}"
    assert [job["score"] for job in jobs_of(stack, submitted)] == [1, 1]
