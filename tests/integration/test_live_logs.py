"""Logs of jobs while they run: chunks from graders, reading them, and following them by server-sent events."""

import subprocess

import httpx
import pytest
from broadway import ROUTE, error_of
from course import config_of
from harness import SCRIPTS, clean_environment, run_stack
from live_logs import ClassicJob, CourseJob
from pipelines import STUDENT, job_id_of, run_of, stage
from waiting import wait_until

LIMIT = 16 * 1024


@pytest.fixture(params=["classic", "course"])
def job(request):
    """A job that runs, of each protocol."""
    if request.param == "classic":
        yield ClassicJob(request.getfixturevalue("stack"))
        return
    job = CourseJob(request.getfixturevalue("staff"))
    yield job
    job.over.set()


@pytest.fixture(scope="module")
def small_stack(tmp_path_factory):
    """One replica that keeps little of a log."""
    yield from run_stack(tmp_path_factory, "logs", api=(f"max-log-bytes={LIMIT}",), both=("heartbeat-interval=1",))


def size_of(job, answer):
    return job.data(answer)["size"]


def test_the_log_of_a_job_that_never_runs_ends_with_its_run(stack):
    run = stack.api.submit_and_start(run_of(1, pre=True))
    path = f"{ROUTE}/grading_job/{job_id_of(run, STUDENT)}/log"
    query = {"stream": "stderr"}
    assert stack.api.request("GET", path, params=query).json()["live"]
    url, events = f"{stack.urls[0]}{path}?stream=stderr&follow=true", None
    with httpx.stream("GET", url, timeout=20, trust_env=False) as follower:
        stack.api.cancel(run)
        events = "".join(follower.iter_text())
    reason = "the grading run was cancelled"
    for text in (events, httpx.get(url, timeout=20, trust_env=False).text):
        assert f'"text":"{reason}"' in text and '"state":"cancelled"' in text
    shown = stack.api.request("GET", path, params=query).json()
    assert (shown["text"], shown["live"], shown["attempt"]) == (reason, False, 0)


# Chunks


def test_a_log_is_read_while_its_job_runs_and_afterwards(job):
    assert job.data(job.log()) == {
        "job_id": job.id, "stream": "stdout", "attempt": 1, "live": True, "from": 0, "to": 0, "size": 0, "text": "",
    }  # fmt: skip
    assert size_of(job, job.send(0, b"one\n")) == 4
    assert size_of(job, job.send(4, "zwö\n".encode(), replica=1)) == 9
    assert size_of(job, job.send(0, b"warning\n", stream="stderr")) == 8
    seen = job.data(job.log())
    assert (seen["text"], seen["size"], seen["live"]) == ("one\nzwö\n", 9, True)
    assert job.data(job.log("stderr"))["text"] == "warning\n"
    job.finish(stdout="one\nzwö\nthree\n", stderr="warning\n")
    seen = job.data(job.log())
    assert (seen["text"], seen["size"], seen["live"]) == ("one\nzwö\nthree\n", 15, False)


def test_a_repeated_chunk_changes_nothing_and_another_one_in_its_place_is_refused(job):
    for _ in range(2):
        assert size_of(job, job.send(0, b"first\n")) == 6
    for offset, chunk, sentence in (
        (0, b"other\n", "has another chunk at 0"),
        (0, b"first\nand more", "has another chunk at 0"),
        (3, b"st\n", "has 6 bytes already, some of them from 3 on"),
    ):
        answer = job.send(offset, chunk)
        assert answer.status_code == 409 and sentence in job.error(answer), answer.text
    assert job.data(job.log())["text"] == "first\n"


def test_a_gap_has_a_mark(job):
    job.send(0, b"begin\n")
    job.send(106, b"end\n")
    seen = job.data(job.log())
    assert (seen["text"], seen["size"]) == ("begin\n\n[... 100 bytes cut ...]\nend\n", 110)
    assert job.data(job.log(range="50-107"))["text"] == "\n[... 56 bytes cut ...]\nen"
    assert size_of(job, job.send(6, 100 * b"x")) == 110
    assert job.data(job.log())["text"] == "begin\n" + 100 * "x" + "end\n"


def test_bytes_that_are_no_utf_8_are_replaced(job):
    job.send(0, b"a\xff\0b\xc3")
    job.send(5, b"\xa4\xe2\x82")
    assert job.data(job.log())["text"] == "a\ufffd\ufffdbä\ufffd\ufffd"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"tail": 1}, "three\n"),
        ({"tail": 2}, "two\nthree\n"),
        ({"tail": 9}, "one\ntwo\nthree\n"),
        ({"range": "0-2"}, "one"),
        ({"range": "4-"}, "two\nthree\n"),
        ({"range": "100-200"}, ""),
    ],
)
@pytest.mark.parametrize("is_over", [False, True])
def test_a_part_of_a_log_is_read_by_lines_or_bytes(job, query, text, is_over):
    job.send(0, b"one\ntwo\n")
    job.send(8, b"three\n")
    if is_over:
        job.finish(stdout="one\ntwo\nthree\n")
    assert job.data(job.log(**query))["text"] == text


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"stream": "both"}, "stream"),
        ({"tail": "0"}, "tail"),
        ({"tail": "many"}, "tail"),
        ({"range": "5-4"}, "range"),
        ({"range": "-5"}, "range"),
        ({"tail": 1, "range": "0-1"}, "range"),
        ({"tail": 1, "follow": "true"}, "tail"),
        ({"lines": 1}, "lines"),
    ],
)
def test_bad_arguments_for_a_log_are_refused(job, query, word):
    answer = job.log(**query)
    assert answer.status_code == 400 and word in job.error(answer), answer.text


def test_chunks_that_mean_nothing_are_refused(job):
    for arguments, status, word in (
        ({"offset": 0, "chunk": b""}, 400, "0 bytes"),
        ({"offset": -1, "chunk": b"x"}, 400, "offset"),
        ({"offset": "x", "chunk": b"x"}, 400, "offset"),
        ({"offset": 10**13, "chunk": b"x"}, 400, "offset"),
        ({"offset": 0, "chunk": b"x", "stream": "stdin"}, 400, "stream"),
        ({"offset": 0, "chunk": b"x" * (64 * 1024 + 1)}, 413, "larger"),
    ):
        answer = job.send(**arguments)
        assert answer.status_code == status and word in job.error(answer), answer.text
    assert job.data(job.log())["size"] == 0


def test_only_the_worker_that_holds_the_job_may_send_chunks(job):
    other = job.staff.grader() if isinstance(job, CourseJob) else job.stack.grader()
    answer = job.send(0, b"x", grader=other)
    assert answer.status_code == 400 and "never handed" in job.error(answer), answer.text
    job.finish(stdout="done\n")
    answer = job.send(0, b"x")
    assert answer.status_code == 409 and "has its result already" in job.error(answer), answer.text


def test_the_log_of_a_job_that_does_not_exist_is_refused(stack):
    answer = stack.api.http.get(f"/api/v1/grading_job/{'0' * 32}/log", params={"stream": "stdout"})
    assert answer.status_code == 400 and "there is no grading job" in error_of(answer), answer.text


def test_another_attempt_begins_with_an_empty_log(stack):
    job = ClassicJob(stack)
    job.send(0, b"lost\n")
    answer = job.grader.finish_response(job.id, None, outcome="infrastructure", reason="disk: full")
    assert answer.status_code == 200, answer.text
    answer = job.send(5, b"more\n")
    assert answer.status_code == 409 and "attempt 1 ended" in job.error(answer), answer.text
    job.grader = stack.grader()
    assert job.grader.take()["job_id"] == job.id
    assert job.data(job.log())["text"] == ""
    job.send(0, b"again\n")
    seen = job.data(job.log())
    assert (seen["attempt"], seen["text"]) == (2, "again\n")


# Limits


def test_a_long_log_loses_its_middle_and_never_its_end(small_stack):
    job = ClassicJob(small_stack)
    text = "".join(f"line {number:05}\n" for number in range(8000)).encode()
    for offset in range(0, len(text), 2000):
        assert job.send(offset, text[offset : offset + 2000]).status_code == 200
    seen = job.data(job.log(replica=0))
    assert seen["size"] == len(text)
    assert seen["text"].startswith("line 00000\n") and seen["text"].endswith("line 07999\n")
    assert "bytes cut ...]" in seen["text"]
    assert len(seen["text"]) < LIMIT * 5 // 4
    assert job.data(job.log(replica=0, tail=1))["text"] == "line 07999\n"


def test_many_short_chunks_count_as_longer_ones(small_stack):
    job = ClassicJob(small_stack)
    for offset in range(60):
        assert job.send(offset, b"x").status_code == 200
    found = small_stack.database.db.log_chunks.count_documents({"_id": {"$gte": f"{job.id}.", "$lt": f"{job.id}/"}})
    assert found < LIMIT // 1024 + 5


def test_a_stored_log_that_was_cut_keeps_the_offsets_of_its_end(small_stack):
    job = ClassicJob(small_stack)
    text = "".join(f"line {number:05}\n" for number in range(8000))
    job.finish(stdout=text)
    seen = job.data(job.log(replica=0))
    assert seen["size"] == len(text) and seen["text"].endswith("line 07999\n")
    assert job.data(job.log(replica=0, range=f"{len(text) - 11}-"))["text"] == "line 07999\n"


def test_chunks_are_removed_when_the_job_has_ended(stack):
    job = ClassicJob(stack)
    job.send(0, b"x")
    chunks = stack.database.db.log_chunks
    mine = {"_id": {"$gte": f"{job.id}.", "$lt": f"{job.id}/"}}
    assert chunks.count_documents(mine) == 2
    job.finish(stdout="x")
    wait_until(lambda: chunks.count_documents(mine) == 0, 60, "the chunks are gone")


# Following


def test_a_log_is_followed_by_events(job):
    stream = job.follow()
    assert stream.status == 200
    assert stream.next() == ("attempt", {"attempt": 1})
    job.send(0, b"one\n")
    assert stream.next() == ("log", {"offset": 0, "text": "one\n"})
    job.send(4, b"two\n")
    job.send(108, b"later\n")
    assert [stream.next() for _ in range(3)] == [
        ("log", {"offset": 4, "text": "two\n"}),
        ("log", {"offset": 8, "text": "\n[... 100 bytes cut ...]\n"}),
        ("log", {"offset": 108, "text": "later\n"}),
    ]
    assert stream.last == "1.114"
    job.finish(stdout="one\ntwo\n" + 100 * "x" + "later\nand the end\n")
    assert stream.rest() == [("log", {"offset": 114, "text": "and the end\n"}), ("end", {"state": "succeeded"})]


def test_a_stream_goes_on_where_the_last_one_ended(job):
    job.send(0, b"one\n")
    job.send(4, b"two\n")
    stream = job.follow(last="1.4")
    assert stream.next() == ("log", {"offset": 4, "text": "two\n"})
    stream.close()
    bad = job.follow(last="somewhere")
    assert bad.status == 400


def test_the_stream_of_a_job_that_has_ended_has_its_log_and_ends(job):
    job.finish(stdout="all\n")
    assert job.follow().rest() == [
        ("attempt", {"attempt": 1}),
        ("log", {"offset": 0, "text": "all\n"}),
        ("end", {"state": "succeeded"}),
    ]


def test_a_stream_goes_on_with_the_next_attempt(stack):
    job = ClassicJob(stack)
    stream = job.follow()
    assert stream.next() == ("attempt", {"attempt": 1})
    job.send(0, b"lost\n")
    assert stream.next() == ("log", {"offset": 0, "text": "lost\n"})
    job.grader.finish_response(job.id, None, outcome="infrastructure", reason="disk: full")
    job.grader = stack.grader()
    assert job.grader.take()["job_id"] == job.id
    job.send(0, b"again\n")
    assert [stream.next(), stream.next()] == [("attempt", {"attempt": 2}), ("log", {"offset": 0, "text": "again\n"})]
    stack.api.cancel(job.run)
    assert stream.rest()[-1][0] == "end"


def test_a_stream_begins_before_its_job_does(stack):
    run = stack.api.submit_and_start(run_of())
    job = object.__new__(ClassicJob)
    job.stack, job.id, job.run = stack, f"{run}10000000", run
    stream = job.follow()
    job.grader = stack.grader()
    assert job.grader.take()["job_id"] == job.id
    assert stream.next() == ("attempt", {"attempt": 1})
    job.send(0, b"x\n")
    assert stream.next() == ("log", {"offset": 0, "text": "x\n"})


def test_followers_of_one_log_and_of_others_share_the_reads(stack):
    jobs = [ClassicJob(stack) for _ in range(3)]
    streams = [(job, job.follow()) for job in jobs for _ in range(4)]
    for number, job in enumerate(jobs):
        for piece in range(5):
            job.send(2 * piece, f"{number}\n".encode())
    for job, stream in streams:
        assert stream.next()[0] == "attempt"
        text = "".join(stream.next()[1]["text"] for _ in range(5))
        assert text == 5 * f"{jobs.index(job)}\n"


# Websockets


def test_a_grader_with_a_websocket_sends_chunks_as_messages(staff):
    course = staff.course()
    socket = staff.socket_grader()
    run = course.run(config=config_of())
    id = socket.take()["grading_job_id"]

    def log():
        return course.http.get(f"/grading_job/{course.name}/{id}/log", params={"stream": "stdout"}).json()["data"][
            "text"
        ]

    def send(**more):
        socket.send({"type": "job_log", "args": {"grading_job_id": id, "stream": "stdout", **more}})

    send(offset=0, text="zwölf\n")
    wait_until(lambda: log() == "zwölf\n", 10, "the chunk is there")
    send(offset=7, text="more\n")
    wait_until(lambda: log() == "zwölf\nmore\n", 10, "the next one too")
    for bad, word in (
        # How many is not said: a reader may see the last chunk before its replica knows that it is stored.
        ({"offset": 3, "text": "x"}, "bytes already, some of them from 3 on"),
        ({"offset": -1, "text": "x"}, "offset"),
        ({"offset": 12, "text": ""}, "text"),
        ({"offset": 12, "text": "x", "stream": "stdin"}, "stream"),
    ):
        send(**bad)
        refusal = socket.receive()
        assert refusal["type"] == "log_refused" and word in refusal["args"]["reason"], refusal
    socket.finish(id)
    wait_until(lambda: course.state(run) == "grading run is complete", 10, "the result counts")


# The reference grader


@pytest.fixture
def start_grader(tmp_path):
    """Starts scripts/grader, which ends with the test."""
    started = []

    def start(stack, *flags):
        argv = [str(SCRIPTS / "grader"), "--runner=process", f"--work-dir={tmp_path}", f"--url={stack.urls[0]}", *flags]
        with open(tmp_path / "grader.log", "ab") as log:
            environment = clean_environment(BROADWAY_CLUSTER_TOKEN=stack.cluster_token)
            started.append(subprocess.Popen(argv, stdout=log, stderr=log, env=environment))

    yield start
    for grader in started:
        grader.kill()
        grader.wait()
    print((tmp_path / "grader.log").read_text(encoding="utf-8")[-3000:])


def sh(script, **more):
    return stage(entrypoint=["/bin/sh", "-c", script], **more)


def job_of(stack, stages):
    """A job without a grader yet."""
    job = object.__new__(ClassicJob)
    job.stack = stack
    job.run = stack.api.submit_and_start(run_of(student_pipeline=stages))
    job.id = f"{job.run}10000000"
    return job


def test_the_reference_grader_sends_a_log_while_the_job_runs(stack, start_grader):
    job = job_of(stack, [sh("echo one; sleep 5; echo $KEY", env={"KEY": "hunter2"}, secret_env=["KEY"])])
    stream = job.follow()
    start_grader(stack)
    assert stream.next() == ("attempt", {"attempt": 1})
    assert stream.next() == ("log", {"offset": 0, "text": "one\n"})
    assert job.data(job.log())["live"] is True
    assert stream.rest() == [("log", {"offset": 4, "text": "***\n"}), ("end", {"state": "succeeded"})]


@pytest.mark.parametrize("protocol", ["course-http", "course-ws"])
def test_so_it_does_in_the_course_protocol(staff, start_grader, protocol):
    course = staff.course()
    start_grader(staff.stack, f"--protocol={protocol}")
    run = course.run(config=config_of(student_pipeline=[sh("echo zwölf; sleep 5; echo two")]))
    url = f"/grading_job/{course.name}/{run}10000000/log"

    def log():
        return course.http.get(url, params={"stream": "stdout"}).json()["data"]

    wait_until(lambda: log()["text"] == "zwölf\n", 20, "the first line is there")
    assert log()["live"] is True
    wait_until(lambda: not log()["live"], 20, "the job has ended")
    assert log()["text"] == "zwölf\ntwo\n"


def test_the_last_line_of_a_long_log_survives_the_default_limits(stack, start_grader):
    start_grader(stack)
    job = job_of(stack, [sh("echo first; head -c 6000000 /dev/zero | tr '\\0' x; echo; echo 'score 97'")])
    stack.api.wait_over(job.run, 60)
    seen = job.data(job.log(range="0-20"))
    assert seen["text"].startswith("first\nxxx") and seen["size"] == 6 + 6000000 + 1 + 9
    assert job.data(job.log(tail=1))["text"] == "score 97\n"
    assert job.data(job.log())["text"].count("bytes cut ...]") == 1
