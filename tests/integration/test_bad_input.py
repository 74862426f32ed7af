"""Bad input, as a table: each case gets its status and a sentence that names the key or the value, and nothing in the
database changes. Never a 500, never a dropped connection."""

import json
import urllib.parse
from dataclasses import dataclass, field

import pytest
from broadway import ROUTE, Api, ClassicGrader, error_of
from harness import run_stack
from pipelines import run_of, stage, without
from waiting import wait_until

RUN = f"{ROUTE}/grading_run"
JOB = f"{ROUTE}/grading_job"
BEAT = f"{ROUTE}/heartbeat"
REGISTER = f"{ROUTE}/worker_register"


@pytest.fixture(scope="module")
def quiet_stack(tmp_path_factory):
    """A stack in which no worker times out during the table of cases."""
    yield from run_stack(tmp_path_factory, "bad-input", both=("heartbeat-interval=600",))


@pytest.fixture(scope="module")
def world(quiet_stack):
    """One object of each kind that a request may name: values for the placeholders in the table."""
    api = quiet_stack.api
    grader = ClassicGrader(api.url, quiet_stack.cluster_token)
    stranger = ClassicGrader(api.url, quiet_stack.cluster_token)
    created = api.submit(run_of(2))
    started = api.submit_and_start(run_of(3))
    done, job = grader.take(), grader.take()
    grader.finish(done, "first", logs={"stdout": "x"})
    return {
        "run": created,
        "started": started,
        "job": job["job_id"],
        "done": done["job_id"],
        "queued": f"{started}10000002",
        "worker": grader.id,
        "stranger": stranger.id,
        "token": quiet_stack.cluster_token,
    }


@pytest.fixture
def unchanged(quiet_stack, world):
    """Checks that the test changes nothing in the database."""
    before = quiet_stack.database.snapshot()
    yield world
    assert quiet_stack.database.snapshot() == before


def fill(value, world):
    """Replaces placeholders like <run> in texts, at any depth."""
    if isinstance(value, str):
        for name, known in world.items():
            value = value.replace(f"<{name}>", known)
        return value
    if isinstance(value, bytes):
        return fill(value.decode("latin-1"), world).encode("latin-1")
    if isinstance(value, dict):
        return {fill(key, world): fill(item, world) for key, item in value.items()}
    return [fill(item, world) for item in value] if isinstance(value, list) else value


# ---- Submissions ----

GOOD = run_of(1)
DEEP = "[" * 5000 + "]" * 5000


def with_stage(**more):
    return {**GOOD, "student_pipeline": [stage(), stage(**more)]}


def raw_json(text):
    """A submission whose students are this text."""
    return '{"student_pipeline": [{"image": "x"}], "students": ' + text + "}"


# name: (submission, text that the sentence must contain). A submission that is text is sent unchanged.
SUBMISSIONS = {
    # keys that are missing
    "no student_pipeline": (without(GOOD, "student_pipeline"), "student_pipeline"),
    "no students": (without(GOOD, "students"), "students"),
    "nothing at all": ({}, "student_pipeline"),
    "a stage without image": ({**GOOD, "student_pipeline": [{"env": {}}]}, "student_pipeline[0].image"),
    "a pre stage without image": ({**GOOD, "preprocessing_pipeline": [{}]}, "preprocessing_pipeline[0].image"),
    "a post stage without image": ({**GOOD, "postprocessing_pipeline": [{}]}, "postprocessing_pipeline[0].image"),
    # keys of a wrong type
    "student_pipeline an object": ({**GOOD, "student_pipeline": {}}, "student_pipeline"),
    "student_pipeline null": ({**GOOD, "student_pipeline": None}, "student_pipeline"),
    "student_pipeline text": ({**GOOD, "student_pipeline": "x"}, "student_pipeline"),
    "students an object": ({**GOOD, "students": {"NETID": "a"}}, "students"),
    "students a number": ({**GOOD, "students": 3}, "students"),
    "students null": ({**GOOD, "students": None}, "students"),
    "a student a string": ({**GOOD, "students": [{"NETID": "a"}, "b"]}, "students[1]"),
    "a student null": ({**GOOD, "students": [None]}, "students[0]"),
    "a student's value a number": ({**GOOD, "students": [{"NETID": 7}]}, "students[0].NETID"),
    "a student's value a boolean": ({**GOOD, "students": [{"NETID": True}]}, "students[0].NETID"),
    "a student's value null": ({**GOOD, "students": [{"NETID": None}]}, "students[0].NETID"),
    "a student's value a list": ({**GOOD, "students": [{"NETID": ["a"]}]}, "students[0].NETID"),
    "a student's value an object": ({**GOOD, "students": [{"NETID": {"$ne": ""}}]}, "students[0].NETID"),
    "preprocessing_pipeline null": ({**GOOD, "preprocessing_pipeline": None}, "preprocessing_pipeline"),
    "preprocessing_pipeline true": ({**GOOD, "preprocessing_pipeline": True}, "preprocessing_pipeline"),
    "postprocessing_pipeline text": ({**GOOD, "postprocessing_pipeline": "x"}, "postprocessing_pipeline"),
    "env a list": ({**GOOD, "env": ["A=1"]}, "env"),
    "env null": ({**GOOD, "env": None}, "env"),
    "env's value a number": ({**GOOD, "env": {"A": 1}}, "env.A"),
    "env's value an object": ({**GOOD, "env": {"A": {"$gt": ""}}}, "env.A"),
    "a stage text": ({**GOOD, "student_pipeline": ["x"]}, "student_pipeline[0]"),
    "a stage null": ({**GOOD, "student_pipeline": [None]}, "student_pipeline[0]"),
    "image a number": (with_stage(image=3), "student_pipeline[1].image"),
    "image null": (with_stage(image=None), "student_pipeline[1].image"),
    "image empty": (with_stage(image=""), "student_pipeline[1].image"),
    "stage env a list": (with_stage(env=["A=1"]), "student_pipeline[1].env"),
    "stage env's value a number": (with_stage(env={"A": 1}), "student_pipeline[1].env.A"),
    "entrypoint text": (with_stage(entrypoint="sh"), "student_pipeline[1].entrypoint"),
    "entrypoint with a number": (with_stage(entrypoint=["sh", 1]), "student_pipeline[1].entrypoint"),
    "enable_networking text": (with_stage(enable_networking="true"), "student_pipeline[1].enable_networking"),
    "enable_networking 1": (with_stage(enable_networking=1), "student_pipeline[1].enable_networking"),
    "networking null": (with_stage(networking=None), "student_pipeline[1].networking"),
    "host_name a list": (with_stage(host_name=[]), "student_pipeline[1].host_name"),
    "hostname a number": (with_stage(hostname=1), "student_pipeline[1].hostname"),
    "timeout text": (with_stage(timeout="60"), "student_pipeline[1].timeout"),
    "timeout zero": (with_stage(timeout=0), "student_pipeline[1].timeout"),
    "timeout negative": (with_stage(timeout=-1), "student_pipeline[1].timeout"),
    "timeout huge": (with_stage(timeout=1e300), "student_pipeline[1].timeout"),
    "memory a number": (with_stage(memory=512), "student_pipeline[1].memory"),
    "cpuset_cpus a number": (with_stage(cpuset_cpus=0), "student_pipeline[1].cpuset_cpus"),
    "logs text": (with_stage(logs="yes"), "student_pipeline[1].logs"),
    "privileged": (with_stage(privileged=True), "student_pipeline[1].privileged"),
    "privileged text": (with_stage(privileged="false"), "student_pipeline[1].privileged"),
    "priority text": ({**GOOD, "priority": "1"}, "priority"),
    "priority a fraction": ({**GOOD, "priority": 1.5}, "priority"),
    "priority above 100": ({**GOOD, "priority": 101}, "priority"),
    "priority below -100": ({**GOOD, "priority": -101}, "priority"),
    "max_attempts 0": ({**GOOD, "max_attempts": 0}, "max_attempts"),
    "max_attempts 11": ({**GOOD, "max_attempts": 11}, "max_attempts"),
    "max_attempts a boolean": ({**GOOD, "max_attempts": True}, "max_attempts"),
    "name a number": ({**GOOD, "name": 3}, "name"),
    "name null": ({**GOOD, "name": None}, "name"),
    # unknown keys, at every level
    "unknown at the top": ({**GOOD, "studnets": []}, "studnets"),
    "unknown _id": ({**GOOD, "_id": "0" * 24}, "_id"),
    "unknown $where": ({**GOOD, "$where": "1"}, "$where"),
    "unknown in a stage": (with_stage(enviroment={}), "enviroment"),
    "unknown in a pre stage": ({**GOOD, "preprocessing_pipeline": [stage(Image="x")]}, "Image"),
    "unknown in a post stage": ({**GOOD, "postprocessing_pipeline": [stage(cmd=[])]}, "cmd"),
    # names of environment variables
    "env name with a hyphen": ({**GOOD, "env": {"MY-VAR": "x"}}, "MY-VAR"),
    "env name with a dot": ({**GOOD, "students": [{"NETID": "a", "net.id": "x"}]}, "net.id"),
    "env name with a dollar": ({**GOOD, "env": {"$ne": "x"}}, "$ne"),
    "env name with a digit first": (with_stage(env={"1A": "x"}), "1A"),
    "env name empty": (with_stage(env={"": "x"}), "env"),
    "env name with =": (with_stage(env={"A=B": "x"}), "A=B"),
    "env name with ü": (with_stage(env={"ü": "x"}), "ü"),
    # references that nothing resolves
    "a reference to nowhere": (with_stage(env={"A": "$NOWHERE"}), ("student_pipeline[1]", "NOWHERE", "0")),
    "an empty value without a namesake": (with_stage(env={"LOST": ""}), ("student_pipeline[1]", "LOST")),
    "a lone dollar": (with_stage(env={"A": "$"}), "student_pipeline[1]"),
    "a reference with braces": (with_stage(env={"A": "${NETID}"}), "{NETID}"),
    "a reference with a hyphen": (with_stage(env={"A": "$A-B"}), "A-B"),
    "pre refers to a student's": (
        {**GOOD, "preprocessing_pipeline": [stage(env={"A": "$NETID"})]},
        "preprocessing_pipeline[0]",
    ),
    "post refers to a student's": (
        {**GOOD, "postprocessing_pipeline": [stage(env={"NETID": ""})]},
        "postprocessing_pipeline[0]",
    ),
    "a reference that one student lacks": (
        {"student_pipeline": [stage(env={"G": ""})], "students": [{"G": "1"}, {"NETID": "x"}]},
        ("student_pipeline[0]", "G", "1"),
    ),
    # too long, too many, both names of one thing
    "an image of 100 kB": (with_stage(image="i" * 100000), "student_pipeline[1].image"),
    "a name of 100 kB": ({**GOOD, "name": "n" * 100000}, "name"),
    "a hostname of 1 kB": (with_stage(host_name="h" * 1000), "host_name"),
    "an env name of 10 kB": ({**GOOD, "env": {"E" * 10000: "x"}}, "env"),
    "10,000 stages": ({**GOOD, "student_pipeline": [stage()] * 10000}, "student_pipeline"),
    "both names of networking": (with_stage(networking=True, enable_networking=False), "networking"),
    "both names of hostname": (with_stage(hostname="a", host_name="b"), "host_name"),
    # not JSON, or JSON that is refused
    "not JSON": ("{nonsense", "JSON"),
    "cut off": (json.dumps(GOOD)[:-5], "JSON"),
    "two objects": (json.dumps(GOOD) * 2, "JSON"),
    "NaN": (raw_json('[{}], "priority": NaN'), "JSON"),
    "a comma too many": (raw_json("[{},]"), "JSON"),
    "a key twice": (raw_json('[], "students": [{}]'), "twice"),
    "a key twice, deep": (raw_json('[{"NETID": "a", "NETID": "b"}]'), "twice"),
    "a huge integer": (raw_json('[], "priority": 123456789012345678901234567890'), "number"),
    "a huge exponent": (raw_json('[], "priority": 1e999'), "number"),
    "NUL as an escape": (raw_json('[{"NETID": "a\\u0000b"}]'), "NUL"),
    "NUL in a key": (raw_json('[{"NET\\u0000ID": "a"}]'), "NUL"),
    "a lone surrogate": (raw_json('[{"NETID": "\\ud800"}]'), "JSON"),
    "bytes that are not UTF-8": (raw_json('[{"NETID": "').encode() + b"\xff\xfe" + b'"}]}', "UTF-8"),
    "overlong UTF-8": (raw_json('[{"NETID": "').encode() + b"\xc0\xaf" + b'"}]}', "UTF-8"),
    "5,000 levels": (raw_json(DEEP), "levels"),
    "33 levels": (raw_json("[" * 33 + "]" * 33), "levels"),
    "5,000 levels of objects": (raw_json('{"a":' * 5000 + "1" + "}" * 5000), "levels"),
}


@pytest.mark.parametrize("name", SUBMISSIONS)
@pytest.mark.parametrize("place", ["body", "argument"])
def test_a_bad_submission_is_400_and_names_the_error(quiet_stack, unchanged, name, place):
    definition, named = SUBMISSIONS[name]
    text = definition if isinstance(definition, (str, bytes)) else json.dumps(definition)
    if place == "body":
        answer = quiet_stack.api.request("POST", RUN, content=text)
    else:
        form = urllib.parse.urlencode({"json_payload": text})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = quiet_stack.api.request("POST", RUN, content=form, headers=headers)
    assert answer.status_code == 400, answer.text
    sentence = error_of(answer)
    for word in (named,) if isinstance(named, str) else named:
        assert word in sentence, sentence
    assert len(sentence) < 1000, "a sentence does not repeat what is too long"


# ---- Everything else ----


@dataclass
class Case:
    """One request; <run>, <job>, ... stand for real ids."""

    method: str
    path: str
    status: int
    names: str
    params: dict = None
    data: dict = None
    json: object = None
    content: bytes = None
    headers: dict = field(default_factory=dict)


def post_result(status, names, job="<job>", **body):
    return Case("POST", f"{JOB}/{job}", status, names, json={"worker_id": "<worker>", "result": "r", **body})


CASES = {
    # the payload itself
    "no payload": Case("POST", RUN, 400, "json_payload"),
    "an empty payload": Case("POST", RUN, 400, "json_payload", data={"json_payload": ""}),
    "a payload by another name": Case("POST", RUN, 400, "payload", data={"payload": "{}"}),
    "a payload and something else": Case(
        "POST", RUN, 400, "extra", data={"json_payload": json.dumps(GOOD), "extra": "1"}
    ),
    "a payload twice": Case("POST", RUN, 400, "json_payload", content=b"json_payload=%7B%7D&json_payload=%7B%7D"),
    "a payload that is a list": Case("POST", RUN, 400, "object", data={"json_payload": "[]"}),
    "a payload that is text": Case("POST", RUN, 400, "object", data={"json_payload": '"x"'}),
    "a payload that is null": Case("POST", RUN, 400, "", data={"json_payload": "null"}),
    "a body that is a list": Case("POST", RUN, 400, "", content=b"[]", headers={"Content-Type": "application/json"}),
    "a body of zeros": Case("POST", RUN, 400, "", content=bytes(1000)),
    "a body of noise": Case("POST", RUN, 400, "", content=bytes(range(256)) * 8),
    "an unknown query argument": Case("POST", RUN, 400, "dry_run", params={"dry_run": "1"}, json=GOOD),
    "a multipart body without its boundary": Case(
        "POST", RUN, 400, "", content=b"--x\r\n\r\n", headers={"Content-Type": "multipart/form-data"}
    ),
    # run ids
    "run id -1": Case("GET", f"{RUN}/-1", 400, "-1"),
    "run id short": Case("GET", f"{RUN}/123", 400, "123"),
    "run id long": Case("GET", f"{RUN}/<run>0", 400, "<run>0"),
    "run id of 5 kB": Case("GET", f"{RUN}/{'a' * 5000}", 400, "aaa"),
    "run id not hex": Case("GET", f"{RUN}/{'g' * 24}", 400, "g" * 24),
    "run id in upper case": Case("GET", f"{RUN}/{'ABCDEF' * 4}", 400, "ABCDEF"),
    "run id unknown": Case("GET", f"{RUN}/{'0' * 24}", 400, "0" * 24),
    "run id as operator": Case("GET", f"{RUN}/%24ne", 400, "$ne"),
    "run id as object": Case("GET", f"{RUN}/%7B%22%24gt%22%3A%22%22%7D", 400, "$gt"),
    "run id with a space": Case("GET", f"{RUN}/<run>%20", 400, "<run>"),
    "run id with a newline": Case("GET", f"{RUN}/<run>%0A", 400, "<run>"),
    "run id not UTF-8": Case("GET", f"{RUN}/%FF%FE", 400, ""),
    "run id ü": Case("GET", f"{RUN}/%C3%BC", 400, ""),
    "start -1": Case("POST", f"{RUN}/-1", 400, "-1"),
    "start unknown": Case("POST", f"{RUN}/{'f' * 24}", 400, "f" * 24),
    "start twice": Case("POST", f"{RUN}/<started>", 400, "start"),
    "start with an unknown argument": Case("POST", f"{RUN}/<run>", 400, "force", params={"force": "1"}),
    # the query of a status
    "results maybe": Case("GET", f"{RUN}/<run>", 400, "results", params={"results": "maybe"}),
    "students empty": Case("GET", f"{RUN}/<run>", 400, "students", params={"students": ""}),
    "offset negative": Case("GET", f"{RUN}/<run>", 400, "offset", params={"offset": "-1"}),
    "offset text": Case("GET", f"{RUN}/<run>", 400, "offset", params={"offset": "abc"}),
    "offset a fraction": Case("GET", f"{RUN}/<run>", 400, "offset", params={"offset": "1.5"}),
    "limit negative": Case("GET", f"{RUN}/<run>", 400, "limit", params={"limit": "-5"}),
    "limit huge": Case("GET", f"{RUN}/<run>", 400, "limit", params={"limit": "99999999999999999999"}),
    "limit empty": Case("GET", f"{RUN}/<run>", 400, "limit", params={"limit": ""}),
    "an unknown argument of a status": Case("GET", f"{RUN}/<run>", 400, "page", params={"page": "2"}),
    "an argument twice": Case("GET", f"{RUN}/<run>?limit=1&limit=2", 400, "limit"),
    # registration
    "register without token": Case("GET", REGISTER, 400, "token"),
    "register with an unknown argument": Case("GET", REGISTER, 400, "name", params={"token": "<token>", "name": "x"}),
    "concurrency 0": Case("GET", REGISTER, 400, "concurrency", params={"token": "<token>", "concurrency": "0"}),
    "concurrency -1": Case("GET", REGISTER, 400, "concurrency", params={"token": "<token>", "concurrency": "-1"}),
    "concurrency text": Case("GET", REGISTER, 400, "concurrency", params={"token": "<token>", "concurrency": "all"}),
    "concurrency huge": Case("GET", REGISTER, 400, "concurrency", params={"token": "<token>", "concurrency": "9" * 30}),
    "hostname of 10 kB": Case("GET", REGISTER, 400, "hostname", params={"token": "<token>", "hostname": "h" * 6000}),
    "hostname with a newline": Case("GET", REGISTER, 400, "hostname", params={"token": "<token>", "hostname": "a\nb"}),
    # polls and heartbeats
    "poll without worker": Case("GET", JOB, 400, "worker_id"),
    "poll of an unknown worker": Case("GET", JOB, 400, "worker", params={"worker_id": "0" * 32}),
    "poll with an operator": Case("GET", JOB, 400, "worker_id[$ne]", params={"worker_id[$ne]": "x"}),
    "poll with an unknown argument": Case("GET", JOB, 400, "timeout", params={"worker_id": "<worker>", "timeout": "1"}),
    "poll with a bad wait": Case("GET", JOB, 400, "wait", params={"worker_id": "<worker>", "wait": "soon"}),
    "heartbeat without worker": Case("POST", BEAT, 400, "worker_id"),
    "heartbeat of an unknown worker": Case("POST", BEAT, 400, "worker", data={"worker_id": "nobody"}),
    "heartbeat of an object": Case("POST", BEAT, 400, "worker_id", json={"worker_id": {"$ne": None}}),
    "heartbeat of a number": Case("POST", BEAT, 400, "worker_id", json={"worker_id": 7}),
    "heartbeat of null": Case("POST", BEAT, 400, "worker_id", json={"worker_id": None}),
    "heartbeat with an unknown key": Case("POST", BEAT, 400, "load", json={"worker_id": "<worker>", "load": 1}),
    "heartbeat with bad JSON": Case("POST", BEAT, 400, "JSON", content=b"{"),
    "heartbeat twice told": Case("POST", BEAT, 400, "worker_id", content=b'{"worker_id": "a", "worker_id": "b"}'),
    # results
    "result without worker": Case("POST", f"{JOB}/<job>", 400, "worker_id", json={"result": "r"}),
    "result without anything": Case("POST", f"{JOB}/<job>", 400, "worker_id"),
    "result of an unknown worker": Case("POST", f"{JOB}/<job>", 400, "worker", json={"worker_id": "x", "result": 1}),
    "result by a stranger": Case(
        "POST", f"{JOB}/<job>", 400, "never handed", json={"worker_id": "<stranger>", "result": 1}
    ),
    "result for a queued job": post_result(400, "never handed", job="<queued>"),
    "result for a job that has one": post_result(400, "already", job="<done>"),
    "job id unknown": post_result(400, "f" * 32, job="f" * 32),
    "job id a run's": post_result(400, "<run>", job="<run>"),
    "job id short": post_result(400, "12", job="12"),
    "job id in upper case": post_result(400, "ABCDEFAB", job="ABCDEFAB" * 4),
    "job id as operator": post_result(400, "$ne", job="%24ne"),
    "job id of 5 kB": post_result(400, "eee", job="e" * 5000),
    "job id with an attempt": post_result(400, "<job>.1", job="<job>.1"),
    # methods and paths
    "DELETE a run": Case("DELETE", f"{RUN}/<run>", 405, "method"),
    "PUT a run": Case("PUT", f"{RUN}/<run>", 405, "method", json=GOOD),
    "PUT the runs": Case("PUT", RUN, 405, "method"),
    "POST a registration": Case("POST", REGISTER, 405, "method", data={"token": "<token>"}),
    "POST a poll": Case("POST", JOB, 405, "method", data={"worker_id": "<worker>"}),
    "GET a heartbeat": Case("GET", BEAT, 405, "method", params={"worker_id": "<worker>"}),
    "PATCH a result": Case("PATCH", f"{JOB}/<job>", 405, "method"),
    "an unknown path": Case("GET", "/api/v1/grading_runs", 404, ""),
    "the root": Case("GET", "/", 404, ""),
    "another version": Case("GET", "/api/v2/grading_job", 404, ""),
    "a path in upper case": Case("GET", "/API/V1/grading_job", 404, ""),
    "a part too many": Case("GET", f"{RUN}/<run>/students/0", 404, ""),
    "a path with dots": Case("GET", f"{RUN}/%2e%2e/worker_register", 404, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_request_gets_its_status_and_names_the_error(quiet_stack, unchanged, name):
    case = CASES[name]
    parts = {
        part: fill(getattr(case, part), unchanged)
        for part in ("params", "data", "json", "content", "headers")
        if getattr(case, part) is not None
    }
    answer = quiet_stack.api.request(case.method, fill(case.path, unchanged), **parts)
    assert answer.status_code == case.status, answer.text
    assert fill(case.names, unchanged) in error_of(answer)


def test_there_are_enough_cases():
    assert len(SUBMISSIONS) + len(CASES) >= 150


def test_a_body_over_the_limit_is_413_and_nothing_is_stored(quiet_stack, unchanged):
    padding = run_of(1, env={"PAD": "x" * (17 * 1024 * 1024)})
    answer = quiet_stack.api.request("POST", RUN, json=padding)
    assert answer.status_code == 413 and str(16 * 1024 * 1024) in error_of(answer).replace(",", "")


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def test_a_run_too_large_for_a_document_is_refused_before_anything_is_stored(quiet_stack, unchanged):
    student = {"NETID": "12345", "PAD": "x" * 1000}
    room = 16 * 1024 * 1024 - len(compact(run_of(0, students=[])))
    body = compact(run_of(0, students=[student] * (room // (len(compact(student)) + 1))))
    assert len(body) <= 16 * 1024 * 1024
    answer = quiet_stack.api.request("POST", RUN, content=body)
    assert answer.status_code == 413, answer.text[:200]
    error_of(answer)


def test_unknown_arguments_are_refused_in_one_form(quiet_stack, unchanged):
    for request in (
        {"method": "GET", "path": JOB, "params": {"worker_id": unchanged["worker"], "x": "1"}},
        {"method": "POST", "path": BEAT, "data": {"worker_id": unchanged["worker"], "x": "1"}},
        {"method": "POST", "path": BEAT, "params": {"worker_id": unchanged["worker"], "x": "1"}},
        {"method": "GET", "path": REGISTER, "params": {"token": unchanged["token"], "x": "1"}},
        {"method": "GET", "path": f"{RUN}/{unchanged['run']}", "params": {"x": "1"}},
    ):
        answer = quiet_stack.api.request(**request)
        assert answer.status_code == 400 and "unknown argument 'x'" in error_of(answer)


def test_the_stack_still_works_after_all_bad_requests(quiet_stack, world):
    grader = ClassicGrader(quiet_stack.api.url, quiet_stack.cluster_token)
    api = Api(quiet_stack.api.url)
    run = api.submit_and_start(run_of(1))
    jobs = [grader.take(), grader.take()]  # the job that was queued before, and this one
    for job in jobs:
        grader.finish(job)
    wait_until(lambda: api.is_over(run), 5, "the run is over")
