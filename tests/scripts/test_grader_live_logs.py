"""The reference grader sends logs while jobs run, and masks the values of secret variables."""

import random
import time

import pytest
from broadway_tools.grader.live_log import CHUNK_BYTES, MOST_WAITING, LiveLog, LiveSender, _Waiting
from broadway_tools.grader.masks import LONGEST, Mask, MaskedSink
from broadway_tools.grader.server_errors import Refused, Unavailable
from processes import wait_until

TAKES_CHUNKS = {"Broadway-Logs": "chunks"}


def sh(script, **more):
    return {"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": [], **more}


# Sending


def test_a_log_is_sent_while_its_job_runs(api, start_grader):
    api.limits = TAKES_CHUNKS
    start_grader()
    job = api.put(sh("echo one; echo err >&2; sleep 3; echo two; sleep 3; echo three"))
    api.wait_for(lambda: api.log_of(job, "stdout") == "one\ntwo\n")
    assert job not in api.results
    assert api.log_of(job, "stderr") == "err\n"
    assert api.result_of(job)["logs"] == {"stdout": "one\ntwo\nthree\n", "stderr": "err\n"}


def test_a_short_job_sends_no_chunks_and_neither_does_a_stage_without_logs(api, start_grader):
    api.limits = TAKES_CHUNKS
    start_grader()
    short, quiet = api.put(sh("echo x")), api.put(sh("echo x; sleep 4", logs=False))
    api.result_of(short)
    api.result_of(quiet)
    assert api.chunks == {}


@pytest.mark.parametrize("flags", [(), ("--no-live-logs",)])
def test_nothing_is_sent_unasked(api, start_grader, flags):
    api.limits = TAKES_CHUNKS if flags else {}
    start_grader(*flags)
    api.result_of(api.put(sh("echo x; sleep 4")))
    assert api.chunks == {}


@pytest.mark.parametrize("status", [404, 409, 503, None])
def test_a_refused_chunk_does_not_touch_the_result(api, start_grader, status):
    api.limits = TAKES_CHUNKS
    job = "0" * 32
    api.refusals = [("POST", f"/api/v1/grading_job/{job}/log", status)] * 5
    start_grader()
    api.put(sh("echo x; sleep 4"), job_id=job)
    body = api.result_of(job)
    assert (body["success"], body["logs"]["stdout"]) == (True, "x\n")


class Api:
    """Takes chunks as a function of a LiveLog."""

    def __init__(self, *failures):
        self.failures = list(failures)
        self.tries = []
        self.taken = []

    def __call__(self, stream, offset, chunk):
        self.tries.append((stream, offset, chunk))
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append((stream, offset, chunk))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("broadway_tools.grader.live_log.BEGIN_S", 0.05)
    monkeypatch.setattr("broadway_tools.grader.live_log.PAUSE_S", 0.05)


def test_a_chunk_whose_answer_is_lost_is_sent_again_as_it_was(quick):
    api = Api(Unavailable("lost", 0.01))
    with LiveLog(LiveSender(), "job", lambda: api) as live:
        write = live.sink("stdout")
        write(b"one\n")
        wait_until(lambda: api.tries, "it was sent")
        write(b"two\n")
        wait_until(lambda: len(api.taken) == 2, "both are taken")
    assert api.taken == [("stdout", 0, b"one\n"), ("stdout", 4, b"two\n")]


def test_what_waits_too_long_loses_its_oldest_part(quick):
    api = Api(Unavailable("down", 0.3))
    text = "".join(f"{number:09}é\n" for number in range(60_000)).encode()
    with LiveLog(LiveSender(), "job", lambda: api) as live:
        live.sink("stderr")(text)
        wait_until(lambda: api.taken and api.taken[-1][1] + len(api.taken[-1][2]) == len(text), "the end is sent")
    for _, offset, chunk in api.taken:
        assert len(chunk) <= CHUNK_BYTES and chunk.decode() and text[offset : offset + len(chunk)] == chunk
    assert sum(len(chunk) for _, _, chunk in api.taken) <= MOST_WAITING


def test_after_a_refusal_nothing_is_sent(quick):
    api = Api(Refused(409, "not yours"))
    with LiveLog(LiveSender(), "job", lambda: api) as live:
        live.sink("stdout")(b"one\n")
        wait_until(lambda: api.tries, "it was sent")
        live.sink("stdout")(b"two\n")
        time.sleep(0.3)
    assert len(api.tries) == 1


def test_chunks_end_between_characters():
    waiting = _Waiting()
    waiting.add("aé€😀".encode(), MOST_WAITING)
    parts, sizes = [], [2, 3, 4, 9]
    for most in sizes:
        offset, chunk = waiting.first(most)
        parts.append(chunk.decode())
        waiting.drop(offset + len(chunk))
    assert "".join(parts) == "aé€😀"


# Masking


def masked(chunks, *values):
    parts = []
    sink = MaskedSink(type("Sink", (), {"write": staticmethod(parts.append)}), Mask(values))
    for chunk in chunks:
        sink.write(chunk)
    sink.flush()
    return b"".join(parts)


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        (b"the token is hunter2!", ["hunter2"], b"the token is ***!"),
        (b"hunter2hunter2", ["hunter2"], b"******"),
        (b"hunter", ["hunter2"], b"hunter"),
        (b"abc abcdef", ["abc", "abcdef"], b"*** ***"),
        (b"abcde", ["abc", "abcdef"], b"***de"),
        (b"aaab", ["aab"], b"a***"),
        ("schlüssel".encode(), ["lüs"], b"sch***sel"),
        (b"x" * 3 * LONGEST, ["x" * 3 * LONGEST], b"*********"),
        (b"nothing", [], b"nothing"),
    ],
)
def test_values_are_masked_wherever_a_stream_is_cut(text, values, result):
    assert masked([text], *values) == result
    for size in (1, 2, 3, 5):
        assert masked([text[at : at + size] for at in range(0, len(text), size)], *values) == result


def test_random_streams_are_masked_as_a_whole_text_is():
    dice = random.Random(1)
    for _ in range(2000):
        values = ["".join(dice.choices("ab", k=dice.randint(1, 4))) for _ in range(dice.randint(1, 3))]
        text = bytes(dice.choices(b"abc", k=30))
        cuts = sorted(dice.choices(range(31), k=4))
        chunks = [text[a:b] for a, b in zip([0, *cuts], [*cuts, 30], strict=True)]
        assert masked(chunks, *values) == Mask(values).bytes(text), (values, text, chunks)


def test_a_secret_is_neither_in_chunks_nor_in_results_nor_in_the_log(api, start_grader):
    api.limits = TAKES_CHUNKS
    grader = start_grader()
    secret = "hunter2-hunter2"
    marked = {"env": [f"KEY={secret}"], "secret_env": ["KEY"]}
    script = (
        "printf hunter2; sleep 0.2; printf -- -hunter2; echo; echo $KEY >&2; echo $KEY >kept;"
        """ printf '{"key": "%s", "%s": [1]}' $KEY $KEY >result.json; sleep 3"""
    )
    job = api.put(sh(script, **marked), sh("cat kept"), {"image": secret, "entrypoint": [f"/{secret}"], "env": []})
    body = api.result_of(job)
    assert api.log_of(job, "stdout") == "***\n" and api.log_of(job, "stderr") == "***\n"
    assert body["logs"]["stdout"] == "***\n***\n" and body["logs"]["stderr"].startswith("***\n")
    assert body["result"]["output"] == {"key": "***", "***": [1]}
    assert [stage["stdout"] for stage in body["result"]["stages"][:2]] == ["***\n", "***\n"]
    assert secret not in str(body["logs"]) + body["result"]["stages"][2]["error"]
    grader.stop()
    assert secret not in grader.stderr


def test_numbers_that_are_secrets_are_masked_unless_they_are_scores():
    mask = Mask(["83911234"])
    assert mask.value({"pin": 83911234, "more": [1, 2.5, True, 839112345]}) == {
        "pin": "***",
        "more": [1, 2.5, True, "***5"],
    }
    assert mask.value({"score": 83911234}, masks_names=False) == {"score": 83911234}
