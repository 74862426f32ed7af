"""Requests that schemathesis makes from the OpenAPI document, valid and invalid ones, against a running system: no
answer is a 5xx, has a status, a type or a body that the document does not describe, or comes without a credential that
the document demands; and what its schemas refuse is refused.

    pytest tests/integration/test_openapi_cases.py                                      # a few hundred, always the same
    pytest tests/integration/test_openapi_cases.py --openapi-cases 2000 --openapi-seed 7

Left out: websockets, streams of events and logs that are followed, whose answers last as long as a job; the page, whose
files are no data. The other tests compare their answers with the document.
"""

import json
import math
import re

import httpx
import hypothesis
import hypothesis.configuration
import pytest
import schemathesis
from broadway import Api, ClassicGrader
from course import Course, CourseGrader, config_of
from course_names import bearer, unique
from described import DOCUMENT
from harness import ROOT, run_stack
from hypothesis import strategies
from pipelines import run_of
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.parameters import ParameterLocation
from stored_files import digest_of

hypothesis.configuration.set_hypothesis_home_dir(ROOT / "build" / "hypothesis")
CONTENT = b"a file"
COURSE, TOKEN, QUERY_TOKEN = "cs225", "staff-token-of-the-cases", "query-token-of-the-cases"
SCHEMA = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_text(encoding="utf-8")))
load_all_checks()
CHOSEN = [
    CHECKS.get_one(name)
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
]
# Checks of a body, which a heartbeat's answer has only if the heartbeat names its jobs.
OF_BODIES = [CHECKS.get_one(name) for name in ("content_type_conformance", "response_schema_conformance")]


def is_endless(operation):
    """Whether an answer is only a stream, a websocket or a file of the page."""
    raw = operation.definition.raw
    contents = raw["responses"].get("200", {}).get("content", {})
    return "101" in raw["responses"] or set(contents) in ({"text/event-stream"}, {"*/*"})


def has_limits(operation):
    """Whether the document allows only some requests, so that there are others."""
    raw = operation.definition.raw
    free = {"type": "string", "pattern": "^[^/]+$"}
    return "requestBody" in raw or any(it["schema"] != free for it in raw["parameters"])


OPERATIONS = [it.ok() for it in SCHEMA.get_all_operations() if not is_endless(it.ok())]
CASES = [(it, GenerationMode.POSITIVE) for it in OPERATIONS]
CASES += [(it, GenerationMode.NEGATIVE) for it in OPERATIONS if has_limits(it)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps({COURSE: {"tokens": [TOKEN], "query_tokens": [QUERY_TOKEN]}}), encoding="utf-8")
    api = (f"course-config={config}", "poll-wait=0", "course-poll-wait=0")
    yield from run_stack(tmp_path_factory, "cases", api=api)


@pytest.fixture(scope="module")
def things(stack):
    """{name in a path: ids of things that there are}, for both protocols."""
    client = Api(stack.urls[0])
    staff = Course(stack.urls[0], COURSE, TOKEN)
    assert client.request("POST", "/api/v1/files", content=CONTENT).status_code == 200
    assert staff.ask("POST", f"/files/{COURSE}", CONTENT).status_code == 200
    runs = [client.submit(run_of(2)) for _ in range(3)]
    client.start(runs[1])
    grader = ClassicGrader(stack.urls[0], stack.cluster_token, hostname="lab")
    jobs = [grader.take()["job_id"], grader.take()["job_id"]]
    grader.finish(jobs[0], {"score": 1}, logs={"stdout": "a line\n"})
    assignment = staff.configure(config_of(), unique())
    course_run = staff.start(assignment, 3)
    course_grader = CourseGrader(stack.urls[0], stack.cluster_token)
    course_jobs = [course_grader.take()["grading_job_id"], course_grader.take()["grading_job_id"]]
    course_grader.finish(course_jobs[0])
    for it in (client, staff, grader, course_grader):
        it.close()
    return {
        "classic": {"run": runs, "job": jobs, "id": [digest_of(CONTENT)]},
        "course": {
            "course": [COURSE], "assignment": [assignment], "run": [course_run], "job": course_jobs,
            "worker": [course_grader.name], "id": [digest_of(CONTENT)], "scope": ["all"],
        },
        "worker_id": [grader.id],
    }  # fmt: skip


def credentials_of(operation, stack):
    """The headers of one of the ways that the operation names."""
    tokens = {"course_token": TOKEN, "query_token": QUERY_TOKEN, "cluster_token": stack.cluster_token}
    names = [name for way in operation.definition.raw["security"] for name in way if name in tokens]
    return bearer(tokens[names[0]]) if names else {}


def known_value(operation, name, things, pick):
    """An id of something that there is, for a name in the operation's path."""
    is_course = operation.definition.raw["operationId"].startswith("course_")
    kinds = things["course" if is_course else "classic"]
    if name == "id" and not is_course:
        name = {"grading_run": "run", "grading_job": "job"}.get(operation.path.split("/")[3], "id")
        name = "id" if operation.path.endswith("/files/{id}") else name
    if is_course and operation.path == "/api/v1/files/{id}":
        name = "course"  # in the document the path has the name of the classic protocol
    values = kinds.get(name, ["unknown"])
    return values[pick % len(values)]


def prepare(case, things, pick):
    """Lets most cases name things that there are, and none of them wait."""
    is_valid = case.meta.generation.mode is GenerationMode.POSITIVE
    if pick > 0 and not case.meta.is_negative_at(ParameterLocation.PATH):
        for name in case.path_parameters:
            case.path_parameters[name] = known_value(case.operation, name, things, pick)
    for place in (case.query, case.body):
        if not isinstance(place, dict):
            continue
        place.pop("follow", None)
        if is_valid and "wait" in place:
            place["wait"] = 0
        if pick > 0 and is_valid and "worker_id" in place:
            place["worker_id"] = things["worker_id"][0]


@pytest.mark.parametrize(
    ("operation", "mode"), CASES, ids=[f"{it.definition.raw['operationId']}-{mode.value}" for it, mode in CASES]
)
def test_cases_of_an_operation_get_described_answers(request, stack, things, operation, mode):
    cases = request.config.getoption("--openapi-cases")
    sent = 0

    @hypothesis.seed(request.config.getoption("--openapi-seed"))
    @hypothesis.settings(
        max_examples=max(1, math.ceil(cases / len(CASES))),
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(mode), pick=strategies.integers(0, 3))
    def send(case, pick):
        nonlocal sent
        prepare(case, things, pick)
        lacks_header = case.meta.is_negative_at(ParameterLocation.HEADER)
        headers = {} if lacks_header else credentials_of(operation, stack)
        answer = case.call(base_url=stack.urls[0], headers=headers, timeout=30)
        is_empty = operation.definition.raw["responses"]["200"].get("x-broadway-may-be-empty") and not answer.content
        case.validate_response(answer, checks=CHOSEN, excluded_checks=OF_BODIES if is_empty else None)
        sent += 1

    send()
    request.config.stash.setdefault(SENT, []).append(sent)


@pytest.mark.parametrize(
    "operation",
    [it for it in OPERATIONS if {} not in it.definition.raw["security"]],
    ids=lambda it: it.definition.raw["operationId"],
)
def test_an_operation_that_demands_a_token_is_401_without(stack, things, operation):
    path = operation.path
    for name in re.findall(r"\{(\w+)\}", path):
        path = path.replace(f"{{{name}}}", known_value(operation, name, things, 0))
    answer = httpx.request(operation.method, stack.urls[0] + path, trust_env=False)
    assert answer.status_code == 401, answer.text


SENT = pytest.StashKey[list]()


def test_as_many_cases_as_asked_for_were_sent(request):
    sent = request.config.stash.get(SENT, [])
    if len(sent) < len(CASES):
        pytest.skip("only some operations were chosen")
    print(f"{sum(sent)} cases")
    assert sum(sent) >= request.config.getoption("--openapi-cases")
