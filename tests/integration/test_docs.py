"""The examples in docs/protocol.md match its schemas, and the server's answers match the schemas."""

import json
import re

import jsonschema
import pytest
from broadway import ROUTE, Api
from harness import ROOT
from pipelines import CONFINING_VALUES, run_of, stage
from referencing import Registry, Resource

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schemas").glob("*.json")}
# They refer to one another by file name.
REGISTRY = Registry().with_resources([(f"{name}.json", Resource.from_contents(it)) for name, it in SCHEMAS.items()])
NAMES = ("protocol.md", "receipts.md", "webhooks.md")
PAGES = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in NAMES)
EXAMPLES = re.findall(r"^```json (\w+)\n(.*?)^```", PAGES, re.M | re.S)


def names_in_tests():
    """Every name of a test, and every file of them."""
    files = [
        path for ending in ("py", "c") for path in (ROOT / "tests").rglob(f"*.{ending}") if "tools" not in path.parts
    ]
    names = {path.name for path in files} | {path.stem for path in files}
    for path in files:
        names |= set(re.findall(r"^ *(?:def|static void) (\w+)\(", path.read_text(encoding="utf-8"), re.M))
    return names


def test_every_test_that_a_page_names_exists():
    known = names_in_tests()
    for page in (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))):
        named = set(re.findall(r"`(?:[\w/]+/)?(test_\w+(?:\.py)?)`", page.read_text(encoding="utf-8")))
        assert named <= known, f"{page.name} names {sorted(named - known)}"


def test_every_name_in_the_list_of_hostile_callers_exists():
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    section = text.partition("## Hostile callers")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z]\w*_\w*_\w*)`", section))
    assert len(named) > 40 and named <= names_in_tests(), sorted(named - names_in_tests())


def check(name, value):
    jsonschema.Draft202012Validator(SCHEMAS[name], registry=REGISTRY).validate(value)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_a_schema(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[f"{n}-{name}" for n, (name, _) in enumerate(EXAMPLES)])
def test_an_example_in_the_protocol_fits_its_schema(name, text):
    check(name, json.loads(text))


def test_every_schema_refuses_other_objects():
    for schema in SCHEMAS.values():
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema, registry=REGISTRY).validate({"quite": "another thing"})


@pytest.mark.parametrize("key", CONFINING_VALUES)
def test_the_schema_of_a_run_and_the_server_accept_the_same_limits_of_a_stage(stack, key):
    accepted, refused = CONFINING_VALUES[key]
    for value in accepted:
        run = run_of(1, student_pipeline=[stage(**{key: value})])
        check("grading_run", run)
        check("grading_run_status", stack.api.status(stack.api.submit(run)))
    for value in refused:
        run = run_of(1, student_pipeline=[stage(**{key: value})])
        with pytest.raises(jsonschema.ValidationError):
            check("grading_run", run)
        answer = stack.api.request("POST", f"{ROUTE}/grading_run", json=run)
        assert answer.status_code == 400 and answer.json()["error"].startswith(f"student_pipeline[0].{key}: "), value


def test_what_the_server_answers_fits_the_schemas(stack):
    created = stack.api.request("POST", f"{ROUTE}/grading_run", json=run_of(2, pre=True, post=True)).json()
    check("grading_run_created", created)
    run = created["id"]
    check("grading_run_status", stack.api.status(run))
    check("empty", stack.api.request("POST", f"{ROUTE}/grading_run/{run}").json())
    registered = stack.api.request(
        "GET", f"{ROUTE}/worker_register", params={"token": stack.cluster_token, "hostname": "docs"}
    ).json()
    check("worker_registered", registered)
    grader = stack.grader()
    for _ in range(4):
        job = grader.take()
        check("grading_job", job)
        check("grading_run_status", stack.api.status(run, results="true"))
        check("empty", grader.finish(job, {"score": 1}, logs={"stdout": "said\n"}).json())
    status = stack.api.wait_over(run)
    assert status["state"] == "finished"
    check("grading_run_status", status)
    for path in ("grading_run/x", "grading_run/" + "0" * 24, "nowhere"):
        check("error", stack.api.request("GET", f"{ROUTE}/{path}").json())
    check("grading_run_receipts", stack.api.request("GET", f"{ROUTE}/grading_run/{run}/receipts").json())
    check("grading_job_details", stack.api.request("GET", f"{ROUTE}/grading_job/{job['job_id']}").json())
    check("receipts_key", stack.api.request("GET", f"{ROUTE}/receipts/key").json())
    check("error", stack.api.request("GET", f"{ROUTE}/grading_run/{stack.api.submit(run_of(1))}/receipts").json())
    check("error", stack.api.request("POST", f"{ROUTE}/grading_run/{run}/cancel").json())
    check("error", stack.api.request("POST", f"{ROUTE}/grading_job/{job['job_id']}/cancel").json())
    run = stack.api.submit_and_start(run_of(1))
    job = stack.grader().take()["job_id"]
    check("job_cancelled", stack.api.request("POST", f"{ROUTE}/grading_job/{job}/cancel").json())
    arguments = {"worker_id": grader.id, "jobs": job}
    check("heartbeat", stack.api.request("POST", f"{ROUTE}/heartbeat", params=arguments).json())
    check("grading_run_status", stack.api.wait_over(run))


def test_what_operators_are_answered_fits_the_schemas(stack):
    for url, schema in (
        (stack.described["api"][0]["internal_url"], "readyz"),
        (stack.described["scheduler"][0]["url"], "scheduler_readyz"),
    ):
        api = Api(url)
        check(schema, api.request("GET", "/readyz").json())
        check("healthz", api.request("GET", "/healthz").json())
        api.close()
