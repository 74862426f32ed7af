"""`broadway run plan`, rosters and configs: what is read from files, without a server."""

import json
import os
import subprocess
import sys

import pytest
from broadway import plan as plans
from conftest import ROOT, SCRIPTS
from fake_api import FakeApi

STAGE = {"image": "any", "env": {"WHO": "$NETID", "TERM": "", "SAY": "costs $5"}, "timeout": 5, "memory": "512m"}
DEFINITION = {"env": {"TERM": "fa"}, "student_pipeline": [STAGE]}


def plan(broadway, definition, *arguments, roster="NETID\nada\n"):
    broadway.write("run.json", definition)
    broadway.write("roster.csv", roster)
    return broadway("run", "plan", "run.json", "--students=roster.csv", *arguments)


def test_a_plan_has_every_students_environment(broadway):
    jobs = json.loads(plan(broadway, DEFINITION, "--json", roster='NETID,NOTE\nada,"a, b"\ngrace,\n').succeed())
    assert [job["stages"][0]["env"] for job in jobs] == [
        {"TERM": "fa", "NETID": "ada", "NOTE": "a, b", "WHO": "ada", "SAY": "costs $5"},
        {"TERM": "fa", "NETID": "grace", "NOTE": "", "WHO": "grace", "SAY": "costs $5"},
    ]
    assert jobs[0]["stages"][0]["limits"] == {"timeout": 5, "memory": "512m"}


def test_a_plan_for_people_has_images_limits_and_sizes(broadway):
    definition = {**DEFINITION, "preprocessing_pipeline": [{"image": "first"}]}
    out = plan(broadway, definition).succeed()
    assert "2 jobs, " in out and "student_pipeline[0]: any; timeout 5, memory 512m" in out
    assert "preprocessing_pipeline[0]: first; no limits of its own" in out and '"WHO": "ada"' in out


@pytest.mark.parametrize(
    ("timeout", "students", "words"),
    [
        ({"timeout": 5}, 2, "at most 10 seconds of graders"),
        ({"timeout": 5400}, 3, "at most 4.5 hours of graders"),
        ({}, 1, "no upper bound of the time: a stage has no timeout"),
    ],
)
def test_a_plan_has_an_upper_bound_of_the_time(broadway, timeout, students, words):
    definition = {"student_pipeline": [{"image": "any", **timeout}], "students": [{}] * students}
    assert words in broadway("run", "plan", broadway.write("run.json", definition)).succeed()


def test_the_plan_knows_every_key_of_the_schemas():
    """So that what is added to the protocol is not refused offline."""
    schemas = ROOT / "docs" / "schemas"
    run = json.loads((schemas / "grading_run.json").read_text())
    course = json.loads((schemas / "course.json").read_text())["$defs"]
    assert plans._RUN.keys() == run["properties"].keys()
    assert plans._STAGE_CLASSIC.keys() == run["$defs"]["stage"]["properties"].keys()
    assert plans._CONFIG.keys() == course["config"]["properties"].keys()
    assert plans._STAGE.keys() == course["stage"]["properties"].keys()


def test_names_that_can_not_be_resolved_are_all_listed(broadway):
    stage = {"image": "any", "env": {"A": "$NOWHERE", "B": ""}}
    done = plan(broadway, {"student_pipeline": [stage]})
    assert done.code == 2
    for name, source in (("A", "NOWHERE"), ("B", "B")):
        assert f"student_pipeline[0].env, student 0: {name} refers to {source!r}" in done.err
    assert done.err.splitlines()[-1].endswith("run.json has 2 mistakes: the server would refuse the run")


def test_values_of_secret_env_are_masked(broadway):
    definition = {"env": {"KEY": "canary"}, "student_pipeline": [{"image": "any", "secret_env": ["KEY"]}]}
    for form in ("table", "wide", "csv", "json"):
        out = plan(broadway, definition, f"--output={form}").succeed()
        assert "canary" not in out and "***" in out


def test_the_plan_of_a_course(broadway):
    config = {"env": {"TERM": "fa", "P": 1}, "student_pipeline": [{"image": "any", "env": {"P": 2}}]}
    [job] = json.loads(plan(broadway, config, "--config", "--json").succeed())
    assert job["stages"][0]["env"] == {
        "TERM": "fa",
        "P": 2,
        "GRADING_RUN_ID": "<id of the run>",
        "NETID": "ada",
        "GRADING_JOB_ID": "<id of the job>",
    }


ROSTERS = [
    ("", "is empty"),
    ("NETID\n", "has no students"),
    ("NETID,NETID\na,b\n", "row 1, column 2: 'NETID' is there twice"),
    ("NETID,\na,b\n", "row 1, column 2: '' is not the name of a variable"),
    ("NET ID\na\n", "row 1, column 1: 'NET ID' is not the name"),
    ("1A\na\n", "row 1, column 1: '1A' is not the name"),
    ("NETID,SECTION\nada,1\ngrace\n", "row 3: column 'SECTION' is missing: it has 1, the header has 2"),
    ("NETID\nada\n\ngrace,2\n", "row 4: has too many columns: it has 2, the header has 1"),
    ('NETID\n"ada\n', "row 2: is not CSV"),
    ("NETID\na\0b\n", "row 2, column 'NETID': has a NUL"),
    (b"NETID\n\xff\n", "is not UTF-8 at byte 6"),
]


@pytest.mark.parametrize(("roster", "words"), ROSTERS)
def test_a_mistake_in_a_roster_is_named_with_its_place(broadway, roster, words):
    plan(broadway, DEFINITION, roster=roster).says(2, "roster.csv", words)


def test_a_roster_as_a_spreadsheet_writes_it(broadway):
    done = plan(broadway, DEFINITION, "--json", roster=b'\xef\xbb\xbfNETID,N\r\nada,"1\r\n2"\r\n,\r\ngrace,2\r\n')
    assert [job["stages"][0]["env"]["N"] for job in json.loads(done.succeed())] == ["1\r\n2", "2"]


@pytest.mark.parametrize(
    ("definition", "words"),
    [
        ("{nonsense", "is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' is there twice"),
        ('{"a": NaN}', "NaN is no number"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "must be a JSON object"),
        ({"student_pipeline": [STAGE], "students": [{}]}, "has students of its own"),
    ],
)
def test_a_mistake_in_a_definition_is_one_sentence(broadway, definition, words):
    plan(broadway, definition).says(2, "run.json", words)


BAD_CONFIGS = [
    ({}, "student_pipeline: is required"),
    ({"student_pipeline": {}}, "student_pipeline: must be a list"),
    ({"student_pipeline": [], "students": []}, "unknown key 'students'"),
    ({"student_pipeline": [{"image": "x", "enviroment": {}}]}, "student_pipeline[0]: unknown key 'enviroment'"),
    ({"student_pipeline": [{"image": "x", "timeout": "5"}]}, "student_pipeline[0].timeout: must be a number"),
    ({"student_pipeline": [{"image": "x", "entrypoint": [1]}]}, "must be a list of strings"),
    ({"student_pipeline": [{}]}, "student_pipeline[0].image: is required"),
    ({"student_pipeline": ["x"]}, "student_pipeline[0]: must be an object"),
]


@pytest.mark.parametrize(("config", "words"), BAD_CONFIGS)
def test_a_config_that_is_none_is_refused_offline(broadway, config, words):
    broadway.write("config.json", config)
    broadway("config", "validate", "config.json").says(2, words)


def test_a_config_with_all_that_it_may_have(broadway):
    config = {"student_pipeline": [{**STAGE, "privileged": False}], "pre_processing_pipeline": None, "env": {"A": [1]}}
    broadway.write("config.json", config)
    broadway("config", "validate", "config.json").succeed()


def test_verify_says_what_it_has_found_as_json(broadway):
    path = broadway.write("receipts.json", {"run_id": "f" * 24, "receipts": []})
    done = broadway("verify", path, "--json")
    found = json.loads(done.out)
    assert done.code == 1 and found.keys() == {"subject", "verifies", "faults", "keys", "key_checked"}
    assert found["verifies"] is False and found["faults"] and found["key_checked"] is False
    text = broadway("verify", path)
    assert text.code == 1 and text.out.splitlines() == found["faults"]


def test_submit_sends_the_roster(broadway, api):
    broadway.write("run.json", DEFINITION)
    broadway.write("roster.csv", "NETID\nada\n")
    broadway("run", "submit", "run.json", "--students=roster.csv", f"--server={api.url}").succeed()
    [run] = api.runs.values()
    assert run["payload"] == {**DEFINITION, "students": [{"NETID": "ada"}]} and run["state"] == "students"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "give the definition"),
        (("--assignment=hw1", "run.json"), "--assignment needs a course"),
        (("--course=cs225",), "needs --assignment"),
        (("--course=cs225", "--assignment=hw1"), "give the students by --students"),
        (("--profile=x", "--server=http://x", "run.json"), "can't be given together"),
        (("none.json",), "none.json: No such file"),
    ],
)
def test_a_submission_without_its_parts_is_not_sent(broadway, api, arguments, words):
    broadway.write("run.json", DEFINITION)
    broadway.setenv("BROADWAY_URL", api.url)
    broadway("run", "submit", *arguments).says(2, words)
    assert api.requests == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(broadway, shell):
    assert "_BROADWAY_COMPLETE" in broadway("completion", shell).succeed()


def test_a_name_with_escape_sequences_does_not_reach_the_terminal(broadway):
    with FakeApi() as fake:
        run = "6b05c5d2164163397800c81b"
        fake.runs[run] = {"state": "finished", "statuses": [("fin\x1b[2Jished", {})]}
        done = broadway("run", "status", run, f"--server={fake.url}")
        assert "\x1b" not in done.out and "fin" in done.out


def test_completion_knows_the_commands():
    environment = {
        **os.environ,
        "_BROADWAY_COMPLETE": "bash_complete",
        "COMP_WORDS": "broadway run wa",
        "COMP_CWORD": "2",
    }
    argv = [sys.executable, SCRIPTS / "broadway"]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "plain,watch\n", done.stderr
