"""Each shell example in docs/protocol.md and docs/protocol-course.md runs as it stands and gets the documented answer,
and each endpoint has one."""

import json
import re

import pytest
from broadway import ROUTE, Api
from course import Course, CourseGrader, config_of
from course_names import bearer, unique
from documented import examples_of, run_example
from harness import ROOT, run_stack
from pipelines import STUDENT, job_id_of, run_of
from stored_files import digest_of
from test_course_schemas import check as check_course
from test_docs import check as check_classic
from waiting import wait_until

CLASSIC, COURSE = "protocol.md", "protocol-course.md"
EXAMPLES = [*examples_of(CLASSIC), *examples_of(COURSE)]
CLIENT_TOKEN, COURSE_TOKEN = "client-token-of-the-pages", "staff-token-of-the-pages"
CONTENT = b"tests of the pages"

# The situation in which a request is sent: a run with one job that failed, one that WORKER holds (JOB), one that waits.
RUNNING = "running"
# Other situations: the run is not started; JOB is the job that waits; all jobs are over; WORKER is not registered.
CREATED, WAITING, OVER, NEW_WORKER = "created", "waiting", "over", "new worker"
# WEBHOOK is a webhook that was told of EVENT: a job of the run has failed.
TOLD = "told"
# Answers that are not JSON.
NOTHING, BYTES, EVENTS, METRICS, HANDSHAKE = "nothing", "bytes", "events", "metrics", "handshake"
# The OpenAPI document, and the page that shows it.
DESCRIPTION, PAGE = "description", "page"

# Per endpoint: the schema of its answer's JSON, or one of the above, and the situation that it needs.
ANSWERS = {
    CLASSIC: {
        "POST grading_run": ("grading_run_created", RUNNING),
        "GET grading_run": ("grading_runs", RUNNING),
        "GET grading_run/{id}/definition": ("grading_run", RUNNING),
        "GET grading_run/{id}": ("grading_run_status", RUNNING),
        "POST grading_run/{id}": ("empty", CREATED),
        "POST grading_run/{id}/cancel": ("empty", RUNNING),
        "POST grading_job/{job}/cancel": ("job_cancelled", RUNNING),
        "GET grading_run/{id}/jobs": ("grading_jobs", RUNNING),
        "GET grading_run/{id}/results": ("grading_run_results", RUNNING),
        "GET grading_run/{id}/estimate": ("estimate", RUNNING),
        "GET grading_job/{job}/estimate": ("estimate", RUNNING),
        "GET grading_job/{id}": ("grading_job_details", RUNNING),
        "GET grading_run/{id}/explain": ("explain_run", RUNNING),
        "GET grading_job/{job}/explain": ("explain_job", RUNNING),
        "GET grading_run/{id}/receipts": ("grading_run_receipts", OVER),
        "GET receipts/key": ("receipts_key", RUNNING),
        "GET grading_job/{job}/log": ("job_log", RUNNING),
        "GET grading_job/{job}/log follow=": (EVENTS, OVER),
        "POST grading_run/{id}/rerun": ("grading_run_created", RUNNING),
        "POST grading_run/{id}/pause": ("pause_answer", RUNNING),
        "POST grading_run/{id}/resume": ("pause_answer", RUNNING),
        "POST files": ("file", RUNNING),
        "GET files/{id}": (BYTES, RUNNING),
        "GET openapi.json": (DESCRIPTION, RUNNING),
        "GET /docs": (PAGE, RUNNING),
        "GET /docs/{id}": (PAGE, RUNNING),
        "GET audit": ("audit", RUNNING),
        "GET history": ("history", RUNNING),
        "POST cluster_pause": ("pause_answer", RUNNING),
        "POST cluster_resume": ("pause_answer", RUNNING),
        "GET pauses": ("pauses", RUNNING),
        "GET scheduling": ("scheduling", RUNNING),
        "POST scheduling/courses/{course}": ("course_share_answer", RUNNING),
        "POST scheduling/courses/{course}/delete": ("course_share_answer", RUNNING),
        "POST scheduling/reservations/{reservation}": ("reservation_answer", RUNNING),
        "POST scheduling/reservations/{reservation}/delete": ("empty", RUNNING),
        "POST worker_pause": ("pause_answer", RUNNING),
        "POST worker_resume": ("pause_answer", RUNNING),
        "GET worker_status": ("worker_status", RUNNING),
        "GET worker_explain": ("explain_worker", RUNNING),
        "GET grading_run/{id}/webhooks": ("webhooks", RUNNING),
        "GET webhooks": ("webhooks", RUNNING),
        "POST webhooks": ("webhook_created", RUNNING),
        "GET webhooks/{webhook}/deliveries": ("webhook_deliveries", TOLD),
        "POST webhooks/{webhook}/redeliver": ("empty", TOLD),
        "POST webhooks/{webhook}/delete": ("empty", TOLD),
        "GET worker_register": ("worker_registered", RUNNING),
        "GET grading_job": ("grading_job", RUNNING),
        "POST grading_job/{id}": ("empty", RUNNING),
        "GET grading_job/{job}/files/{id}": (BYTES, RUNNING),
        "POST grading_job/{job}/files": ("file", RUNNING),
        "POST grading_job/{job}/log": ("log_chunk", RUNNING),
        "POST heartbeat": (NOTHING, RUNNING),
        "POST heartbeat jobs=": ("heartbeat", RUNNING),
        "GET INTERNAL_URL/healthz": ("healthz", RUNNING),
        "GET INTERNAL_URL/readyz": ("readyz", RUNNING),
        "GET INTERNAL_URL/metrics": (METRICS, RUNNING),
        "GET SCHEDULER_URL/readyz": ("scheduler_readyz", RUNNING),
    },
    COURSE: {
        "GET grading_config/{course}/{assignment}": ("config", RUNNING),
        "POST grading_config/{course}/{assignment}": ("null", RUNNING),
        "POST grading_run/{course}/{assignment}": ("run_started", RUNNING),
        "POST grading_run/{course}/{run}/cancel": ("null", RUNNING),
        "POST grading_job/{course}/{job}/cancel": ("job_cancelled", RUNNING),
        "GET grading_runs/{course}": ("../grading_runs", RUNNING),
        "GET grading_runs/{course}/{assignment}": ("../grading_runs", RUNNING),
        "GET grading_run/{course}/{run}/status": ("run_status", RUNNING),
        "GET grading_run/{course}/{run}/definition": ("definition", RUNNING),
        "GET grading_run/{course}/{run}/jobs": ("jobs", RUNNING),
        "GET grading_run/{course}/{run}/explain": ("../explain_run", RUNNING),
        "GET grading_job/{course}/{job}/explain": ("../explain_job", RUNNING),
        "GET grading_run/{course}/{run}/receipts": ("receipts", OVER),
        "GET grading_run/{course}/{run}/results": ("run_results", RUNNING),
        "GET results/{course}": ("course_results", RUNNING),
        "GET results/{course}/{assignment}": ("course_results", RUNNING),
        "GET grading_job/{course}/{job}": ("job_details", RUNNING),
        "POST grading_run/{course}/{run}/rerun": ("run_started", RUNNING),
        "GET grading_run_status/{course}/{run}": ("status", RUNNING),
        "GET grading_run_env/{course}/{run}": ("env", RUNNING),
        "GET grading_job_log/{course}/{job}": ("log", OVER),
        "GET grading_job/{course}/{job}/log": ("../job_log", RUNNING),
        "GET queue/{course}/length": ("length", RUNNING),
        "GET queue/{course}/{job}/position": ("position", WAITING),
        "GET grading_run/{course}/{run}/estimate": ("../estimate", RUNNING),
        "GET grading_job/{course}/{job}/estimate": ("../estimate", RUNNING),
        "GET course/{course}/estimate": ("../estimate", RUNNING),
        "GET worker/{course}/{scope}": ("workers", RUNNING),
        "GET stream/{course}/{job}": (EVENTS, OVER),
        "GET stream/{course}/run/{run}": (EVENTS, OVER),
        "POST grading_run/{course}/{run}/pause": ("pause_answer", RUNNING),
        "POST grading_run/{course}/{run}/resume": ("pause_answer", RUNNING),
        "POST assignment/{course}/{assignment}/pause": ("pause_answer", RUNNING),
        "POST assignment/{course}/{assignment}/resume": ("pause_answer", RUNNING),
        "POST course/{course}/pause": ("pause_answer", RUNNING),
        "POST course/{course}/resume": ("pause_answer", RUNNING),
        "GET pauses/{course}": ("pauses", RUNNING),
        "POST files/{course}": ("stored_file", RUNNING),
        "GET files/{course}/{id}": (BYTES, RUNNING),
        "GET audit/{course}": ("../audit", RUNNING),
        "GET history/{course}": ("../history", RUNNING),
        "GET scheduling/{course}": ("share", RUNNING),
        "GET grading_run/{course}/{run}/webhooks": ("../webhooks", RUNNING),
        "GET webhooks/{course}": ("../webhooks", RUNNING),
        "POST webhooks/{course}": ("../webhook_created", RUNNING),
        "GET webhooks/{course}/{webhook}/deliveries": ("../webhook_deliveries", TOLD),
        "POST webhooks/{course}/{webhook}/redeliver": ("null", TOLD),
        "POST webhooks/{course}/{webhook}/delete": ("null", TOLD),
        "POST cluster/pause": ("pause_answer", RUNNING),
        "POST cluster/resume": ("pause_answer", RUNNING),
        "GET cluster/pauses": ("pauses", RUNNING),
        "POST worker/{worker}/pause": ("pause_answer", RUNNING),
        "POST worker/{worker}/resume": ("pause_answer", RUNNING),
        "GET worker/{worker}": ("worker", RUNNING),
        "GET worker/{worker}/explain": ("../explain_worker", RUNNING),
        "POST worker/{worker}": ("registered", NEW_WORKER),
        "GET grading_job/{worker}": ("job", RUNNING),
        "POST grading_job/{worker}": ("null", RUNNING),
        "GET grading_job/{worker}/{job}/files/{id}": (BYTES, RUNNING),
        "POST grading_job/{worker}/{job}/files": ("stored_file", RUNNING),
        "POST grading_job/{worker}/{job}/log": ("../log_chunk", RUNNING),
        "POST heartbeat/{worker}": (NOTHING, RUNNING),
        "POST heartbeat/{worker} jobs=": ("cancelled_jobs", RUNNING),
        "GET worker_ws/{worker}": (HANDSHAKE, NEW_WORKER),
    },
}


def endpoint_of(example, request):
    """The key of a request's endpoint in ANSWERS."""
    found = []
    for key in ANSWERS[example.page]:
        method, path, variant = (*key.split(" "), "")[:3]
        server, _, rest = path.partition("_URL/")
        template = f"/{rest}" if rest else path if path.startswith("/") else f"{ROUTE}/{path}"
        same_server = request.server == (f"{server}_URL" if rest else "BROADWAY_URL")
        if same_server and (method, variant) == (request.method, request.variant) and request.is_of(template):
            found.append(key)
    fewest = min((key.count("{") for key in found), default=0)
    found = [key for key in found if key.count("{") == fewest]  # worker/{worker}/explain is no worker/{course}/{scope}
    assert len(found) == 1, f"{example}: {request} is a request to {found or 'no endpoint of this page'}"
    return found[0]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    config = tmp_path_factory.mktemp("courses") / "courses.json"
    config.write_text(json.dumps({"cs225": {"tokens": [COURSE_TOKEN]}}), encoding="utf-8")
    api = (f"course-config={config}", f"client-token={CLIENT_TOKEN}", "course-poll-wait=0")
    yield from run_stack(tmp_path_factory, "pages", replicas=2, api=api)


@pytest.fixture
def situation(stack):
    """Prepares a situation, and ends its runs and pauses after the test."""
    yield lambda page, name: classic(stack, name) if page == CLASSIC else course(stack, name)
    staff = Course(stack.urls[0], "cs225", COURSE_TOKEN)
    staff.ask("POST", "/course/cs225/resume")
    stack.api.request("POST", f"{ROUTE}/cluster_resume", headers=bearer(stack.cluster_token))
    for run in stack.database.active_runs():
        if staff.cancel(run).status_code != 200:
            client = Api(stack.urls[0], headers=bearer(CLIENT_TOKEN))
            client.request("POST", f"{ROUTE}/grading_run/{run}/cancel")
            client.close()
    staff.close()
    stack.stop_graders()


def webhook_of(stack, run):
    """The webhook of a run, and an event that it has been told of."""
    deliveries = stack.database.db.webhook_deliveries
    webhook = stack.database.db.webhooks.find_one({"run": run})["_id"]
    delivery = wait_until(lambda: deliveries.find_one({"webhook": webhook}), 5, "an event is recorded")
    return {"WEBHOOK": webhook, "EVENT": delivery["event_id"]}


def classic(stack, name):
    client = Api(stack.urls[0], headers=bearer(CLIENT_TOKEN))
    assert client.request("POST", f"{ROUTE}/files", content=CONTENT).status_code == 200
    webhooks = {"webhooks": [{"url": "http://127.0.0.1:9/"}]} if name == TOLD else {}
    run = client.submit(run_of(3, **webhooks, files=[{"path": "tests", "digest": digest_of(CONTENT)}]))
    grader = stack.grader(hostname="lab-7", files="true", cancel="true")
    job = job_id_of(run, STUDENT)
    if name != CREATED:
        client.start(run)
        grader.finish(grader.take(), success=False)
        job = grader.take()["job_id"]
    if name == OVER:
        grader.finish(job, logs={"stdout": "test 1 ok\n"})
        grader.finish(grader.take())
        client.wait_over(run)
    client.close()
    told = webhook_of(stack, run) if name == TOLD else {}
    return {"TOKEN": CLIENT_TOKEN, "COURSE": "cs225", "RUN": run, "JOB": job, "WORKER": grader.id, **told}


def course(stack, name):
    staff = Course(stack.urls[0], "cs225", COURSE_TOKEN)
    assert staff.ask("POST", "/files/cs225", CONTENT).status_code == 200
    assignment = staff.configure(config_of(), unique("mp"))
    webhooks = {"webhooks": [{"url": "http://127.0.0.1:9/"}]} if name == TOLD else {}
    run = staff.start(assignment, 3, **webhooks, files=[{"path": "tests", "digest": digest_of(CONTENT)}])
    grader = CourseGrader(stack.urls[0], stack.cluster_token, files=True, cancel=True)
    grader.finish(grader.take(), success=False)
    job = grader.take()["grading_job_id"]
    if name == OVER:
        grader.finish(job)
        grader.finish(grader.take())
    if name == WAITING:
        job = job_id_of(run, STUDENT, 2)
    worker = unique("worker") if name == NEW_WORKER else grader.name
    staff.close()
    grader.close()
    told = webhook_of(stack, run) if name == TOLD else {}
    return {
        "TOKEN": COURSE_TOKEN, "COURSE": "cs225", "ASSIGNMENT": assignment, "RUN": run, "JOB": job, "WORKER": worker,
        **told,
    }  # fmt: skip


def check(page, kind, seen):
    """An answer has the status and the form of its endpoint's row."""
    answer = seen["answer"]
    if kind == PAGE and seen["status"] == 404:
        assert "this server was built without npm" in answer
        return
    assert seen["status"] == (101 if kind == HANDSHAKE else 200), seen
    if kind == NOTHING:
        assert answer == ""
    elif kind == BYTES:
        assert answer == CONTENT.decode()
    elif kind == EVENTS:
        assert re.search("^event: ", answer, re.M), answer
    elif kind == DESCRIPTION:
        assert json.loads(answer)["openapi"] == "3.1.0"
    elif kind == PAGE:
        assert "operations" in answer
    elif kind == METRICS:
        assert "\nbroadway_build_info" in answer
    elif kind == HANDSHAKE:
        assert "Broadway-Max-Result-Bytes: " in answer
    elif page == CLASSIC:
        check_classic(kind, json.loads(answer))
    else:
        check_envelope(kind, json.loads(answer))


def check_envelope(kind, answer):
    assert set(answer) == {"status", "data"} and answer["status"] == "success", answer
    if kind == "null":
        assert answer["data"] is None
    elif kind.startswith("../"):
        check_classic(kind[3:], answer["data"])
    else:
        check_course(kind, answer["data"])


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_an_example_runs_and_gets_the_documented_answer(stack, situation, tmp_path, example):
    endpoints = [endpoint_of(example, request) for request in example.requests]
    assert endpoints, f"{example} has no request that this test knows"
    rows = [ANSWERS[example.page][endpoint] for endpoint in endpoints]
    needed = {situation for _, situation in rows if situation != RUNNING} or {RUNNING}
    assert len(needed) == 1, f"{example} needs several situations: {needed}"
    (tmp_path / "tests.tar").write_bytes(CONTENT)
    variables = {
        "BROADWAY_URL": stack.urls[0],
        "INTERNAL_URL": stack.described["api"][0]["internal_url"],
        "SCHEDULER_URL": stack.described["scheduler"][0]["url"],
        "CLUSTER_TOKEN": stack.cluster_token,
        "DIGEST": digest_of(CONTENT),
        **situation(example.page, needed.pop()),
    }
    seen = run_example(example, tmp_path, variables)
    assert [it["method"] for it in seen] == [request.method for request in example.requests]
    for (kind, _), it in zip(rows, seen, strict=True):
        check(example.page, kind, it)


@pytest.mark.parametrize("page", [CLASSIC, COURSE])
def test_each_endpoint_has_an_example_on_its_page(page):
    shown = {
        endpoint_of(example, request) for example in EXAMPLES if example.page == page for request in example.requests
    }
    assert set(ANSWERS[page]) - shown == set()


@pytest.mark.parametrize(("page", "source"), [(CLASSIC, "classic"), (COURSE, "course")])
def test_the_table_of_answers_has_each_route(page, source):
    text = (ROOT / "api" / source / "routes.c").read_text(encoding="utf-8")
    routes = re.findall(r'^ *\{"(\w+)", (?:PATH )?"(?:/api/v1/)?([^"]*)"', text, re.M)
    assert len(routes) > 25
    known = {key.rsplit(" ", 1)[0] if key.endswith("=") else key for key in ANSWERS[page]}
    assert {f"{method} {path}" for method, path in routes} == {key for key in known if "_URL" not in key}


@pytest.mark.parametrize("page", [CLASSIC, COURSE])
def test_shell_lines_are_labelled_sh(page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert len(re.findall(r"(?<![\w.])curl ", text)) == sum(len(it.requests) for it in EXAMPLES if it.page == page)
