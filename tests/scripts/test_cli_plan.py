"""`broadway run plan` and `broadway config validate` say what a real server says."""

import json

import httpx
import pytest
from broadway import Client, Refused
from broadway.plan import plan_config, plan_run
from commands import CLIENT_TOKEN, COURSE, COURSE_TOKEN, Server
from test_cli_files import BAD_CONFIGS

RUN = {
    "env": {"TERM": "fa", "PRICE": "$5", "QUOTE": 'a "b" \\ ü\n'},
    "students": [{"NETID": "ada", "TERM": "sp"}, {"NETID": "grace"}],
    "preprocessing_pipeline": [{"image": "first", "env": {"T": "$TERM"}}],
    "student_pipeline": [
        {"image": "x", "env": {"TERM": "", "WHO": "$NETID", "COST": "$PRICE", "SAY": "costs $5"}, "timeout": 1.5},
        {"image": "y", "entrypoint": ["echo", "ü"], "memory": "512m", "networking": True},
    ],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("plan") / "stack")
    try:
        server.start()
        yield server
    finally:
        server.succeed("down")


@pytest.fixture
def course(server):
    with Client(server.urls, COURSE_TOKEN, course=COURSE) as client:
        yield client


def test_jobs_are_handed_out_as_planned(server):
    """Each job's environment, and its size as the server counts it."""
    with Client(server.urls, CLIENT_TOKEN) as client:
        client.start(client.submit(RUN))
    ask = httpx.Client(base_url=f"{server.urls[0]}/api/v1/", trust_env=False, timeout=30)
    worker = ask.get("worker_register", params={"token": server.cluster_token}).json()["worker_id"]
    planned = plan_run(RUN)
    assert [job.kind for job in planned.jobs] == ["preprocessing", "student", "student"] and not planned.problems
    for job in planned.jobs:
        handed_out = ask.get("grading_job", params={"worker_id": worker, "wait": 10}).json()
        envs = [dict(entry.split("=", 1) for entry in stage["env"]) for stage in handed_out["stages"]]
        assert [stage.env for stage in job.stages] == envs
        text = json.dumps(handed_out["stages"], ensure_ascii=False, separators=(",", ":"))
        assert job.size == len(text.encode())
        body = {"worker_id": worker, "result": {}, "success": True}
        assert ask.post(f"grading_job/{handed_out['job_id']}", json=body).status_code == 200
    ask.close()


def test_a_courses_jobs_have_the_planned_environment(server, course):
    config = {"env": {"A": 1, "B": "b"}, "student_pipeline": [{"image": "x", "env": {"B": [2], "NETID": "nobody"}}]}
    course.set_config("plan", config)
    run = course.submit({"students_env": RUN["students"]}, "plan")
    answer = httpx.get(
        f"{server.urls[0]}/api/v1/grading_run_env/{COURSE}/{run}",
        headers={"Authorization": f"Bearer {COURSE_TOKEN}"},
        trust_env=False,
    )
    planned = plan_config(config, RUN["students"])
    of_server = answer.json()["data"]["student_env"]
    for job, (job_id, env) in zip(planned.jobs, of_server.items(), strict=True):
        expected = {**job.stages[0].env, "GRADING_RUN_ID": run, "GRADING_JOB_ID": job_id}
        assert {name: [value] for name, value in expected.items()} == env


@pytest.mark.parametrize("config", [config for config, _ in BAD_CONFIGS])
def test_the_server_refuses_what_is_refused_offline(course, config):
    with pytest.raises(Refused):
        course.set_config("bad", config)


@pytest.mark.parametrize("name", ["A", "B"])
def test_the_server_says_the_same_of_a_name_without_a_value(server, name):
    definition = {"student_pipeline": [{"image": "x", "env": {name: "$NOWHERE"}}], "students": [{}]}
    with Client(server.urls, CLIENT_TOKEN) as client, pytest.raises(Refused) as refused:
        client.submit(definition)
    assert plan_run(definition).problems == [str(refused.value)]
