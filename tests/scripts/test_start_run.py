"""scripts/start_run with a fake API."""

import json
import subprocess

import pytest
from conftest import SCRIPTS
from fake_api import FakeApi

DEFINITION = {"student_pipeline": [{"image": "any"}], "students": [{"NETID": "ada"}]}
SUBMIT = "/api/v1/grading_run"
START = "/api/v1/grading_run/"


@pytest.fixture
def pipeline(tmp_path):
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(DEFINITION), encoding="utf-8")
    return path


def start_run(*arguments, env=None):
    """Runs the command and waits for its end."""
    argv = [str(word) for word in (SCRIPTS / "start_run", *arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=env)


def assert_says_one_sentence(done, *words):
    """The last line of its stderr is the sentence; nothing is on stdout, no traceback anywhere."""
    assert done.stdout == "" and "Traceback" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith("start_run: ") and all(word in sentence for word in words), done.stderr


def test_submits_starts_and_prints_only_the_id(api, pipeline):
    done = start_run(pipeline, "--url", api.url)
    assert done.returncode == 0, done.stderr
    [(run_id, run)] = api.runs.items()
    assert done.stdout == f"{run_id}\n"
    assert run["payload"] == DEFINITION
    assert run["state"] == "students"
    assert api.requests == [f"POST {SUBMIT}", f"POST {START}{run_id}"]


def test_host_and_port_are_accepted_as_url(api, pipeline):
    done = start_run(pipeline, "--host", "127.0.0.1", "--port", api.url.rpartition(":")[2])
    assert done.returncode == 0 and len(api.runs) == 1


def test_wait_shows_the_progress_and_exits_0_with_the_run(api, pipeline):
    api.statuses = [
        ("students", {"queued": 2}),
        ("students", {"running": 1, "succeeded": 1}),
        ("finished", {"succeeded": 2}),
    ]
    done = start_run(pipeline, "--url", api.url, "--wait")
    assert done.returncode == 0
    assert done.stdout == f"{next(iter(api.runs))}\n"
    assert done.stderr.splitlines() == [
        "students: 0/2 done (2 queued)",
        "students: 1/2 done (1 running, 1 succeeded)",
        "finished: 2/2 done (2 succeeded)",
    ]


@pytest.mark.parametrize(
    "end",
    [("finished", {"succeeded": 1, "failed": 1}), ("failed", {"failed": 1}), ("cancelled", {"cancelled": 2})],
)
def test_wait_exits_1_if_the_run_or_a_job_failed(api, pipeline, end):
    api.statuses = [end]
    done = start_run(pipeline, "--url", api.url, "--wait")
    assert done.returncode == 1
    assert done.stdout == f"{next(iter(api.runs))}\n"
    assert done.stderr.startswith(f"{end[0]}: ")


def test_an_unreachable_server_is_named_in_one_sentence(pipeline):
    with FakeApi() as gone:
        url = gone.url
    done = start_run(pipeline, "--url", url)
    assert done.returncode == 1
    assert_says_one_sentence(done, url, "doesn't answer")


@pytest.mark.parametrize(("prefix", "status"), [(SUBMIT, 400), (START, 401)])
def test_a_refusal_is_printed_in_the_servers_words(api, pipeline, prefix, status):
    api.refusals.append(("POST", prefix, status))
    done = start_run(pipeline, "--url", api.url)
    assert done.returncode == 2
    assert_says_one_sentence(done, "refused by the test")


@pytest.mark.parametrize("content", ["{nonsense", "", b"\xff\xfe"])
def test_a_file_that_is_not_json_is_not_sent(api, tmp_path, content):
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    done = start_run(path, "--url", api.url)
    assert done.returncode == 2
    assert_says_one_sentence(done, str(path), "is not ")
    assert api.requests == []


def test_a_missing_file_is_named(api, tmp_path):
    done = start_run(tmp_path / "none.json", "--url", api.url)
    assert done.returncode == 2
    assert "none.json" in done.stderr and "Traceback" not in done.stderr
    assert api.requests == []


def test_continues_after_a_503_and_a_lost_connection(api, pipeline):
    api.refusals += [("POST", SUBMIT, 503), ("POST", SUBMIT, None), ("GET", START, 503)]
    api.statuses = [("finished", {"succeeded": 1})]
    done = start_run(pipeline, "--url", api.url, "--wait")
    assert done.returncode == 0, done.stderr
    assert "503" in done.stderr and "refused by the test" in done.stderr


def test_a_start_with_a_lost_answer_does_not_count_as_refused(api, pipeline):
    api.lost_answers.append(("POST", START))
    done = start_run(pipeline, "--url", api.url)
    assert done.returncode == 0, done.stderr
    [run] = api.runs.values()
    assert run["state"] == "students"


def test_the_token_comes_from_the_option_the_file_or_the_environment(api, pipeline, tmp_path):
    (tmp_path / "token").write_text("in-a-file\n")
    start_run(pipeline, "--url", api.url)
    assert api.authorizations == {None}
    start_run(pipeline, "--url", api.url, "--token=given")
    start_run(pipeline, "--url", api.url, "--token-file", tmp_path / "token")
    start_run(pipeline, "--url", api.url, env={"BROADWAY_CLIENT_TOKEN": "in-env"})
    assert api.authorizations == {None, "Bearer given", "Bearer in-a-file", "Bearer in-env"}
