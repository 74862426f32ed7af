"""Who may call what: the cluster token and its guessers, the client token beyond loopback, the internal port."""

import concurrent.futures

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
                assert int(answer.headers["retry-after"]) >= 1 and error_of(answer)
        api.close()
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        statuses = [status for part in pool.map(guess, (range(k, 1000, 4) for k in range(4))) for status in part]
    assert set(statuses) == {400, 429} and statuses.count(429) > 100

    api = Api(url)
    for _ in range(5):
        grader = SeedGrader(url, token)
        run = api.submit_and_start(run_of(1))
        grader.finish(grader.take())
        assert api.status(run)["state"] == "finished"
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
