"""Files with scores that a job leaves, by the reference grader with the process runner and a fake API."""

import json

import pytest
from broadway_tools.grader.limits import SCORES

GRADESCOPE = json.dumps({"score": 3, "output": "fine", "tests": [{"name": "a", "score": 3, "max_score": 4}]})
TESTS = [{"name": "a", "score": 3, "max_score": 4, "status": "failed"}]
KEYS = ("score", "max_score", "tests", "owner")


def sh(script, **more):
    return {"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


def write(content, name="results.json"):
    return f"cat >{name} <<'EOT'\n{content}\nEOT\n"


@pytest.fixture
def grading(api, start_grader):
    """`grading(stage, ...)` is the body that a grader posts to an API that takes scores."""
    api.limits[SCORES] = "true"
    start_grader()
    return lambda *stages, **more: api.result_of(api.put(*stages, **more))


def scores_of(body):
    return {key: body[key] for key in KEYS if key in body}


@pytest.mark.parametrize("name", ["results.json", "results/results.json", "results.xml", "other.json"])
def test_a_file_is_found_at_its_default_or_named_path(grading, name):
    named = {"results": "/job/other.json"} if name == "other.json" else {}
    body = grading(sh("mkdir results;" + write(GRADESCOPE, name), **named))
    assert scores_of(body) == {"score": 3, "max_score": 4, "tests": TESTS} and body["success"] is True
    assert body["result"]["results"] == {"path": f"/job/{name}", "format": "gradescope", "output": "fine"}


def test_without_a_file_there_are_no_scores(grading):
    body = grading(sh("true"))
    assert scores_of(body) == {} and "results" not in body["result"] and body["success"] is True


def test_a_stage_that_fails_has_scores_too(grading):
    junit = "<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>"
    body = grading(sh(write(junit, "results.xml") + "exit 1"))
    assert body["success"] is False
    tests = [{"name": "a", "status": "passed"}, {"name": "b", "status": "failed"}]
    assert scores_of(body) == {"score": 1, "max_score": 2, "tests": tests}


def test_the_last_named_file_counts(grading):
    first, second = (
        sh(write(GRADESCOPE), results="/job/results.json"),
        sh(write('{"score": 9}', "second.json"), results="/job/second.json"),
    )
    assert scores_of(grading(first, second)) == {"score": 9}


def test_scores_before_a_malformed_file_do_not_count(grading):
    first, second = sh(write(GRADESCOPE), results="/job/a/results.json"), sh(":")
    first["entrypoint"][2] = "mkdir a; " + write(GRADESCOPE, "a/results.json")
    body = grading(first, sh("echo x >b", results="/job/b"), second)
    assert scores_of(body) == {"owner": "course"} and len(body["result"]["stages"]) == 2
    assert "results" not in body["result"]


def test_a_stage_that_was_ended_may_have_a_file_of_another_kind(grading):
    body = grading(sh("echo '[1]' >results.json; kill -9 $$"))
    assert scores_of(body) == {} and body["logs"]["stderr"] == ""


def test_a_named_path_takes_the_place_of_the_defaults(grading):
    body = grading(sh(write("no json") + "exit 1", results="/job/sub/none.json"), sh("true"))
    assert scores_of(body) == {} and "error" not in body["result"]["stages"][0]


def test_a_malformed_file_is_a_failure_of_the_course_that_quotes_the_place(grading):
    named = sh(write('{"score": 1, "tests": [{"score": "1"}]}'), results="/job/results.json")
    body = grading(named, sh("echo not reached"))
    sentence = "/job/results.json: tests[0].score: must be a number, not a string"
    assert body["success"] is False and scores_of(body) == {"owner": "course"}
    assert body["result"]["stages"][-1]["error"] == sentence and f"[{sentence}]\n" in body["logs"]["stderr"]
    assert "not reached" not in body["logs"]["stdout"]


def test_json_that_is_cut_off_is_malformed(grading):
    body = grading(sh("printf '{\"score\":' >results.json", results="/job/results.json"))
    assert scores_of(body) == {"owner": "course"}
    error = body["result"]["stages"][0]["error"]
    assert error == "/job/results.json: line 1, column 10: it is not JSON: Expecting value"


def test_a_named_file_must_be_there_after_a_success(grading):
    missing = sh("ln -s /etc/hostname results.json", results="/job/results.json")
    body = grading(missing)
    assert body["success"] is False and scores_of(body) == {"owner": "course"}
    assert "there is no such file, or it is not a plain one" in body["result"]["stages"][0]["error"]
    body = grading(sh("exit 3", results="/job/results.json"))
    assert body["success"] is False and scores_of(body) == {}


@pytest.mark.parametrize("content", ['{"points": 3}', "[1, 2]", "", '{"gradable": null}'])
def test_a_file_of_another_kind_means_nothing_at_a_default_path(grading, content):
    body = grading(sh(write(content)))
    assert scores_of(body) == {} and body["success"] is True
    body = grading(sh(write(content), results="/job/results.json"))
    assert scores_of(body) == {"owner": "course"} and body["success"] is False


def test_a_stage_that_was_ended_may_leave_half_a_file(grading):
    body = grading(sh("printf '{' >results.json; kill -9 $$", results="/job/results.json"))
    assert body["success"] is False and scores_of(body) == {}
    assert "/job/results.json: line 1, column 2: it is not JSON" in body["logs"]["stderr"]


@pytest.mark.parametrize(
    ("content", "words"),
    [('{"score": "A"}', "score: must be a number"), ('{"score":', "it is not JSON")],
)
def test_a_malformed_file_at_a_default_path_is_only_noted(grading, content, words):
    for end, success in (("exit 0", True), ("exit 1", False), ("kill -9 $$", False)):
        body = grading(sh(write(content) + end))
        report = body["result"]["stages"][-1]
        assert body["success"] is success and scores_of(body) == {} and body["logs"]["stderr"] == ""
        assert report["note"].startswith("/job/results.json: ") and words in report["note"]


def test_without_defaults_only_a_named_file_counts(api, start_grader):
    api.limits[SCORES] = "true"
    start_grader("--no-default-results")
    body = api.result_of(api.put(sh(write(GRADESCOPE))))
    assert scores_of(body) == {} and "results" not in body["result"]
    assert scores_of(api.result_of(api.put(sh(write(GRADESCOPE), results="/job/results.json"))))["score"] == 3


@pytest.mark.parametrize(
    "script",
    ["ln -s /etc/hosts results.json", "ln -s /etc results", "mkfifo results.json", "mkdir results.json"],
)
def test_what_is_no_plain_file_is_not_read(grading, script):
    assert scores_of(grading(sh(script))) == {}


def test_a_link_to_a_directory_is_not_followed(grading):
    script = f"mkdir real; cd real; {write(GRADESCOPE)} cd ..; ln -s real link"
    body = grading(sh(script, results="/job/link/results.json"))
    assert scores_of(body) == {"owner": "course"}


def test_a_file_of_10_mb_is_malformed(grading):
    script = "head -c 10000000 /dev/zero | tr '\\0' ' ' >results.json; echo '{\"score\": 1}' >>results.json"
    body = grading(sh(script, results="/job/results.json"))
    assert scores_of(body) == {"owner": "course"}
    assert body["result"]["stages"][0]["error"] == "/job/results.json: it holds more than 1048576 bytes"


def test_a_submission_that_is_not_gradable_has_no_score(grading):
    body = grading(sh(write('{"gradable": false, "message": "no main.c"}')))
    assert scores_of(body) == {} and body["success"] is True
    assert body["result"]["results"] == {
        "path": "/job/results.json",
        "format": "prairielearn",
        "gradable": False,
        "output": "no main.c",
    }


@pytest.mark.parametrize(
    "path", ["/grade/results/results.json", "/tmp/r.json", "/proc/1/r", "/a,b/c", "/job/../etc/x", "r"]
)
def test_the_process_runner_has_no_other_directory(grading, path):
    body = grading(sh("echo ran", results=path))
    assert body["success"] is False and body["logs"]["stdout"] == ""
    assert "results" in body["result"]["stages"][0]["error"]


def test_an_api_without_scores_gets_them_in_the_value(api, start_grader):
    start_grader()
    body = api.result_of(api.put(sh(write(GRADESCOPE))))
    assert scores_of(body) == {}
    assert (body["result"]["score"], body["result"]["max_score"], body["result"]["tests"]) == (3, 4, TESTS)
    body = api.result_of(api.put(sh(write("{"), results="/job/results.json")))
    assert scores_of(body) == {} and body["success"] is False
    assert "it is not JSON" in body["result"]["stages"][0]["error"]


def test_the_logs_leave_room_for_tests(api, start_grader):
    api.limits.update({SCORES: "true", "Broadway-Max-Body-Bytes": "2000000"})
    start_grader()
    case = f"<testcase><failure>{'x' * 2000}</failure></testcase>"
    script = f"for i in $(seq 450); do echo '{case}'; done"
    script = (
        f"(echo '<testsuite>'; {script}; echo '</testsuite>') >results.xml; head -c 3000000 /dev/zero | tr '\\0' 'y'"
    )
    body = api.result_of(api.put(sh(script)), 30)
    assert len(body["tests"]) == 450 and max(api.body_sizes) <= 2_000_000
