"""Files of runs and jobs with a real stack and real containers, by both protocols."""

import hashlib
import io
import json
import tarfile

import httpx
import pytest
from course import COURSES
from course_names import bearer
from podman import IMAGE
from waiting import wait_until

FINISHED = "finished"


def sh(script, **more):
    return {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", script], "env": {}, **more}


def archive(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def has_files(stack):
    """The API has files: else there is nothing to test."""
    answer = httpx.get(
        f"{stack.urls[0]}/api/v1/worker_register", params={"token": stack.cluster_token}, trust_env=False
    )
    if "Broadway-Files" not in answer.headers:
        pytest.skip("this API has no files")


class Client:
    """Stores and reads files, as `path` of one of the protocols."""

    def __init__(self, stack, path, headers):
        self._url = f"{stack.urls[0]}/api/v1/{path}"
        self._http = httpx.Client(headers=headers, trust_env=False)

    def store(self, content):
        answer = self._http.post(self._url, content=content)
        assert answer.status_code == 200, answer.text
        stored = answer.json()
        return stored.get("data", stored)["digest"]

    def read(self, digest):
        answer = self._http.get(f"{self._url}/{digest}")
        assert answer.status_code == 200
        return answer.content


def test_files_go_to_every_student_and_are_sent_by_each(stack, start_grader, podman):
    client = Client(stack, "files", {})
    script = b"#!/bin/sh\necho graded >artifacts/report.html; cat input/main.c shared/built >>artifacts/report.html\n"
    tests = client.store(archive(**{"run.sh": script}))
    sources = [f"int student_{number};\n".encode() for number in range(6)]
    definition = {
        "preprocessing_pipeline": [sh("mkdir shared; ls input/tests >shared/built")],
        "student_pipeline": [sh("mkdir artifacts && input/tests/run.sh")],
        "students": [{"WHO": f"s{number}"} for number in range(len(sources))],
        "files": [{"path": "tests", "digest": tests, "unpack": True}],
        "student_files": [[{"path": "main.c", "digest": client.store(source)}] for source in sources],
    }
    run = stack.api.submit(definition)
    stack.api.start(run)
    graders = [start_grader("--runner=podman", f"--engine-socket={podman.socket}", "--concurrency=2", env=podman.env)]
    graders.append(start_grader("--runner=podman", "--engine-arg=--annotation=a=b", "--concurrency=2", env=podman.env))
    wait_until(lambda: stack.api.status(run, students="false")["state"] == FINISHED, 90, "the run is over")
    jobs = stack.api.status(run, results="true")["student_statuses"]
    assert [job["outcome"] for job in jobs] == ["succeeded"] * len(sources), jobs
    for job, source in zip(jobs, sources, strict=True):
        [file] = job["files"]
        content = b"graded\n" + source + b"run.sh\n"
        assert (file["path"], file["size"]) == ("artifacts/report.html", len(content))
        assert file["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert client.read(file["digest"]) == content
    assert podman.containers() == []


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_in_the_course_protocol_files_go_to_every_student_and_are_sent(stack, course, start_grader, podman, protocol):
    client = Client(stack, f"files/{course.name}", bearer(COURSES[course.name]["tokens"][0]))
    digest = client.store(protocol.encode())
    stage = {"image": IMAGE, "entrypoint": ["/bin/sh", "-c", "mkdir artifacts; cp input/given artifacts/copy"]}
    flags = ["--runner=podman", f"--engine-socket={podman.socket}", f"--protocol={protocol}"]
    start_grader(*flags, env=podman.env)
    run = course.run(2, {"student_pipeline": [stage]}, files=[{"path": "given", "digest": digest}])
    wait_until(lambda: course.state(run) == "grading run is complete", 60, "the run is complete")
    states = course.status(run)["student_jobs_state"]
    assert set(states.values()) == {"grading job was successful"}, json.dumps(states)
    for job in states:
        [file] = course.log(job)["files"]
        assert (file["path"], file["digest"]) == ("artifacts/copy", digest)
