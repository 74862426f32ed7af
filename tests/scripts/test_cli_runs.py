"""`broadway` with a real stack and real graders, as a client of the classic protocol and of a course."""

import csv
import io
import json
import re
import shutil
import signal
import subprocess
import sys

import httpx
import pytest
from broadway.gradescope import RESULTS
from commands import COURSE, COURSE_TOKEN, Server
from conftest import SCRIPTS
from processes import wait_until

FAILS_FOR_BOB = 'test "$NETID" != bob && echo "hello $NETID" && printf \'{"score": 7}\' >results.json'
ROSTER = "NETID,SECTION\nada,AL1\nbob,AL2\n"


def pipeline(script):
    return [{"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": {}, "timeout": 30}]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("runs") / "stack")
    try:
        server.start("--replicas=2", "--schedulers=2", "--graders=1")
        yield server
    finally:
        server.succeed("down")


@pytest.fixture(scope="module")
def course_grader(server):
    """A grader of the course protocol beside the stack's own."""
    argv = [SCRIPTS / "grader", "--runner=process", "--protocol=course-http", "--concurrency=4"]
    argv += [f"--url={url}" for url in server.urls] + [f"--token-file={server.directory / 'cluster-token'}"]
    child = subprocess.Popen([str(word) for word in argv], stderr=subprocess.DEVNULL)
    yield child
    child.send_signal(signal.SIGTERM)
    child.wait(30)


class Protocol:
    """The commands of one protocol, which submit a pipeline with the students of a roster."""

    def __init__(self, commands, is_course):
        self.commands, self.is_course = commands, is_course

    def __call__(self, *arguments):
        return self.commands(*arguments)

    def submit(self, script, *arguments, roster=ROSTER):
        """Runs `run submit`."""
        students = self.commands.write("roster.csv", roster)
        if self.is_course:
            self(
                "config", "set", "hw1", self.commands.write("c.json", {"student_pipeline": pipeline(script)})
            ).succeed()
            return self("run", "submit", "--assignment=hw1", "--students", students, *arguments)
        definition = {"name": "hw1", "labels": {"week": "1"}, "student_pipeline": pipeline(script)}
        return self("run", "submit", self.commands.write("r.json", definition), "--students", students, *arguments)


@pytest.fixture(params=["classic", "course"])
def protocol(request, broadway, server, course_grader):
    broadway.use(server, course=request.param == "course")
    return Protocol(broadway, request.param == "course")


def test_a_run_from_its_submission_to_its_results(protocol, tmp_path):
    done = protocol.submit(FAILS_FOR_BOB, "--wait")
    assert done.code == 1 and "2/2 done (1 succeeded, 1 failed)" in done.err
    run = done.out.strip()
    status = protocol("run", "status", run)
    assert status.code == 1 and "state      finished" in status.out
    assert json.loads(protocol("run", "status", run, "--json").out)["progress"]["failed"] == 1

    rows = list(csv.DictReader(io.StringIO(protocol("run", "results", run, "--output=csv").succeed())))
    assert [(row["NETID"], row["SECTION"], row["outcome"]) for row in rows] == [
        ("ada", "AL1", "succeeded"),
        ("bob", "AL2", "failed"),
    ]
    assert rows[0]["score"] == "7"
    for form in ("json", "ndjson"):
        text = protocol("run", "results", run, f"--output={form}").succeed()
        rows = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
        assert [row["outcome"] for row in rows] == ["succeeded", "failed"]
    if protocol.is_course:
        assert f"\n{rows[1]['job_id']}" in protocol("run", "results", "--assignment=hw1", "-o", "csv").out.replace(
            ",", "\n"
        )
    table = protocol("run", "results", run).succeed().splitlines()
    assert table[1].split()[:3] == ["NETID=ada", "succeeded", "7"] and "student" in table[2]

    [failed] = json.loads(protocol("run", "status", run, "--jobs", "--outcome=failed", "--json").succeed())
    assert failed["student"]["env"]["NETID"] == "bob"
    shown = protocol("job", "show", failed["job_id"]).succeed()
    assert "who        NETID=bob" in shown and "owner      student" in shown
    [first] = json.loads(protocol("run", "status", run, "--jobs", "--outcome=succeeded", "--json").out)
    assert protocol("job", "log", first["job_id"]).succeed() == "hello ada\n"
    assert protocol("job", "log", first["job_id"], "--follow").succeed() == "hello ada\n"
    protocol("run", "logs", run, "--dir", tmp_path / "logs").succeed()
    assert (tmp_path / "logs" / f"{first['job_id']}-NETID=ada.stdout").read_text() == "hello ada\n"
    assert len(list((tmp_path / "logs").iterdir())) == 4
    assert "hello ada" in protocol("run", "logs", run).succeed()

    again = json.loads(protocol("run", "rerun", run, "--select=failed", "--json").succeed())["id"]
    assert protocol("run", "watch", again).code == 1
    listed = json.loads(protocol("run", "list", "--json", "--limit=5").succeed())
    assert [entry["id"] for entry in listed[:2]] == [again, run]
    assert again in protocol("run", "list").out
    entries = json.loads(protocol("audit", "--run", run, "--json").succeed())
    assert {"run.create", "run.rerun"} <= {entry["action"] for entry in entries}


def test_all_passed_is_0(protocol):
    done = protocol.submit("true", "--wait")
    assert done.code == 0 and "finished: 2/2 done (2 succeeded)" in done.err


def test_the_secrets_of_webhooks_are_shown_once(broadway, server):
    broadway.use(server)
    webhooks = [{"url": "http://127.0.0.1:9/", "events": ["run_paused"]}]
    definition = {"student_pipeline": pipeline("true"), "students": [{}], "webhooks": webhooks}
    path = broadway.write("r.json", definition)
    broadway("run", "plan", path).succeed()
    done = broadway("run", "submit", path)
    run = done.succeed().strip()
    [line] = [line for line in done.err.splitlines() if line.startswith("webhook ")]
    assert re.fullmatch(r"webhook [0-9a-f]+: its secret is \S{16,}", line) and len(run) == 24
    created = json.loads(broadway("run", "submit", path, "--json").succeed())
    assert len(created["id"]) == 24 and created["webhooks"][0]["secret"]


def test_an_autograder_of_gradescope_becomes_the_config_of_an_assignment(broadway, server, tmp_path):
    broadway.use(server, course=True)
    sample = SCRIPTS / "samples" / "gradescope"
    archive = shutil.make_archive(str(tmp_path / "sums"), "zip", sample / "autograder")
    arguments = (f"--gradescope={archive}", f"--submissions={sample / 'submissions'}")
    broadway("run", "submit", *arguments).says(2, "needs --assignment")
    run = broadway("run", "submit", *arguments, "--assignment=sums").succeed().strip()
    config = json.loads(broadway("config", "get", "sums").succeed())
    assert config["student_pipeline"][0]["results"] == RESULTS
    jobs = json.loads(broadway("run", "status", run, "--jobs", "--json").succeed())
    assert [job["student"]["env"] for job in jobs] == [{"STUDENT": "ada"}, {"STUDENT": "grace"}]


def test_a_course_and_an_assignment_are_paused(broadway, server):
    broadway.use(server, course=True)
    broadway("config", "set", "held", broadway.write("c.json", {"student_pipeline": pipeline("true")})).succeed()
    for arguments, name in (((), COURSE), (("--assignment=held",), "held")):
        assert broadway("course", "pause", *arguments, "--note=wrong tests").succeed() == f"paused: {name}\n"
        assert "wrong tests" in broadway("cluster", "status").succeed()
        assert broadway("course", "resume", *arguments).succeed() == f"resumed: {name}\n"
        assert "wrong tests" not in broadway("cluster", "status").succeed()


@pytest.mark.parametrize(("sample", "scores"), [("prairielearn", [(1, 1), (0, 1)]), ("junit", [(2, 2), (1, 2)])])
def test_the_samples_with_scores(broadway, server, sample, scores):
    broadway.use(server)
    path = SCRIPTS / "samples" / f"{sample}.json"
    run = broadway("run", "submit", path, "--wait").succeed().strip()
    rows = json.loads(broadway("run", "results", run, "--output=json").succeed())
    assert [(row["score"], row["max_score"]) for row in rows] == scores


def test_pause_resume_and_cancel(protocol):
    run = protocol.submit("sleep 60").succeed().strip()
    protocol("run", "pause", run, "--note=wrong tests", "--timeout=600").succeed()
    assert "wrong tests" in protocol("run", "status", run).succeed()
    assert protocol("run", "resume", run).succeed() == f"resumed: {run}\n"
    protocol("run", "cancel", run).succeed()
    assert protocol("run", "watch", run).code == 1


def json_of(command, *arguments):
    return json.loads(command(*arguments, "--json").succeed())


def test_what_was_done_as_json(protocol):
    run = protocol.submit("sleep 60", roster="NETID\nada\n").succeed().strip()
    paused = json_of(protocol, "run", "pause", run, "--note=wrong tests")
    assert paused["paused"] == run and paused["pause"]["note"] == "wrong tests"
    assert json_of(protocol, "run", "resume", run) == {"resumed": run, "held": None}
    [job] = json_of(protocol, "run", "status", run, "--jobs")
    assert json_of(protocol, "job", "cancel", job["job_id"])["cancelled"] == job["job_id"]
    assert json_of(protocol, "run", "cancel", protocol.submit("sleep 60").succeed().strip())["cancelled"]


def test_what_was_done_with_a_course_and_graders_as_json(broadway, server):
    broadway.use(server, course=True)
    config = broadway.write("c.json", {"student_pipeline": pipeline("true")})
    assert json_of(broadway, "config", "set", "as-json", config) == {"stored": "as-json"}
    for arguments, name in (((), COURSE), (("--assignment=as-json",), "as-json")):
        paused = json_of(broadway, "course", "pause", *arguments)
        assert paused["paused"] == name and paused["pause"]["kind"] == ("assignment" if arguments else "course")
        assert json_of(broadway, "course", "resume", *arguments)["resumed"] == name
    assert json_of(broadway, "cluster", "pause")["pause"]["kind"] == "cluster"
    assert json_of(broadway, "cluster", "resume") == {"resumed": "the cluster", "held": None}
    answer = httpx.get(
        f"{server.urls[0]}/api/v1/worker_register", params={"token": server.cluster_token}, trust_env=False
    )
    worker = answer.json()["worker_id"]
    assert json_of(broadway, "grader", "drain", worker)["pause"]["drain"] is True
    assert json_of(broadway, "grader", "resume", worker)["resumed"] == worker
    assert json_of(broadway, "grader", "pause", worker)["pause"]["kind"] == "worker"
    assert json_of(broadway, "grader", "resume", worker)["resumed"] == worker
    assert json_of(broadway, "grader", "reserve", "lab", "--tag=lab-2")["tags"] == ["lab-2"]
    assert json_of(broadway, "grader", "unreserve", "lab") == {"ended": "lab"}


def test_a_job_is_cancelled_alone(protocol):
    run = protocol.submit("sleep 60", roster="NETID\nada\n").succeed().strip()
    [job] = json.loads(protocol("run", "status", run, "--jobs", "--json").succeed())
    protocol("job", "cancel", job["job_id"]).succeed()
    assert "cancelled" in protocol("job", "show", job["job_id"]).succeed()


def test_the_cluster_and_a_course_as_their_owners_see_them(broadway, server):
    broadway.use(server, course=True)
    assert "waiting  0" in broadway("course", "queue").succeed()
    assert "grader-0" in broadway("grader", "list").succeed()
    broadway("cluster", "pause", "--note=new disks").succeed()
    status = broadway("cluster", "status")
    assert status.code == 1 and "new disks" in status.out
    broadway("cluster", "resume").succeed()
    assert broadway("cluster", "status").code == 0


def test_shares_and_reservations(broadway, server):
    broadway.use(server, course=True)
    assert "interactive normal batch" in broadway("course", "share", "cs225").succeed()
    shown = json.loads(broadway("course", "share", "cs225", "--weight=250", "--max-running=9", "--json").succeed())
    assert (shown["weight"], shown["max_running"], shown["by"]) == (250, 9, "cluster")
    assert "250" in broadway("course", "weights").succeed()
    broadway("course", "share", "cs225", "--reset", "--weight=1").says(2, "leave out --weight")
    assert json.loads(broadway("course", "share", "cs225", "--reset", "--json").succeed())["weight"] == 100
    broadway("course", "share", "cs225", "--weight=0").says(2, "--weight")
    options = ("--tag=no-such", "--tag=gpu", "--course=cs225", "--class=exam", "--note=midterm", "--timeout=600")
    broadway("grader", "reserve", "midterm", *options).succeed()
    (listed,) = json.loads(broadway("grader", "reservations", "--json").succeed())
    assert (listed["tags"], listed["courses"], listed["classes"]) == (["gpu", "no-such"], ["cs225"], ["exam"])
    broadway("grader", "reserve", "midterm").says(2, "--tag")
    broadway("grader", "unreserve", "midterm").succeed()
    assert "no grader is reserved" in broadway("grader", "reservations").err


def test_a_run_has_the_class_tags_and_submitter_of_the_options(broadway, server):
    broadway.use(server)
    path = broadway.write("r.json", {"student_pipeline": pipeline("true"), "students": [{}], "submitter": "bob"})
    options = ("--class=batch", "--requires=no-such", "--requires=gpu", "--submitter=ann")
    run = broadway("run", "submit", path, *options).succeed().strip()
    status = json.loads(broadway("run", "status", run, "--json").succeed())
    assert (status["class"], status["requires"], status["submitter"]) == ("batch", ["gpu", "no-such"], "ann")
    again = broadway("run", "rerun", run, "--select=all", "--class=exam").succeed().strip()
    status = json.loads(broadway("run", "status", again, "--json").succeed())
    assert (status["class"], status["submitter"]) == ("exam", "ann")
    for each in (run, again):
        broadway("run", "cancel", each).succeed()
    broadway("run", "submit", path, "--class=soon").says(2, "'soon' is not one of")


@pytest.mark.parametrize("is_course", [False, True], ids=["classic", "course"])
def test_explain_says_why_and_what_would_change_it(broadway, server, course_grader, is_course):
    broadway.use(server, course=is_course)
    protocol = Protocol(broadway, is_course)
    run = protocol.submit("true", "--requires=no-such").succeed().strip()
    sentence = "- no live grader has all of the tags no-such\n  until a grader that has all of these tags registers\n"
    count = len(ROSTER.splitlines()) - 1

    def shown():
        text = broadway("run", "explain", run).succeed()
        return sentence in text and text

    assert f"waiting: {count} jobs wait, 0 run, 0 have ended\n" in wait_until(shown, "no grader has the tags", 10)
    answer = json.loads(broadway("run", "explain", run, "--json").succeed())
    assert sentence in broadway("job", "explain", answer["next_job"]).succeed()
    (reason,) = json.loads(broadway("job", "explain", answer["next_job"], "--json").succeed())["reasons"]
    assert (reason["reason"], reason["missing"]) == ("tags_missing", ["no-such"])
    broadway("run", "cancel", run).succeed()
    wait_until(lambda: "ended: cancelled" in broadway("run", "explain", run).succeed(), "the run is over", 10)
    assert broadway("job", "explain", answer["next_job"]).succeed() == "ended: cancelled\n"
    broadway("job", "explain", "0" * 32).says(3, "0" * 32 if not is_course else "not found")


def test_explain_says_why_a_grader_gets_no_job(broadway, server, course_grader):
    broadway.use(server)
    workers = f"http://{server.urls[0].partition('//')[2]}"
    with httpx.Client(base_url=workers, headers={"Authorization": f"Bearer {server.cluster_token}"}) as client:
        assert client.post("/api/v1/worker/explained", json={"hostname": "lab"}).status_code == 200
    text = broadway("grader", "explain", "explained").succeed()
    assert text.startswith("waiting\n- no poll of it waits\n  until it asks for a job\n")
    assert json.loads(broadway("grader", "explain", "explained", "--json").succeed())["held"] == 0
    broadway("grader", "explain", "nobody").says(3, "there is no grader with this id")


def test_an_estimate_is_a_sentence(broadway, server):
    broadway.use(server)
    definition = {"student_pipeline": [{"image": "alpine:3.20", "entrypoint": ["true"]}], "students": [{}]}
    path = broadway.write("r.json", {**definition, "requires": ["no-such"], "name": "estimated"})
    run = broadway("run", "submit", path).succeed().strip()
    assert broadway("run", "estimate", run).succeed().startswith("no estimate: no ")
    found = json.loads(broadway("run", "estimate", run, "--json").succeed())
    assert found["ends"] is None and found["reason"]
    assert broadway("job", "estimate", f"{run}10000000").succeed().startswith("no estimate: no ")
    broadway("run", "cancel", run).succeed()
    broadway.use(server, course=True)
    assert broadway("course", "estimate").succeed().strip() == "no estimate: no job of the course waits"


def test_the_history_is_a_table(broadway, server):
    broadway.use(server)

    def points():
        return json.loads(broadway("cluster", "history", "--json").succeed())

    wait_until(points, "there is a sample", 40)
    assert {"date", "graders", "waits", "courses"} <= points()[0].keys()
    table = broadway("cluster", "history", "--step=60").succeed()
    assert "Queued" in table and "Wait p50" in table
    rows = list(csv.DictReader(io.StringIO(broadway("cluster", "history", "--output=csv").succeed())))
    assert rows and {"Date", "Queued", "Failed"} <= {name.title() for name in rows[0]}, rows[:1]
    broadway.use(server, course=True)
    assert all("waits" not in point for point in points())
    assert "multiple of 10 seconds" in broadway("cluster", "history", "--step=15").err


def test_a_grader_is_drained_and_resumed(broadway, server):
    broadway.use(server, course=True)
    answer = httpx.get(
        f"{server.urls[0]}/api/v1/worker_register",
        params={"token": server.cluster_token, "hostname": "by-hand"},
        trust_env=False,
    )
    worker = answer.json()["worker_id"]
    broadway("grader", "drain", worker, "--note=old").succeed()
    assert "drained" in broadway("grader", "status", worker).succeed()
    broadway("grader", "resume", worker).succeed()
    broadway("grader", "pause", worker).succeed()
    assert json.loads(broadway("grader", "status", worker, "--json").succeed())["state"] == "paused"
    broadway("grader", "resume", worker).succeed()


def test_a_grader_that_can_not_work_says_why(broadway, server):
    broadway.use(server, course=True)
    answer = httpx.get(
        f"{server.urls[0]}/api/v1/worker_register",
        params={"token": server.cluster_token, "hostname": "full", "fault": "disk: 3 MiB are free"},
        trust_env=False,
    )
    status = broadway("grader", "status", answer.json()["worker_id"]).succeed()
    assert "disk: 3 MiB are free" in status and re.search(r"^state +faulty$", status, re.MULTILINE)

    def is_listed():
        rows = broadway("grader", "list").succeed().splitlines()
        return any(row.startswith("full ") and "faulty" in row and "disk: 3 MiB" in row for row in rows)

    wait_until(is_listed, "the list has the fault", 30)


def test_configs(broadway, server):
    broadway.use(server, course=True)
    first = broadway.write("first.json", {"student_pipeline": pipeline("true"), "env": {"TERM": "fa"}})
    second = broadway.write("second.json", {"student_pipeline": pipeline("false")})
    broadway("config", "set", "lab", first).succeed()
    assert json.loads(broadway("config", "get", "lab").succeed())["env"] == {"TERM": "fa"}
    assert broadway("config", "diff", "lab", first).succeed() == ""
    differs = broadway("config", "diff", "lab", second)
    assert differs.code == 1 and '-  "env": {' in differs.out and '+        "false"' in differs.out
    broadway.write("bad.json", {"student_pipeline": [{"imag": "x"}]})
    broadway("config", "set", "lab", "bad.json").says(2, "image: is required")
    assert json.loads(broadway("config", "get", "lab").succeed())["env"] == {"TERM": "fa"}


def start_submit(commands, server, *arguments):
    """A process of `broadway run submit --wait`."""
    argv = [sys.executable, SCRIPTS / "broadway", "run", "submit", commands.write("r.json", arguments[0]), "--wait"]
    return subprocess.Popen(
        [str(word) for word in argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_wait_goes_through_restarts_of_all_replicas(broadway, server, tmp_path):
    broadway.use(server)
    gate = tmp_path / "gate"
    script = f"while ! test -e {gate}; do sleep 0.1; done"
    child = start_submit(broadway, server, {"student_pipeline": pipeline(script), "students": [{}, {}]})
    run = child.stdout.readline().strip()
    for replica in ("api-0", "api-1"):
        server.succeed("restart", replica)
    gate.touch()
    out, err = child.communicate(timeout=90)
    assert child.returncode == 0 and out == "", err
    assert "finished: 2/2 done" in err and len(run) == 24


def test_ctrl_c_without_a_terminal_detaches(broadway, server):
    broadway.use(server)
    child = start_submit(broadway, server, {"student_pipeline": pipeline("sleep 60"), "students": [{}]})
    run = child.stdout.readline().strip()
    wait_until(lambda: "students" in child.stderr.readline(), "it follows the run", 30)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130 and f"detached: the run goes on; follow it with: broadway run watch {run}" in err
    assert "state      students" in broadway("run", "status", run).succeed()
    broadway("run", "cancel", run).succeed()


def test_no_token_is_in_any_output(broadway, server):
    broadway.use(server, course=True)
    done = [broadway(*words) for words in (("audit",), ("run", "list"), ("grader", "list"), ("cluster", "status"))]
    for secret in (COURSE_TOKEN, server.cluster_token):
        assert not any(secret in each.out + each.err for each in done)
