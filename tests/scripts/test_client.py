"""The library `broadway`: both clients do the same, and take any answer without another error than their own."""

import asyncio
import inspect
import json
import ssl
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import broadway as library
import pytest
from broadway import AsyncClient, BadAnswer, BroadwayError, Client, NotFound, Refused, Unavailable
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from fake_api import FakeApi

RUN, JOB = "6b05c5d2164163397800c81b", "6b05c5d2164163397800c81b10000000"
DEFINITION = {"student_pipeline": [{"image": "any"}], "students": [{"NETID": "ada"}]}


class Blocking:
    """The calls of Client, as functions that return a list for what is yielded."""

    def __init__(self, *arguments, **more):
        self.client = Client(*arguments, **more)

    def __call__(self, name, *arguments, **more):
        made = getattr(self.client, name)(*arguments, **more)
        return list(made) if inspect.isgenerator(made) else made


class Asynchronous:
    """The same calls of AsyncClient."""

    def __init__(self, *arguments, **more):
        self.arguments, self.more = arguments, more

    def __call__(self, name, *arguments, **more):
        async def call():
            async with AsyncClient(*self.arguments, **self.more) as client:
                made = getattr(client, name)(*arguments, **more)
                return [item async for item in made] if inspect.isasyncgen(made) else await made

        return asyncio.run(call())


@pytest.fixture(params=[Blocking, Asynchronous])
def make(request):
    return request.param


def test_both_clients_have_the_same_methods():
    def signatures(kind):
        return {
            name: [str(parameter) for parameter in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert signatures(Client) == signatures(AsyncClient)
    for name in signatures(Client):
        assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__, name


def test_every_public_name_has_a_description():
    for name in library.__all__:
        assert getattr(library, name).__doc__, name
    for name, method in inspect.getmembers(Client, inspect.isfunction):
        if not name.startswith("_"):
            assert method.__doc__, name


def test_submit_start_and_follow(make, api):
    api.statuses = [("students", {"running": 1}), ("finished", {"succeeded": 1})]
    client = make(api.url, "token")
    run = client("submit", DEFINITION)
    client("start", run)
    statuses = client("follow", run, 0.01)
    assert [status.state for status in statuses] == ["students", "finished"]
    assert statuses[-1].is_success and statuses[-1].done == 1
    assert api.authorizations == {"Bearer token"}


def test_lost_answers_and_503_are_repeated_and_said(make, api):
    api.statuses = [("finished", {"succeeded": 1})]
    path = "/api/v1/grading_run"
    api.refusals += [("POST", path, 503), ("POST", path, None)]
    said = []
    client = make(api.url, retry_for=10, on_retry=said.append)
    run = client("submit", DEFINITION)
    assert len(said) == 2 and "503: refused by the test" in said[0] and "doesn't answer" in said[1]
    api.lost_answers.append(("POST", f"{path}/{run}"))
    client("start", run)  # "started already" is what the repetition is told
    assert api.runs[run]["state"] == "students"


def test_a_start_that_is_refused_at_first_is_an_error(make, api):
    client = make(api.url)
    run = client("submit", DEFINITION)
    client("start", run)
    with pytest.raises(Refused, match="started already"):
        client("start", run)


def test_the_next_server_is_used_at_once_and_kept(make, api):
    with FakeApi() as gone:
        away = gone.url
    said = []
    client = make([away, api.url], on_retry=said.append, retry_for=5)
    run = client("submit", DEFINITION)
    assert len(said) == 1 and run in api.runs


def test_no_server_in_time(make):
    with FakeApi() as gone:
        url = gone.url
    with pytest.raises(Unavailable, match="doesn't answer"):
        make([url, url], retry_for=0)("status", RUN)


@pytest.mark.parametrize("url", ["", "x", "ftp://x", "http://", "http://a:b@x", "http://x:port", "http://[x"])
def test_a_url_that_is_none(url):
    with pytest.raises(ValueError, match="URL"):
        Client(url)


@pytest.mark.parametrize("token", ["", "two words", "a\nb", "ü"])
def test_a_token_that_is_none_is_not_in_the_error(token):
    with pytest.raises(ValueError, match="the token has white space") as error:
        Client("http://x", token)
    assert not token or token not in str(error.value)


class Answers(ThreadingHTTPServer):
    """A server that answers every request with `status`, `headers` and `body`, then closes."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.headers, self.body, self.length = 200, {}, b"", None
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        length = self.server.length
        self.send_header("Content-Length", str(len(self.server.body) if length is None else length))
        self.end_headers()
        self.wfile.write(self.server.body)

    do_POST = do_GET


@pytest.fixture
def answers():
    server = Answers()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("course", [None, "cs225"])
def test_a_new_run_has_the_secrets_of_its_webhooks(make, answers, course):
    webhooks = [{"id": RUN, "url": "https://hooks.example.org/", "secret": "s" * 32}]
    answer = {"id" if course is None else "grading_run_id": RUN, "webhooks": webhooks}
    answers.body = json.dumps(answer if course is None else {"status": "success", "data": answer}).encode()
    client = make(answers.url, course=course)
    more = {} if course is None else {"assignment": "hw1"}
    assert client("create", DEFINITION, **more) == {"id": RUN, "webhooks": webhooks}
    assert client("submit", DEFINITION, **more) == RUN


CALLS = [
    ("status", RUN), ("submit", DEFINITION), ("jobs", RUN), ("runs",), ("results", RUN), ("job", JOB),
    ("log", JOB), ("cancel_job", JOB), ("pause", RUN), ("receipts", RUN), ("audit",), ("history",), ("pauses",),
    ("estimate", RUN), ("estimate_job", JOB),
    ("create", DEFINITION), ("scheduling",), ("set_share", "cs225", 5), ("reserve", "exam", ["gpu"]),
]  # fmt: skip
MALFORMED = [
    b"", b"null", b"[]", b"3", b'"x"', b"<html>", b"{", b"\xff", b"[" * 100_000, b"{}",
    b'{"state": 1, "progress": {}}', b'{"state": "finished", "progress": []}', b'{"id": 5}', b'{"jobs": [1]}',
    b'{"jobs": [{"job_id": 5}]}', b'{"grading_runs": {}}', b'{"paused": 1}', b'{"entries": null}',
]  # fmt: skip


@pytest.mark.parametrize("course", [None, "cs225"])
@pytest.mark.parametrize("call", CALLS, ids=lambda call: call[0])
def test_a_malformed_answer_is_a_bad_answer(make, answers, call, course):
    client = make(answers.url, retry_for=0, course=course)
    more = {"assignment": "hw1"} if call[0] in ("submit", "create") and course else {}
    for body in MALFORMED:
        for answers.body in (body, b'{"status": "success", "data": ' + (body or b"0") + b"}"):
            # Nothing at all is no row, any object may be receipts, and one with a state a cancelled job.
            is_any = call[0] in ("results", "receipts", "cancel_job")
            try:
                client(*call, **more)
            except BadAnswer as error:
                assert len(str(error).splitlines()) == 1
            else:
                assert is_any, answers.body


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"error": "there is no grading run 'x'"}, NotFound, "there is no"),
        (
            400,
            {"status": "fail", "data": {"message": "grading run with the given ID not found"}},
            NotFound,
            "not found",
        ),
        (404, {"error": "there is nothing at /x", "message": "?"}, NotFound, "nothing at"),
        (400, {"status": "fail", "data": "env: must be an object"}, Refused, "env: must"),
        (401, {"error": "the client token is wrong"}, Refused, "the client token is wrong: give a valid token"),
        (409, {"error": "it is over", "state": "finished"}, Refused, "it is over"),
        (500, {"message": "out of memory"}, Refused, "out of memory"),
        (302, None, Refused, "status 302"),
        (503, {"error": "try again"}, Unavailable, "says 503: try again"),
        (429, {"error": "too many wrong tokens"}, Unavailable, "too many"),
    ],
)
def test_refusals_are_distinguished(make, answers, status, body, kind, words):
    answers.status, answers.body = status, b"<html>" if body is None else json.dumps(body).encode()
    answers.headers = {"Retry-After": "3600"}
    with pytest.raises(BroadwayError, match=words) as error:
        make(answers.url, retry_for=0.1)("status", RUN)
    assert type(error.value) is kind


def test_an_answer_that_can_not_be_decoded(make, answers):
    answers.headers, answers.body = {"Content-Encoding": "gzip"}, b"no gzip"
    with pytest.raises(BadAnswer, match="can't be read"):
        make(answers.url, retry_for=0)("status", RUN)


def test_results_that_break_off_are_not_taken_for_all(make, answers):
    row = {"grading_run_id": RUN, "job_id": JOB, "student": {"index": 0, "env": {}}, "outcome": None, "attempts": 0}
    answers.body = json.dumps(row).encode() + b"\n"
    assert make(answers.url)("results", RUN) == [row]
    answers.length = len(answers.body) + 1
    with pytest.raises(Unavailable, match="broke off"):
        make(answers.url, retry_for=0)("results", RUN)


@pytest.fixture
def certified(answers, tmp_path):
    """The server with TLS; the file of its certificate, which nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    path = tmp_path / "certificate.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    answers.socket = context.wrap_socket(answers.socket, server_side=True)
    return path


def test_a_certificate_is_trusted_only_if_it_is_given(make, answers, certified):
    url = answers.url.replace("http://127.0.0.1", "https://localhost")
    answers.body = b'{"entries": []}'
    assert make(url, ca_file=str(certified))("audit") == []
    with pytest.raises(Unavailable, match="its certificate is not accepted: self-signed certificate: check the URL"):
        make(url, retry_for=60)("audit")


def test_a_server_without_tls(make, answers):
    with pytest.raises(Unavailable):
        make(answers.url.replace("http:", "https:"), retry_for=0)("status", RUN)
