"""Authorization: the cluster token and guessing, the client token beyond loopback, the internal port."""

import concurrent.futures

import httpx
import pytest
from broadway import ROUTE, Api, ClassicGrader, error_of
from harness import Process, Replica, free_port, run_stack
from pipelines import run_of
from raw import exchange, get
from socket_grader import Socket
from waiting import wait_until

RUN = f"{ROUTE}/grading_run"
CLIENT_TOKEN = "canary-client-token-8d1f"
ANYWHERE = "--bind-address=0.0.0.0"


@pytest.fixture(scope="module")
def besieged_stack(tmp_path_factory):
    """A stack whose limits on failures may be used up."""
    yield from run_stack(tmp_path_factory, "besieged", both=("heartbeat-interval=1",))


def test_after_a_thousand_bad_tokens_guesses_are_429_and_the_good_token_still_registers(besieged_stack):
    url, token = besieged_stack.urls[0], besieged_stack.cluster_token

    def guess(numbers):
        api = Api(url)
        statuses = []
        for n in numbers:
            answer = api.request("GET", f"{ROUTE}/worker_register", params={"token": f"guess-{n}"})
            statuses.append(answer.status_code)
            if answer.status_code == 429:
                seconds = answer.headers["retry-after"]
                assert 1 <= int(seconds) <= 60 and f"try again in {seconds} seconds" in error_of(answer)
        api.close()
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        statuses = [status for part in pool.map(guess, (range(k, 1000, 4) for k in range(4))) for status in part]
    assert set(statuses) == {400, 429} and statuses.count(429) > 100

    checked = checked_tokens(besieged_stack)
    assert checked < 150  # a hundred failures, and those that arrived while they were counted
    internal = Api(besieged_stack.described["api"][0]["internal_url"])
    for _ in range(20):
        answer = internal.request("POST", "/internal/v1/callbacks", json={}, headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 429
        answer = internal.request("GET", "/healthz")
        assert answer.status_code == 200
    internal.close()

    api = Api(url)
    for _ in range(5):
        grader = ClassicGrader(url, token)
        run = api.submit_and_start(run_of(1))
        grader.finish(grader.take())
        assert api.status(run)["state"] == "finished"
        grader.close()
    api.close()


def checked_tokens(stack):
    """How many tokens of callers other than the scheduler a replica has compared."""
    text = httpx.get(f"{stack.described['api'][0]['internal_url']}/metrics", trust_env=False).text
    sample = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if not line.startswith("#")}
    return sample["broadway_api_tokens_judged_total"] - sample["broadway_api_callbacks_total"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:1470"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example", "Origin": "http://evil.example", "Content-Type": "text/plain"},
    ],
    ids=["rebound name", "foreign page", "page without an origin", "both"],
)
def test_a_web_page_can_not_use_a_broadway_without_tokens(stack, headers):
    run = stack.api.submit(run_of(1))
    for answer in client_requests(stack.api, run, headers):
        assert answer.status_code == 403 and "--allowed-host" in error_of(answer)
    assert stack.api.status(run)["state"] == "created"


def test_allowed_hosts_are_served_and_the_client_token_needs_none(stack, make_replica):
    flags = ("--allowed-host=grading.example.edu,other", f"--client-token={CLIENT_TOKEN}")
    api = make_replica(stack, *flags).wait_ready().api
    run = stack.api.submit(run_of(1))
    for headers, status in [
        ({"Host": "Grading.example.edu:8080", "Origin": "https://grading.example.edu"}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example", "Authorization": f"Bearer {CLIENT_TOKEN}"}, 200),
        ({"Host": "evil.example", "Authorization": "Bearer wrong"}, 403),
    ]:
        assert api.request("GET", f"{RUN}/{run}", headers=headers).status_code == status, headers


@pytest.mark.parametrize(
    "head", [" HTTP/1.0\r\n\r\n", " HTTP/1.1\r\nHost:\r\n\r\n"], ids=["without a host", "with an empty one"]
)
def test_a_request_without_a_host_is_refused_without_a_token(stack, head):
    run = stack.api.submit(run_of(1))
    for method in ("GET", "POST"):
        answer = exchange(stack.urls[0], f"{method} {RUN}/{run}{head}")
        assert answer.status in (400, 403) and answer.error
    assert stack.api.status(run)["state"] == "created"


HOSTS = {"evil.example:1471": 403, "Localhost:1471": 200, "10.0.0.7:1471": 200, "[::1]:1471": 200, "": 200}


def asked_for_as(url, path, host):
    return exchange(url, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\n\r\n")


def test_a_rebound_page_does_not_read_the_internal_port(stack):
    internal = stack.described["api"][0]["internal_url"]
    for path in ("/healthz", "/metrics", "/readyz"):
        for host, status in HOSTS.items():
            assert asked_for_as(internal, path, host).status == status, (path, host)


def test_a_rebound_page_does_not_read_the_schedulers_port(stack):
    url, address = stack.described["scheduler"][0]["url"], stack.described["api"][0]["internal_url"]
    for path in ("/healthz", "/metrics", "/readyz"):
        for host, status in HOSTS.items():
            answer = asked_for_as(url, path, host)
            assert answer.status == status, (path, host)
            if status == 403:
                assert "localhost" in answer.error and address not in answer.body.decode()
    assert asked_for_as(url, "/nowhere", "evil.example").status == 404


def test_a_schedulers_port_on_any_other_address_answers_by_every_name(stack, tmp_path):
    port, uri = free_port(), f"--mongodb-uri={stack.described['mongodb_uri']}"
    flags = (uri, "--mongodb-database=by_name", "--metrics-bind-address=0.0.0.0", f"--metrics-port={port}")
    scheduler = Process("broadway-scheduler", *flags, log=tmp_path / "log")
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_open(url), 10, "the port is open")
        assert asked_for_as(url, "/healthz", "broadway-scheduler.grading.svc").status == 200
    finally:
        scheduler.terminate()
        scheduler.wait(20)


def is_open(url):
    try:
        return asked_for_as(url, "/healthz", "localhost").status == 200
    except OSError:
        return False


def test_a_websocket_after_too_many_wrong_tokens_gets_retry_after(besieged_stack):
    url = besieged_stack.urls[0]
    api = Api(url)
    for n in range(101):
        api.request("GET", f"{ROUTE}/worker_register", params={"token": f"guess-{n}"})
    api.close()
    link = Socket(url, "one-more-guess", "anybody")
    code, reason = link.closed()
    seconds = link.socket.response_headers["Retry-After"]
    assert (code, reason) == (1008, f"too many wrong tokens: try again in {seconds} seconds")
    assert 1 <= int(seconds) <= 60


def test_graders_may_use_any_name(stack):
    headers = {"Host": "any.example"}
    grader = stack.grader()
    for method, path in (("POST", "heartbeat"), ("GET", "grading_job")):
        params = {"worker_id": grader.id} | ({"wait": 0} if path == "grading_job" else {})
        assert stack.api.request(method, f"{ROUTE}/{path}", params=params, headers=headers).status_code in (200, 498)


def test_registered_graders_are_served_by_a_fresh_replica_beside_many_unknown_ids(besieged_stack, make_replica):
    """All requests come from one address, as behind an ingress; the replica knows none of the graders."""
    stack = besieged_stack
    grader, late = stack.grader(hostname="elsewhere", concurrency=1), stack.grader()
    fresh = make_replica(stack).wait_ready()

    def ask(numbers):
        api = Api(fresh.url)
        statuses = {
            api.request("POST", f"{ROUTE}/heartbeat", params={"worker_id": f"{n:032x}"}).status_code for n in numbers
        }
        api.close()
        return statuses

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask, range(k, 2000, 16)) for k in range(16)]
        run = stack.api.submit_and_start(run_of(1))
        moved = grader.at(fresh.url)
        assert moved.beat().status_code == 200
        moved.finish(moved.take())
        assert late.at(fresh.url).poll() is None
    assert {status for part in asked for status in part.result()} == {400}
    assert stack.api.wait_over(run)["state"] == "finished"


def test_on_loopback_clients_need_no_token(stack):
    stack.api.status(stack.api.submit(run_of(1)))


def test_on_loopback_clients_need_no_token_even_if_one_is_set(stack, make_replica):
    replica = make_replica(stack, f"--client-token={CLIENT_TOKEN}").wait_ready()
    run = replica.api.submit(run_of(1))
    assert replica.api.request("GET", f"{RUN}/{run}", headers={"Authorization": "Bearer wrong"}).status_code == 200


def refused(answer):
    """True if the answer is the refusal of a client without the token."""
    return answer.status_code == 401 and answer.headers["www-authenticate"].startswith("Bearer") and error_of(answer)


def client_requests(api, run, headers):
    """The answers of the three client endpoints."""
    return [
        api.request("POST", RUN, json=run_of(1), headers=headers),
        api.request("GET", f"{RUN}/{run}", headers=headers),
        api.request("POST", f"{RUN}/{run}", headers=headers),
    ]


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer wrong", f"Basic {CLIENT_TOKEN}", CLIENT_TOKEN, f"Bearer {CLIENT_TOKEN}x"],
)
def test_beyond_loopback_a_client_without_the_token_is_401(stack, guarded, header):
    run = stack.api.submit(run_of(1))
    headers = {} if header is None else {"Authorization": header}
    assert all(refused(answer) for answer in client_requests(guarded.api, run, headers))
    assert stack.api.status(run)["state"] == "created"


@pytest.fixture(scope="module")
def guarded(shared_stack, tmp_path_factory):
    """A replica bound beyond loopback, with a client token."""
    log = tmp_path_factory.mktemp("guarded") / "api.log"
    replica = Replica(
        shared_stack, log, ANYWHERE, f"--client-token={CLIENT_TOKEN}", "--heartbeat-interval=1"
    ).wait_ready()
    yield replica
    replica.end()
    assert CLIENT_TOKEN not in replica.said()


def test_beyond_loopback_the_token_opens_the_client_endpoints(guarded):
    headers = {"Authorization": f"Bearer {CLIENT_TOKEN}"}
    run = guarded.api.request("POST", RUN, json=run_of(0), headers=headers).json()["id"]
    assert [answer.status_code for answer in client_requests(guarded.api, run, headers)] == [200, 200, 200]


def test_the_cluster_token_is_no_client_token(stack, guarded):
    headers = {"Authorization": f"Bearer {stack.cluster_token}"}
    assert refused(guarded.api.request("POST", RUN, json=run_of(1), headers=headers))


def test_graders_need_no_client_token_beyond_loopback(stack, guarded):
    grader = ClassicGrader(guarded.url, stack.cluster_token)
    stack.api.submit_and_start(run_of(1))
    assert grader.beat().status_code == 200
    grader.finish(grader.take())


def test_beyond_loopback_without_a_token_clients_are_401_and_the_log_says_how_to_open(stack, make_replica):
    replica = make_replica(stack, ANYWHERE).wait_ready()
    assert refused(replica.api.request("POST", RUN, json=run_of(1)))
    assert refused(replica.api.request("POST", RUN, json=run_of(1), headers={"Authorization": "Bearer"}))
    assert "--client-token" in replica.said() and "--anonymous-clients" in replica.said()


def test_anonymous_clients_opens_the_client_endpoints(stack, make_replica):
    replica = make_replica(stack, ANYWHERE, "--anonymous-clients").wait_ready()
    replica.api.status(replica.api.submit(run_of(1)))
    assert "anonymous" in replica.said()


def test_callbacks_need_the_internal_token(stack):
    internal = Api(stack.described["api"][0]["internal_url"])
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Bearer {stack.cluster_token}"}):
        answer = internal.request("POST", "/internal/v1/callbacks", json={}, headers=headers)
        assert answer.status_code == 401 and error_of(answer)
    internal.close()


def test_the_internal_port_serves_nothing_of_the_public_one(stack):
    for path in ("grading_run", "worker_register", "grading_job", "heartbeat"):
        answer = exchange(stack.described["api"][0]["internal_url"], get(f"{ROUTE}/{path}"))
        assert answer.status == 404
