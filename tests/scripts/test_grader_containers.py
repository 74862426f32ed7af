"""The reference grader with docker and podman: what it asks of them, and what it makes of their answers."""

import os
import subprocess

import pytest
from conftest import SCRIPTS
from engine import Engine

PLAIN = {"image": "image:1", "entrypoint": [], "env": []}


@pytest.fixture
def start(api, tmp_path, start_container_grader):
    """A function that starts a grader with stand-ins for engines: {name: is it usable?}. Returns them by name."""

    def start_(*arguments, **usable):
        engines = {name: Engine(tmp_path / "bin", name, is_usable) for name, is_usable in usable.items()}
        start_container_grader(*arguments, path=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        return engines

    return start_


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_every_field_of_a_stage_reaches_the_engine(api, start, name):
    engine = start(f"--runner={name}", **{name: True})[name]
    stage = {
        "image": "registry.example/course:7",
        "entrypoint": ["/bin/sh", "-c", "make grade"],
        "env": ["NETID=ada", "FLAGS=-O2 -DX=1\nsecond line", "EMPTY="],
        "networking": True,
        "hostname": "grading-host",
        "memory": "512m",
        "cpuset_cpus": "0-1",
        "timeout": 30,
    }
    job = api.put(stage, students=[{"NETID": "ada"}])
    body = api.result_of(job)
    [argv] = engine.calls("run")
    image = argv.index("registry.example/course:7")
    options, command = argv[:image], argv[image + 1 :]
    assert command == ["-c", "make grade"]
    assert {
        "--rm",
        f"--name=broadway-{job}-1-0",
        "--hostname=grading-host",
        "--memory=512m",
        "--cpuset-cpus=0-1",
        "--entrypoint=/bin/sh",
        "--env=JOB_DIR=/job",
    } <= set(options)
    assert [word for word in options if word.startswith("--env=")][-3:] == [f"--env={entry}" for entry in stage["env"]]
    [mount] = [word for word in options if word.startswith("--mount=")]
    assert mount.startswith("--mount=type=bind,source=/") and mount.endswith(",target=/job")
    assert not [word for word in options if word.startswith("--network")]
    assert "--privileged" not in options
    assert body["success"] is True
    assert body["logs"]["stdout"] == "found ['students.json']\n"
    assert body["result"]["output"] == {"by": "container"}


def test_what_a_stage_does_not_ask_for_is_not_asked_of_the_engine(api, start):
    engine = start("--runner=docker", docker=True)["docker"]
    assert api.result_of(api.put(PLAIN))["success"] is True
    [argv] = engine.calls("run")
    names = [word.partition("=")[0] for word in argv]
    assert names == ["--rm", "--log-driver", "--name", "--mount", "--env", "--network", "image:1"]
    assert "--network=none" in argv


def test_all_stages_of_a_job_have_one_directory_and_containers_of_their_own(api, start):
    engine = start("--runner=docker", docker=True)["docker"]
    body = api.result_of(api.put(PLAIN, PLAIN))
    assert body["logs"]["stdout"] == "found []\nfound ['result.json']\n"
    first, second = (dict(word.split("=", 1) for word in argv if "=" in word) for argv in engine.calls("run"))
    assert first["--mount"] == second["--mount"]
    assert first["--name"] != second["--name"]


def test_a_privileged_stage_is_one(api, start):
    engine = start("--runner=docker", docker=True)["docker"]
    api.result_of(api.put({**PLAIN, "privileged": True}))
    [argv] = engine.calls("run")
    assert "--privileged" in argv


def test_a_container_over_its_timeout_is_removed(api, start):
    engine = start("--runner=docker", docker=True)["docker"]
    job = api.put({**PLAIN, "image": "image:hangs", "timeout": 0.5})
    body = api.result_of(job)
    [stage] = body["result"]["stages"]
    assert body["success"] is False and stage["killed"] is True and "0.5 s" in stage["error"]
    assert engine.calls("rm") == [["--force", f"broadway-{job}-1-0"]]


def test_what_the_engine_cannot_start_has_no_exit_code(api, start):
    start("--runner=docker", docker=True)
    body = api.result_of(api.put({**PLAIN, "image": "image:missing"}, PLAIN))
    [stage] = body["result"]["stages"]
    assert body["success"] is False
    assert (stage["exit_code"], stage["killed"], stage["stderr"]) == (None, False, "no such image\n")
    assert "could not start" in stage["error"]


def test_an_image_cannot_pass_for_an_option(api, start):
    engine = start("--runner=docker", docker=True)["docker"]
    body = api.result_of(api.put({**PLAIN, "image": "--privileged"}))
    assert body["success"] is False and "option" in body["result"]["stages"][0]["error"]
    assert engine.calls("run") == []


def test_docker_goes_before_podman(api, start):
    engines = start(docker=True, podman=True)
    api.result_of(api.put(PLAIN))
    assert len(engines["docker"].calls("run")) == 1 and engines["podman"].calls("run") == []


def test_podman_stands_in_for_a_docker_that_does_not_answer(api, start):
    engines = start(docker=False, podman=True)
    api.result_of(api.put(PLAIN))
    assert engines["docker"].calls("run") == [] and len(engines["podman"].calls("run")) == 1


def test_without_an_engine_it_names_the_way_out(tmp_path):
    Engine(tmp_path / "bin", "podman", is_usable=False)
    done = subprocess.run(
        [SCRIPTS / "grader", "--token=x", "--runner=podman"],
        env={"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "podman is not usable here" in done.stderr and "--runner process" in done.stderr
