"""The examples in docs/protocol.md are what its schemas say, and the schemas are what the server says."""

import json
import re

import jsonschema
import pytest
from broadway import ROUTE, Api
from harness import ROOT
from pipelines import run_of
from referencing import Registry, Resource

SCHEMAS = {path.stem: json.loads(path.read_text()) for path in (ROOT / "docs" / "schemas").glob("*.json")}
# They refer to one another by file name.
REGISTRY = Registry().with_resources([(f"{name}.json", Resource.from_contents(it)) for name, it in SCHEMAS.items()])
EXAMPLES = re.findall(r"^```json (\w+)\n(.*?)^```", (ROOT / "docs" / "protocol.md").read_text(), re.M | re.S)


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


def test_every_name_in_the_list_of_what_hostile_callers_can_not_do_exists():
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    section = text.partition("## What hostile callers can't do")[2].partition("\n## ")[0]
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


def test_every_schema_refuses_what_is_not_its_own():
    for schema in SCHEMAS.values():
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema, registry=REGISTRY).validate({"quite": "another thing"})


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
    check("error", stack.api.request("POST", f"{ROUTE}/grading_run/{run}/cancel").json())


def test_what_operators_are_answered_fits_the_schemas(stack):
    for url, schema in (
        (stack.described["api"][0]["internal_url"], "readyz"),
        (stack.described["scheduler"][0]["url"], "scheduler_readyz"),
    ):
        api = Api(url)
        check(schema, api.request("GET", "/readyz").json())
        check("healthz", api.request("GET", "/healthz").json())
        api.close()
