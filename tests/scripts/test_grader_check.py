"""scripts/grader-check: our graders keep the protocol's sentences, and each broken one breaks the right sentence.

All checks of the module run at the same time, since they mostly wait."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import httpx
import pytest
from broadway_tools.grader_check import grader_process
from broadway_tools.grader_check.always import unknown_arguments
from broadway_tools.grader_check.api import Api
from broadway_tools.grader_check.arguments import BadBody, read_body
from broadway_tools.grader_check.grader_process import GraderProcess
from broadway_tools.grader_check.http_server import HttpServer
from broadway_tools.grader_check.report import exit_status, make_rows
from broadway_tools.grader_check.scenario import Finding
from broadway_tools.grader_check.sentences import SENTENCES
from conftest import ROOT, SCRIPTS
from podman import IMAGE
from processes import is_running, pids_in, wait_until

CHECK = SCRIPTS / "grader-check"
PAGE = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
TIMES = ("--heartbeat=1", "--retry-after=1")
# Long enough for a busy machine; a broken grader is given up after it.
LONG, SHORT = "--timeout=40", "--timeout=5"

# A grader that keeps the protocol, apart from the fault in its first argument.
GRADER = r"""
import json, signal, subprocess, sys, tempfile, threading, time, urllib.error, urllib.parse, urllib.request

fault, url, token = sys.argv[1:]

def call(method, path, body=None, **query):
    data = None if body is None else json.dumps(body).encode()
    while True:
        target = f"{url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(target, data, method=method), timeout=70) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as answer:
            if answer.code == 400 and fault == "repeats-400" and "grading_job/" in path:
                time.sleep(0.2)
                continue
            if answer.code not in (500, 503):
                return answer.code, json.loads(answer.read() or "null")
            time.sleep(0.05 if fault == "ignores-retry-after" else float(answer.headers.get("Retry-After", 1)))
        except Exception:
            if fault == "drops-results" and "grading_job/" in path:
                return 200, {}
            time.sleep(0.3)

def register():
    extra = {"color": "blue"} if fault == "unknown-argument" else {}
    status, answer = call("GET", "worker_register", token=token, concurrency=1, **extra)
    return answer

def beat():
    while fault != "no-heartbeats":
        time.sleep(worker["heartbeat"])
        call("POST", "heartbeat", {"worker_id": worker["worker_id"]})

def grade(job):
    output, success = "", True
    with tempfile.TemporaryDirectory() as directory:
        for stage in job["stages"]:
            entries = stage["env"][::-1] if fault == "first-entry-counts" else stage["env"]
            env = dict(entry.split("=", 1) for entry in entries)
            env = {"PATH": "/usr/bin:/bin", "JOB_DIR": directory, **env}
            limit = None if fault == "no-timeout" else stage.get("timeout")
            try:
                words = stage["entrypoint"]
                done = subprocess.run(words, cwd=directory, env=env, timeout=limit, stdout=subprocess.PIPE)
                success = done.returncode == 0
                output += done.stdout.decode() if stage.get("logs", True) or fault == "all-logs" else ""
            except (OSError, subprocess.TimeoutExpired):
                success = False
            if not success and fault != "continues":
                break
    return {"success": success, "result": "done", "logs": {"stdout": output}}

def serve(job):
    call("POST", f"grading_job/{job['job_id']}", {"worker_id": worker["worker_id"], **grade(job)})

worker = register()
threading.Thread(target=beat, daemon=True).start()
run = set()
while True:
    status, job = call("GET", "grading_job", worker_id=worker["worker_id"])
    if status == 400 and fault != "never-registers-again":
        worker = register()
    if status == 400:
        time.sleep(0.2)
    if status == 200 and fault == "runs-twice":
        threading.Thread(target=serve, args=(job,)).start()
    elif status == 200 and (job["job_id"], job["attempt"]) not in run:
        run.add((job["job_id"], job["attempt"]))
        serve(job)
    elif status == 498:
        time.sleep(0.2)
"""

# fault → (the scenario that shows it, the sentences that must be broken, and no others)
FAULTS = {
    "no-heartbeats": ("heartbeats", {"heartbeats", "heartbeats-stated"}),
    "ignores-retry-after": ("poll-503", {"retry-after"}),
    "runs-twice": ("duplicate", {"run-once", "same-result"}),
    "never-registers-again": ("unknown-worker", {"register-first", "unchanged"}),
    "drops-results": ("restart", {"always-report"}),
    "repeats-400": ("late-result", {"final", "loop"}),
    "no-timeout": ("timeout", {"timeout"}),
    "continues": ("failure", {"success", "stage-fails"}),
    "first-entry-counts": ("environment", {"env-last"}),
    "all-logs": ("logs-false", {"logs-false"}),
    "unknown-argument": ("logs-false", {"known-arguments"}),
}
# Scenarios about the stages, which the grader in docs/protocol.md must pass.
STAGES = ("job", "environment", "large-environment", "failure", "timeout", "logs-false", "students")


def only(*scenarios):
    return [f"--only={scenario}" for scenario in scenarios]


class Check:
    """A running scripts/grader-check."""

    def __init__(self, directory, command, *arguments):
        self._report = directory / "report.json"
        self._process = subprocess.Popen(
            [CHECK, *TIMES, *arguments, f"--json={self._report}", "--command", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "BROADWAY_CLUSTER_TOKEN"},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        self.stdout, self.stderr = self._process.communicate()

    def end(self, seconds=100):
        """The end of the check: `status`, `outcomes` by sentence, `text`, `seen` (what it saw), and the `report`."""
        self._reader.join(timeout=seconds)
        assert not self._reader.is_alive(), "grader-check did not end"
        report = json.loads(self._report.read_text(encoding="utf-8"))
        sentences = {sentence["name"]: sentence for sentence in report["sentences"]}
        return SimpleNamespace(
            status=self._process.returncode,
            report=report,
            text=self.stdout,
            seen=f"{self.stdout}\n{self.stderr}",
            outcomes={name: sentence["outcome"] for name, sentence in sentences.items()},
            broken={name for name, each in sentences.items() if each["binding"] and each["outcome"] == "broken"},
        )

    def stop(self):
        self._process.terminate()
        self._reader.join()


@pytest.fixture(scope="module")
def checks(tmp_path_factory):
    """All checks, by name."""
    script = tmp_path_factory.mktemp("grader") / "grader.py"
    script.write_text(GRADER, encoding="utf-8")
    page_grader = script.with_name("page_grader.py")
    page_grader.write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1], encoding="utf-8")
    state = tmp_path_factory.mktemp("state")
    reference = f"{SCRIPTS / 'grader'} --url {{url}} --token {{token}} --runner process --state-dir {state}"
    page = f"env BROADWAY_URL={{url}} BROADWAY_TOKEN={{token}} {sys.executable} {page_grader}"
    commands = {
        "reference": (reference, LONG),
        "three slots": (
            f"{reference} --concurrency 3",
            LONG,
            *only("heartbeats", "poll-503", "duplicate", "cut-poll"),
        ),
        "page": (
            page,
            LONG,
            *only(*STAGES, "register", "poll-503", "report-503", "heartbeat-503", "restart", "shutdown"),
        ),
        "no fault": (
            f"{sys.executable} {script} none {{url}} {{token}}",
            LONG,
            *only("report-503", "cut-poll", *{scenario for scenario, _ in FAULTS.values()}),
        ),
        **{
            fault: (f"{sys.executable} {script} {fault} {{url}} {{token}}", SHORT, *only(scenario))
            for fault, (scenario, _) in FAULTS.items()
        },
    }
    running = {name: Check(tmp_path_factory.mktemp("check"), *arguments) for name, arguments in commands.items()}
    yield running
    for check in running.values():
        check.stop()


@pytest.mark.parametrize(("fault", "broken"), [(fault, broken) for fault, (_, broken) in FAULTS.items()])
def test_a_fault_of_a_grader_breaks_its_sentences_and_no_others(checks, fault, broken):
    end = checks[fault].end()
    assert (end.status, end.broken) == (1, broken), end.seen


def test_the_same_grader_without_a_fault_keeps_the_sentences(checks):
    end = checks["no fault"].end()
    assert (end.status, end.broken) == (0, set()), end.seen
    checked = set().union(*(broken for _, broken in FAULTS.values()))
    assert {name for name in checked if end.outcomes[name] != "kept"} == set()


def test_the_reference_grader_keeps_every_sentence(checks):
    end = checks["reference"].end()
    assert (end.status, end.broken) == (0, set()), end.seen
    # It sends no `wait`, and no argument twice.
    unseen = {name for name, outcome in end.outcomes.items() if outcome == "not seen"}
    assert unseen == {"wait", "equal-arguments", "client-timeout"}
    assert (end.outcomes["shorten"], end.outcomes["poll-rate"], end.outcomes["stays-up"]) == ("kept",) * 3
    assert end.report["grader_exit_statuses"] == []


def test_the_reference_grader_with_containers_keeps_the_sentences(podman, tmp_path):
    """It registers with one more argument, `digests`, and finds its images by them."""
    words = ["env", *(f"{name}={value}" for name, value in podman.env.items()), SCRIPTS / "grader"]
    words += ["--url={url}", "--token={token}", "--runner=podman", f"--engine-socket={podman.socket}"]
    words += [f"--state-dir={tmp_path / 'state'}", f"--work-dir={tmp_path / 'work'}"]
    scenarios = only("register", "job", "logs-false", "heartbeats")
    check = Check(tmp_path, " ".join(map(str, words)), "--timeout=60", f"--image={IMAGE}", *scenarios)
    try:
        end = check.end(240)
    finally:
        check.stop()
    assert (end.status, end.broken) == (0, set()), end.seen
    assert [end.outcomes[name] for name in ("known-arguments", "logs", "heartbeats")] == ["kept"] * 3


def test_the_headers_of_the_check_are_those_of_the_api():
    """Those that a grader of this version acts on, but for files, which the check has none of."""
    text = (ROOT / "api" / "grading" / "grader_limits.c").read_text(encoding="utf-8")
    named = set(re.findall(r'"(Broadway-\w+)"', text)) - {"Broadway-Files"}
    assert set(Api("x", 1).headers) == named
    assert re.search(r'"Broadway-Registration", "([^"]*)"', text)[1] == Api("x", 1).headers["Broadway-Registration"]


def test_the_check_takes_chunks_of_logs():
    api = Api("x", 1)
    server = HttpServer(api, "127.0.0.1", 0)
    server.open()
    try:
        with httpx.Client(base_url=f"{server.url}/api/v1", trust_env=False) as client:
            asked = {"token": "x", "tags": "a", "files": "true", "cancel": "true", "digests": "true"}
            worker = client.get("/worker_register", params=asked).json()["worker_id"]
            job = api.put({"image": "any"}).handout["job_id"]
            client.get("/grading_job", params={"worker_id": worker})
            chunk = {"worker_id": worker, "stream": "stdout", "offset": 3}
            answer = client.post(f"/grading_job/{job}/log", params=chunk, content=b"{more")
            assert (answer.status_code, answer.json()) == (200, {"size": 8})
            refused = [{**chunk, "worker_id": "f" * 32}, {**chunk, "stream": "x"}, {**chunk, "offset": "-1"}]
            answers = [client.post(f"/grading_job/{job}/log", params=each, content=b"x") for each in refused]
            answers.append(client.post(f"/grading_job/{job}/log", params=chunk))
            assert [each.status_code for each in answers] == [400] * 4
    finally:
        server.close()
    assert [text for request in api.requests if (text := unknown_arguments(request))] == []


def test_a_grader_with_several_slots_runs_a_job_that_is_delivered_twice_once(checks):
    end = checks["three slots"].end()
    assert (end.status, end.broken) == (0, set()), end.seen
    assert (end.outcomes["run-once"], end.outcomes["free-slot"]) == ("kept", "kept")


def test_the_grader_of_the_page_runs_stages_as_the_page_says(checks):
    end = checks["page"].end()
    assert (end.status, end.broken) == (0, set()), end.seen
    wanted = (
        "env-total",
        "entrypoint",
        "timeout",
        "logs-false",
        "directory",
        "students",
        "result-json",
        "stage-fails",
        "retry-after",
        "shutdown",
    )
    assert [end.outcomes[name] for name in wanted] == ["kept"] * len(wanted)


def test_the_table_names_the_anchor_the_sentence_and_what_was_seen(checks):
    text = checks["first-entry-counts"].end().text
    assert "docs/protocol.md#the-environment-of-a-stage" in text
    assert re.search(r"broken +env-last +A name may occur more than once in the list; the last entry counts", text)
    assert "environment: the value of TWICE arrived otherwise, or not at all" in text


@pytest.mark.parametrize("sentence", [each for each in SENTENCES if each.anchor], ids=lambda each: each.name)
def test_a_sentence_is_in_its_section_of_the_page(sentence):
    sections = {}
    for part in re.split(r"^#+ ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        anchor = re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        sections[anchor] = " ".join(body.split())
    assert sentence.quote in sections[sentence.anchor]


def run(*arguments):
    return subprocess.run([CHECK, *arguments], capture_output=True, text=True, timeout=30, check=False)


def test_scenarios_are_listed():
    done = run("--list")
    assert done.returncode == 0
    assert "late-result" in done.stdout.split()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "nothing"], "Invalid value for '--only'"),
        (["--command", "/no/such/grader"], "--command: "),
        (["--command", "an 'open quote"], "--command: No closing quotation"),
        (["--host", "192.0.2.1"], "can't listen on 192.0.2.1:0"),
    ],
)
def test_wrong_usage_is_status_2(arguments, words):
    done = run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_no_grader_is_status_1():
    done = run("--timeout=1", "--retry-after=1", "--command", "sleep 60")
    assert done.returncode == 1
    assert "no grader has registered" in done.stderr


def test_a_signal_ends_the_tool_and_the_grader_that_it_started(tmp_path):
    pids = tmp_path / "pids"
    command = f"/bin/sh -c 'echo $$ >>{pids}; exec sleep 600'"
    tool = subprocess.Popen([CHECK, "--command", command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        [pid] = pids_in(pids, 1)
        assert is_running(pid)
    finally:
        tool.terminate()
    assert tool.wait(timeout=20) == 1
    wait_until(lambda: not is_running(pid), "the grader has ended")


def test_a_signal_while_the_grader_is_started_leaves_none_behind(monkeypatch):
    """The signal comes between the fork and the note of the pid."""
    spawned = []

    def interrupted(*arguments, **options):
        spawned.append(subprocess.Popen(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return spawned[0]

    grader = GraderProcess(["sleep", "600"])
    with monkeypatch.context() as patch:
        patch.setattr(grader_process, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": interrupted}))
        with pytest.raises(KeyboardInterrupt):
            grader.start()
    grader.stop()
    assert spawned[0].poll() is not None


def test_a_grader_is_not_started_again_after_the_stop():
    grader = GraderProcess(["true"])
    grader.start()
    wait_until(lambda: grader.ends, "the grader has ended by itself")
    grader.stop()
    ended = grader._process
    grader._spawn()
    assert grader._process is ended


def test_nothing_seen_is_not_success():
    assert exit_status(make_rows([])) == 1
    assert exit_status(make_rows([Finding("job", "logs", "kept")])) == 0
    assert exit_status(make_rows([Finding("job", "logs", "kept"), Finding("logs-false", "logs", "broken")])) == 1
    assert exit_status(make_rows([Finding("job", "logs", "kept"), Finding("empty", "poll-rate", "broken")])) == 0


MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="worker_id"\r\n\r\nw\r\n'
    b'--x\r\nContent-Disposition: form-data; name="result"\r\n\r\nfine\r\n--x--\r\n'
)


@pytest.mark.parametrize(
    ("body", "content_type", "arguments"),
    [
        (b' {"result": null, "success": false}', "text/plain", {"result": None, "success": False}),
        (b"result=a%2Bb+c&success=true&logs=%7B%7D", "", {"result": "a+b c", "success": True, "logs": {}}),
        (MULTIPART, "multipart/form-data; boundary=x", {"worker_id": "w", "result": "fine"}),
        (b"", "application/json", {}),
    ],
)
def test_a_body_is_read_in_each_of_its_forms(body, content_type, arguments):
    assert read_body(body, content_type) == arguments


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b'{"result": NaN}', ""), (b'{"result": "\xff"}', ""), (b"[1]", "application/json"), (b"logs=no", "")],
)
def test_a_body_that_is_no_json_is_refused(body, content_type):
    with pytest.raises(BadBody):
        read_body(body, content_type)
