"""The samples of files with scores, with a real stack and real containers, by both protocols."""

import pytest
from harness import SCRIPTS
from podman import IMAGE
from waiting import wait_until

SAMPLES = SCRIPTS / "samples" / "results"
# The sample, the path at which a stage leaves it, and its totals.
FILES = [
    ("gradescope.json", "/job/results.json", 7.5, 8),
    ("gradescope.json", "/autograder/results/results.json", 7.5, 8),
    ("prairielearn.json", "/grade/results/results.json", 0.75, 1),
    ("junit.xml", "/job/build/TEST-all.xml", 2, 4),
]
MALFORMED = '{"score": 1, "tests": [{"points": "one"}]}'
SENTENCE = "/grade/results/results.json: tests[0].points: must be a number, not a string"


def written(content, path, **more):
    """A stage that leaves a file, whose directory must be there and writable for any user."""
    script = f'mkdir -p "$(dirname {path})"; printf %s "$CONTENT" >{path}'
    return {
        "image": IMAGE,
        "entrypoint": ["/bin/sh", "-c", script],
        "env": {"CONTENT": content},
        "results": path,
        **more,
    }


def sample(name):
    # A "$" would be the beginning of a variable's name.
    return (SAMPLES / name).read_text(encoding="utf-8").replace("$", "")


@pytest.fixture(params=["socket", "cli"])
def engine(request, podman):
    """The flags by which a grader uses podman."""
    return f"--engine-socket={podman.socket}" if request.param == "socket" else "--engine-arg=--annotation=a=b"


def test_scores_of_each_kind_are_read_in_containers(stack, start_grader, podman, engine):
    start_grader("--runner=podman", engine, "--concurrency=2", env=podman.env)
    for name, path, score, max_score in FILES:
        user = {"user": "1234"} if not path.startswith("/job/build") else {}
        run = stack.api.submit(
            {"student_pipeline": [written(sample(name), path, **user)], "students": [{"WHO": "ada"}]}
        )
        stack.api.start(run)
        wait_until(lambda run=run: stack.api.status(run)["state"] == "finished", 60, "the run is over")
        (job,) = stack.api.status(run, results="true")["student_statuses"]
        assert (job["outcome"], job["score"], job["max_score"]) == ("succeeded", score, max_score), job
        assert job["result"]["results"]["path"] == path and job["tests"], job
    assert podman.containers() == []


def test_stages_share_the_directory_of_their_results(stack, start_grader, podman):
    start_grader("--runner=podman", f"--engine-socket={podman.socket}", env=podman.env)
    path = "/grade/results/results.json"
    first = written('{"score": 0.25, "gradable": true}', "/grade/results/part.json") | {"results": path}
    first["entrypoint"][2] += f"; cp /grade/results/part.json {path}"
    second = {**first, "entrypoint": ["/bin/sh", "-c", f"sed s/0.25/0.5/ /grade/results/part.json >{path}"]}
    run = stack.api.submit({"student_pipeline": [first, second], "students": [{}]})
    stack.api.start(run)
    wait_until(lambda: stack.api.status(run)["state"] == "finished", 60, "the run is over")
    (job,) = stack.api.status(run, results="true")["student_statuses"]
    assert (job["outcome"], job["score"]) == ("succeeded", 0.5), job


def test_what_is_written_there_counts_as_disk(stack, start_grader, podman):
    start_grader("--runner=podman", f"--engine-socket={podman.socket}", "--stop-grace=1", env=podman.env)
    stage = written("{}", "/grade/results/results.json", disk="20m")
    stage["entrypoint"][2] = "head -c 50000000 /dev/zero >/grade/results/large; sleep 30"
    run = stack.api.submit({"student_pipeline": [stage], "students": [{}]})
    stack.api.start(run)
    wait_until(lambda: stack.api.status(run)["state"] == "finished", 60, "the run is over")
    (job,) = stack.api.status(run, results="true")["student_statuses"]
    assert "holds more than 20971520 bytes" in job["result"]["stages"][0]["error"], job


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_in_the_course_protocol_scores_are_read_and_malformed_ones_are_the_courses_fault(
    stack, course, start_grader, podman, protocol
):
    flags = ["--runner=podman", f"--engine-socket={podman.socket}", f"--protocol={protocol}"]
    start_grader(*flags, env=podman.env)
    name, path, score, max_score = FILES[2]
    run = course.run(1, {"student_pipeline": [written(sample(name), path)]})
    bad = course.run(1, {"student_pipeline": [written(MALFORMED, path)]})
    for id in (run, bad):
        wait_until(lambda id=id: course.state(id) == "grading run is complete", 60, "the run is complete")
    (job,) = course.data("GET", f"/grading_run/{course.name}/{run}/jobs")["jobs"]
    assert (job["outcome"], job["score"], job["max_score"]) == ("succeeded", score, max_score)
    (job,) = course.data("GET", f"/grading_run/{course.name}/{bad}/jobs")["jobs"]
    assert (job["outcome"], job["owner"], "score" in job) == ("failed", "course", False)
    detail = course.data("GET", f"/grading_job/{course.name}/{job['job_id']}")
    assert detail["result"][0]["stages"][0]["error"] == SENTENCE
    assert SENTENCE in course.log(job["job_id"])["stderr"]
