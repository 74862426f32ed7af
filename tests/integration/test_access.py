"""Who may call what: the cluster token and its guessers, the client token beyond loopback, the internal port."""

import concurrent.futures

import httpx
import pytest
from broadway import ROUTE, Api, SeedGrader, error_of
from harness import Replica, run_stack
from pipelines import run_of

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

    judged = judged_tokens(besieged_stack)
    assert judged < 150  # a hundred failures, and what came in while they were counted
    internal = Api(besieged_stack.described["api"][0]["internal_url"])
    for _ in range(20):
        answer = internal.request("POST", "/internal/v1/callbacks", json={}, headers={"Authorization": "Bearer wrong"})
        assert answer.status_code == 429
        answer = internal.request("GET", "/healthz")
        assert answer.status_code == 200
    internal.close()

    api = Api(url)
    for _ in range(5):
        grader = SeedGrader(url, token)
        run = api.submit_and_start(run_of(1))
        grader.finish(grader.take())
        assert api.status(run)["state"] == "finished"
        grader.close()
    api.close()


def judged_tokens(stack):
    """How many tokens a replica has compared that no callback carried."""
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
def test_a_web_page_can_not_drive_a_broadway_that_needs_no_token(stack, headers):
    run = stack.api.submit(run_of(1))
    for answer in client_requests(stack.api, run, headers):
        assert answer.status_code == 403 and "--allowed-host" in error_of(answer)
    assert stack.api.status(run)["state"] == "created"


def test_names_that_the_operator_adds_are_served_and_the_client_token_needs_none(stack, make_replica):
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


def test_graders_may_use_any_name(stack):
    headers = {"Host": "any.example"}
    grader = stack.grader()
    for method, path in (("POST", "heartbeat"), ("GET", "grading_job")):
        params = {"worker_id": grader.id} | ({"wait": 0} if path == "grading_job" else {})
        assert stack.api.request(method, f"{ROUTE}/{path}", params=params, headers=headers).status_code in (200, 498)


def test_worker_ids_that_nobody_has_are_not_looked_up_for_ever(besieged_stack):
    """Each costs a read. Workers that the replica knows go on."""
    api = Api(besieged_stack.urls[0])
    grader = SeedGrader(besieged_stack.urls[0], besieged_stack.cluster_token)
    statuses = [
        api.request("POST", f"{ROUTE}/heartbeat", params={"worker_id": f"{n:032x}"}).status_code for n in range(1100)
    ]
    assert set(statuses) == {400, 429} and statuses.count(429) >= 50
    assert grader.beat().status_code == 200 and grader.poll() is None
    grader.close()
    api.close()


def test_on_loopback_clients_need_no_token(stack):
    stack.api.status(stack.api.submit(run_of(1)))


def test_on_loopback_they_need_none_even_if_there_is_one(stack, make_replica):
    replica = make_replica(stack, f"--client-token={CLIENT_TOKEN}").wait_ready()
    run = replica.api.submit(run_of(1))
    assert replica.api.request("GET", f"{RUN}/{run}", headers={"Authorization": "Bearer wrong"}).status_code == 200


def refused(answer):
    """Is this the refusal of a client without the token?"""
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
    grader = SeedGrader(guarded.url, stack.cluster_token)
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
    internal = Api(stack.described["api"][0]["internal_url"])
    for path in ("grading_run", "worker_register", "grading_job", "heartbeat"):
        assert internal.request("GET", f"{ROUTE}/{path}").status_code == 404
    internal.close()
