"""Webhooks: events of runs and of the cluster, in order, retried, signed, and only to allowed addresses."""

import hmac
import json
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from broadway import ROUTE, error_of
from course import config_of
from course_names import bearer
from harness import ROOT, Stack
from pipelines import long_run_of, run_of
from test_docs import check
from waiting import holds_for, wait_until
from webhook_target import SECRET, Target, sample

SAMPLE = ROOT / "scripts/samples/webhook_receiver.py"

FLAGS = ("webhook-allow=127.0.0.1/32", "no-workers-after=1")


@pytest.fixture(scope="module")
def hooked_stack(tmp_path_factory):
    """A stack whose webhooks may be sent to this machine; its queue is empty before a test."""
    stack = Stack(tmp_path_factory.mktemp("webhooks"), both=("heartbeat-interval=1",), scheduler=FLAGS).up()
    yield stack
    stack.down()


@pytest.fixture
def hooked(hooked_stack):
    hooked_stack.drain()
    yield hooked_stack
    hooked_stack.stop_graders()


@pytest.fixture
def target():
    with Target() as opened:
        yield opened


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def operate(stack, method, path, **request):
    return stack.api.request(method, ROUTE + path, headers=bearer(stack.cluster_token), **request)


def create(stack, **webhook):
    answer = operate(stack, "POST", "/webhooks", json=webhook)
    assert answer.status_code == 200, answer.text
    return answer.json()["webhook"]


def delete(stack, webhook):
    answer = operate(stack, "POST", f"/webhooks/{webhook['id']}/delete")
    assert (answer.status_code, answer.json()) == (200, {}), answer.text


def deliveries(stack, webhook):
    answer = operate(stack, "GET", f"/webhooks/{webhook['id']}/deliveries")
    assert answer.status_code == 200, answer.text
    check("webhook_deliveries", answer.json())
    return answer.json()["deliveries"]


def first_tried(stack, webhook):
    return wait_until(lambda: [it for it in deliveries(stack, webhook) if it["attempts"]], 10, "it is tried")[0]


def submit(stack, definition, *webhooks):
    answer = stack.api.request("POST", f"{ROUTE}/grading_run", json={**definition, "webhooks": list(webhooks)})
    assert answer.status_code == 200, answer.text
    created = answer.json()
    stack.api.start(created["id"])
    return created


def finish(stack, run, jobs=1, **result):
    grader = stack.grader()
    for _ in range(jobs):
        grader.finish(grader.take(), **result)
    stack.api.wait_over(run)
    return grader


def test_a_run_notifies_its_webhook_of_a_failed_job_and_of_its_end(hooked, target):
    created = submit(hooked, run_of(2, name="Week 3"), {"url": target.url, "secret": SECRET})
    run = created["id"]
    assert created["webhooks"][0]["secret"] == SECRET
    grader = hooked.grader()
    grader.finish(grader.take())
    failed = grader.take()
    grader.finish(failed, success=False)
    wait_until(lambda: len(target.taken()) == 2, 10, "both events arrive")
    job, end = target.taken()
    check("webhook_job_failed", job)
    assert (job["event"], job["event_id"]) == ("job_failed", f"{failed['job_id']}.job_failed")
    assert (job["job"]["owner"], job["job"]["student"], job["run"]["id"]) == ("student", 1, run)
    assert (end["event"], end["event_id"]) == ("run_finished", f"{run}.run_finished")
    assert end["run"]["students"] == {"total": 2, "succeeded": 1, "failed": 1, "cancelled": 0, "superseded": 0}
    assert (end["run"]["name"], end["run"]["state"]) == ("Week 3", "finished")
    check("grading_run_created", created)
    listed = hooked.api.request("GET", f"{ROUTE}/grading_run/{run}/webhooks").json()["webhooks"]
    assert [{**hook, "secret": SECRET} for hook in listed] == created["webhooks"]
    assert "secret" not in listed[0]


def test_a_webhook_of_the_cluster_hears_of_pauses_by_hand_and_by_the_breaker(hooked, target):
    webhook = create(hooked, url=target.url, events=["run_paused"])
    target.secret = webhook["secret"]
    assert len(webhook["secret"]) == 64 and webhook["events"] == ["run_paused"]
    run = hooked.api.submit_and_start(run_of(4, breaker=2))
    asked = {"note": "wrong tests", "timeout": 600}
    shown = hooked.api.request("POST", f"{ROUTE}/grading_run/{run}/pause", json=asked).json()["paused"]
    wait_until(lambda: target.events() == ["run_paused"], 5, "the pause by hand is told")
    first = target.taken()[0]
    assert (first["pause"], first["run"]["id"], "signature" in first) == (shown, run, False)
    hooked.api.cancel(run)
    run = hooked.api.submit_and_start(run_of(4, breaker=2))
    grader = hooked.grader()
    for _ in range(2):
        grader.finish(grader.take(), {"stages": []}, success=False, logs={"stderr": "no tests"})
    wait_until(lambda: len(target.events()) == 2, 5, "the pause by the breaker is told")
    second = target.taken()[1]
    check("webhook_run_paused", first)
    check("webhook_run_paused", second)
    assert second["pause"]["automatic"] and second["pause"]["note"].endswith(second["signature"])
    assert second["event_id"] == f"{run}.run_paused.breaker"
    hooked.api.cancel(run)
    delete(hooked, webhook)


def test_a_lost_grader_and_missing_graders_are_notified_once(hooked, target):
    webhook = create(hooked, url=target.url, secret=SECRET, events=["worker_lost", "no_workers"])
    run = hooked.api.submit_and_start(run_of(1))
    grader = hooked.grader(hostname="lab-9", concurrency=1)
    grader.take()
    wait_until(lambda: {"worker_lost", "no_workers"} <= set(target.events()), 20, "both are told")
    lost = next(it for it in target.taken() if it["event"] == "worker_lost" and it["worker"].get("hostname") == "lab-9")
    check("webhook_worker_lost", lost)
    assert (lost["worker"]["id"], lost["worker"]["jobs"]) == (grader.id[:8], 1)
    assert grader.id not in str(target.requests)
    missing = [it for it in target.taken() if it["event"] == "no_workers"]
    assert [(it["protocol"], it["queued_jobs"]) for it in missing] == [("classic", 1)]
    check("webhook_no_workers", missing[0])
    holds_for(lambda: target.events().count("no_workers") == 1, 2.5, "it is told once")
    hooked.api.cancel(run)
    delete(hooked, webhook)


def test_what_a_receiver_that_was_down_missed_arrives_in_order_and_delays_nobody(hooked, target):
    dead = Target()
    dead.close()
    webhooks = [create(hooked, url=it.url, secret=SECRET, events=["run_finished"]) for it in (dead, target)]
    runs = []
    for _ in range(4):
        runs.append(hooked.api.submit_and_start(run_of(1)))
        finish(hooked, runs[-1])
    ends = [f"{run}.run_finished" for run in runs]
    wait_until(lambda: [it["event_id"] for it in target.taken()] == ends, 5, "the other receiver has all")
    wait_until(lambda: deliveries(hooked, webhooks[0])[-1]["attempts"] >= 2, 20, "the first delivery is tried again")
    log = deliveries(hooked, webhooks[0])
    assert [it["event_id"] for it in log] == ends[::-1] and all(it["state"] == "pending" for it in log)
    assert "connect" in log[-1]["error"] and log[-1]["next_attempt_at"] and log[0]["attempts"] == 0
    assert "\nbroadway_scheduler_webhooks_waiting 1" in scheduler_metrics(hooked)
    dead.open()
    wait_until(lambda: len(dead.taken()) == 4, 30, "all arrive")
    assert [it["event_id"] for it in dead.taken()] == ends
    wait_until(lambda: deliveries(hooked, webhooks[0])[-1]["state"] == "delivered", 5, "it is recorded")
    dead.close()
    for webhook in webhooks:
        delete(hooked, webhook)


def test_receivers_of_runs_that_are_slow_leave_the_cluster_room(hooked, target):
    with Target() as slow:
        slow.delay = 3
        webhook = create(hooked, url=target.url, secret=SECRET, events=["run_finished"])
        runs = [submit(hooked, run_of(1), *[{"url": slow.url}] * 5)["id"] for _ in range(3)]
        for run in runs:
            hooked.api.cancel(run)
        wait_until(lambda: len(target.taken()) == 3, 10, "the cluster's webhook has all")
        assert len(slow.requests) < 15
        wait_until(lambda: len(slow.requests) == 15, 20, "the slow ones arrive too")
        assert slow.most == 8
        delete(hooked, webhook)


def scheduler_metrics(stack):
    return httpx.get(stack.described["scheduler"][0]["url"] + "/metrics").text


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(hooked, target, status):
    with Target() as other:
        target.status, target.location = status, other.url
        webhook = create(hooked, url=target.url, secret=SECRET, events=["run_finished"])
        finish(hooked, hooked.api.submit_and_start(run_of(1)))
        tried = first_tried(hooked, webhook)
        assert (tried["status"], tried["state"]) == (status, "pending")
        assert tried["error"] == "it was answered by a redirect, which is not followed"
        assert other.requests == []
        delete(hooked, webhook)


def test_a_deleted_webhook_gets_nothing_more(hooked, target):
    target.status = 500
    webhook = create(hooked, url=target.url, secret=SECRET)
    finish(hooked, hooked.api.submit_and_start(run_of(1)))
    wait_until(lambda: target.requests, 5, "it is tried")
    delete(hooked, webhook)
    target.status = 200
    seen = len(target.requests)
    holds_for(lambda: len(target.requests) == seen, 3, "nothing is sent")
    assert hooked.database.db.webhook_deliveries.count_documents({"webhook": webhook["id"]}) == 0
    answer = operate(hooked, "POST", f"/webhooks/{webhook['id']}/delete")
    assert (answer.status_code, error_of(answer)) == (400, f"there is no webhook '{webhook['id']}'")


def test_what_a_later_version_has_stored_stays_and_delays_nobody(hooked, target):
    """The sender looks at the webhooks in the order of their ids."""
    database, target.status = hooked.database.db, 500
    webhooks = [create(hooked, url=target.url, secret=SECRET, events=["run_finished"]) for _ in range(3)]
    webhook, event, last = sorted(it["id"] for it in webhooks)
    finish(hooked, hooked.api.submit_and_start(run_of(1)))
    for each in webhooks:
        first_tried(hooked, each)
    database.webhooks.update_one({"_id": webhook}, {"$set": {"format": "later"}})
    database.webhook_deliveries.update_one({"webhook": event}, {"$set": {"event": "later"}})
    target.status = 200

    def pending():
        return {it["webhook"] for it in database.webhook_deliveries.find({"state": "pending"})}

    wait_until(lambda: last not in pending(), 30, "the last is delivered")
    holds_for(lambda: {webhook, event} <= pending(), 3, "what can't be read stays")
    database.webhooks.update_one({"_id": webhook}, {"$set": {"format": "broadway"}})
    for each in webhooks:
        delete(hooked, each)


def test_an_event_is_delivered_again_on_request(hooked, target):
    webhook = create(hooked, url=target.url, secret=SECRET, events=["run_finished"])
    run = hooked.api.submit_and_start(run_of(1))
    finish(hooked, run)
    wait_until(lambda: [it["state"] for it in deliveries(hooked, webhook)] == ["delivered"], 5, "it is delivered")
    asked = {"event_id": f"{run}.run_finished"}
    assert operate(hooked, "POST", f"/webhooks/{webhook['id']}/redeliver", json=asked).status_code == 200
    wait_until(lambda: len(target.requests) >= 2, 5, "it is sent again")
    assert target.requests[0][2] == target.requests[1][2] and len(target.taken()) == 1
    asked = {"event_id": "none"}
    answer = operate(hooked, "POST", f"/webhooks/{webhook['id']}/redeliver", json=asked)
    assert (answer.status_code, error_of(answer)) == (400, "the webhook has no delivery of the event 'none'")
    delete(hooked, webhook)


def test_a_delivery_log_has_pages(hooked, target):
    webhook = create(hooked, url=target.url, secret=SECRET, events=["job_failed"])
    run = hooked.api.submit_and_start(run_of(3))
    finish(hooked, run, jobs=3, success=False)
    wait_until(lambda: len(deliveries(hooked, webhook)) == 3, 5, "all are recorded")
    path, seen, after = f"/webhooks/{webhook['id']}/deliveries", [], None
    while after is not None or not seen:
        page = operate(hooked, "GET", path, params={"limit": 2, **({"after": after} if after else {})}).json()
        seen += page["deliveries"]
        after = page["next"]
    assert [it["event_id"] for it in seen] == [it["event_id"] for it in deliveries(hooked, webhook)]
    answer = operate(hooked, "GET", path, params={"after": "none"})
    assert (answer.status_code, error_of(answer)) == (400, "the webhook has no delivery of the event 'none'")
    delete(hooked, webhook)


@pytest.mark.parametrize(("format", "key"), [("slack", "text"), ("discord", "content")])
def test_chats_get_a_sentence(hooked, target, format, key):
    run = submit(hooked, run_of(1, name="<Week> & 3"), {"url": target.url, "secret": SECRET, "format": format})["id"]
    finish(hooked, run)
    wait_until(lambda: target.requests, 5, "it arrives")
    name = "&lt;Week&gt; &amp; 3" if format == "slack" else "<Week> & 3"
    sentence = f"Grading run {run} ({name}) is finished: 1 student succeeded, 0 failed, 0 were cancelled."
    body = target.taken()[0]
    assert body[key] == sentence
    assert body == {key: sentence} | ({"allowed_mentions": {"parse": []}} if format == "discord" else {})


def test_a_long_or_slow_answer_does_not_matter(hooked, target):
    target.body, target.delay = b"x" * 1_000_000, 0.5
    webhook = create(hooked, url=target.url, secret=SECRET, events=["run_finished"])
    finish(hooked, hooked.api.submit_and_start(run_of(1)))
    wait_until(lambda: [it["state"] for it in deliveries(hooked, webhook)] == ["delivered"], 5, "it is delivered")
    assert len(target.requests) == 1
    delete(hooked, webhook)


def test_a_repeated_submission_has_the_same_webhooks(hooked, target):
    body = {**run_of(1), "webhooks": [{"url": target.url}]}
    key = {"Idempotency-Key": f"webhooks-{time.time()}"}
    first, second = (
        hooked.api.request("POST", f"{ROUTE}/grading_run", json=body, headers=key).json() for _ in range(2)
    )
    assert first == second and len(first["webhooks"][0]["secret"]) == 64
    assert first["webhooks"][0]["secret"] not in hooked.log_text()
    hooked.api.cancel(first["id"])


def submit_with_key(api, key, definition, *urls):
    body = {**definition, "webhooks": [{"url": url} for url in urls]}
    return api.request("POST", f"{ROUTE}/grading_run", json=body, headers={"Idempotency-Key": key})


def webhooks_in(stack, **condition):
    return [it["url"] for it in stack.database.db.webhooks.find(condition)]


def test_another_run_with_the_same_key_adds_no_webhooks(hooked):
    key = f"other-{time.time()}"
    first = submit_with_key(hooked.api, key, run_of(1), "http://example.org/first").json()
    answer = submit_with_key(hooked.api, key, run_of(2), *["http://example.org/second"] * 3)
    assert answer.status_code == 400 and "used before" in error_of(answer)
    assert webhooks_in(hooked, run=first["id"]) == ["http://example.org/first"]
    hooked.api.cancel(first["id"])


def test_a_submission_that_is_refused_leaves_no_webhooks(hooked):
    url = "http://example.org/refused"
    missing = [{"path": "a", "digest": f"sha256:{'0' * 64}"}]
    answer = hooked.api.request(
        "POST", f"{ROUTE}/grading_run", json={**run_of(1, files=missing), "webhooks": [{"url": url}]}
    )
    assert answer.status_code == 400, answer.text
    assert webhooks_in(hooked, url=url) == []


def test_webhooks_of_a_run_that_is_refused_last_are_removed(hooked):
    """Of a submission whose outcome was unknown, only the definition was stored: another may not follow."""
    key, database = f"half-{time.time()}", hooked.database
    run = submit_with_key(hooked.api, key, long_run_of(1), "http://example.org/half").json()["id"]
    database.db.grading_runs.delete_one({"_id": database.run(run)["_id"]})
    answer = submit_with_key(hooked.api, key, long_run_of(2), "http://example.org/last")
    assert answer.status_code == 400 and "used before" in error_of(answer)
    assert webhooks_in(hooked, run=run) == ["http://example.org/half"]


@pytest.mark.parametrize(
    ("webhook", "sentence"),
    [
        ({"url": "ftp://example.org/"}, "url: must begin with http:// or https://"),
        ({"url": "http://user:password@example.org/"}, "url: must not have a user or a password"),
        ({"url": "example.org"}, "url: is not a URL: "),
        ({"url": "http://example.org/a b"}, "url: is not a URL: "),
        ({"url": "http://example.org/", "secret": "short"}, "secret: must have at least 16 characters"),
        ({"url": "http://example.org/", "secret": "has a space inside"}, "secret: must have printable ASCII "),
        ({"url": "http://example.org/", "events": []}, "events: must name one event at least"),
        ({"url": "http://example.org/", "events": ["x"]}, "events[0]: 'x' is not one of run_finished, "),
        ({"url": "http://example.org/", "format": "x"}, "format: 'x' is not one of broadway, slack, discord"),
    ],
)
def test_a_bad_webhook_is_refused(hooked, webhook, sentence):
    answer = operate(hooked, "POST", "/webhooks", json=webhook)
    assert answer.status_code == 400 and error_of(answer).startswith(sentence), answer.text
    answer = hooked.api.request("POST", f"{ROUTE}/grading_run", json={**run_of(1), "webhooks": [webhook]})
    assert answer.status_code == 400 and error_of(answer).startswith(f"webhooks[0].{sentence}"), answer.text


def test_requests_at_the_same_time_do_not_pass_the_limit(hooked):
    with ThreadPoolExecutor(30) as pool:
        body = {"url": "http://example.org/many"}
        answers = list(pool.map(lambda _: operate(hooked, "POST", "/webhooks", json=body), range(40)))
    created = [answer.json()["webhook"] for answer in answers if answer.status_code == 200]
    refused = [(answer.status_code, error_of(answer)) for answer in answers if answer.status_code != 200]
    assert set(refused) == {(409, "there are 20 webhooks already: delete one first")}
    assert len(webhooks_in(hooked, url=body["url"])) == len(created) <= 20
    for webhook in created:
        delete(hooked, webhook)


def test_events_of_graders_are_the_operators(hooked):
    webhook = {"url": "http://example.org/", "events": ["worker_lost"]}
    answer = hooked.api.request("POST", f"{ROUTE}/grading_run", json={**run_of(1), "webhooks": [webhook]})
    sentence = "webhooks[0].events[0]: only webhooks of the cluster have the event worker_lost"
    assert (answer.status_code, error_of(answer)) == (400, sentence)
    answer = hooked.api.request("POST", f"{ROUTE}/grading_run", json={**run_of(1), "webhooks": [webhook] * 6})
    assert answer.status_code == 400


def test_an_address_that_is_not_public_is_refused_unless_it_is_allowed(stack, target):
    """The shared stack allows none."""
    urls = [target.url, f"http://localhost:{target.port}/", f"http://2130706433:{target.port}/"]
    urls += [f"http://[::ffff:127.0.0.1]:{target.port}/", f"http://0:{target.port}/"]
    created = submit(stack, run_of(1), *({"url": url} for url in urls))
    finish(stack, created["id"])
    for webhook in created["webhooks"]:
        tried = first_tried(stack, webhook)
        sentence = "the address is not public, and --webhook-allow does not list it"
        assert tried["error"] == sentence, (webhook, tried)
        delete(stack, webhook)
    assert target.requests == []


def test_webhooks_of_a_course_belong_to_it(staff, shared_course_stack):
    course, other = staff.course(), staff.course("cs241")
    created = course.data("POST", "/webhooks/cs225", {"url": "http://127.0.0.1:9/", "events": ["run_finished"]})
    webhook = created["webhook"]
    assert (webhook["course"], len(webhook["secret"])) == ("cs225", 64)
    listed = course.data("GET", "/webhooks/cs225")["webhooks"]
    assert [{**it, "secret": webhook["secret"]} for it in listed] == [webhook]
    assert other.data("GET", "/webhooks/cs241") == {"webhooks": []}
    for path in ("delete", "redeliver"):
        body = {"event_id": "x"} if path == "redeliver" else None
        answer = other.ask("POST", f"/webhooks/cs241/{webhook['id']}/{path}", body)
        assert answer.status_code == 400, answer.text
    grader = staff.grader()
    assignment = course.configure(config_of())
    asked = {"students_env": [{}], "webhooks": [{"url": "http://127.0.0.1:9/run"}]}
    started = course.data("POST", f"/grading_run/cs225/{assignment}", asked)
    run = started["grading_run_id"]
    assert grader.work_off() == 1
    own = course.data("GET", f"/grading_run/cs225/{run}/webhooks")["webhooks"]
    assert [it["id"] for it in own] == [it["id"] for it in started["webhooks"]]
    for each in (webhook, own[0]):
        path = f"/webhooks/cs225/{each['id']}/deliveries"
        told = wait_until(lambda path=path: course.data("GET", path)["deliveries"], 5, "it is recorded")
        assert [(it["event"], it["payload"]["run"]["course"]) for it in told] == [("run_finished", "cs225")]
        assert course.data("POST", f"/webhooks/cs225/{each['id']}/delete") is None
    assert course.data("GET", "/webhooks/cs225") == {"webhooks": []}


@pytest.mark.timeout(400)
def test_nothing_is_lost_when_leaders_die(tmp_path_factory, target):
    flags = ("leader-lease=1.5", *FLAGS)
    stack = Stack(tmp_path_factory.mktemp("leaders"), schedulers=2, both=("heartbeat-interval=1",), scheduler=flags)
    stack.up()
    try:
        create(stack, url=target.url, secret=SECRET, events=["job_failed", "run_finished"])
        target.status = 503
        runs, ends = [], []
        for round_ in range(2):
            run = stack.api.submit_and_start(run_of(2))
            grader = stack.grader()
            for _ in range(2):
                job = grader.take(seconds=30)
                grader.finish(job, success=False)
                ends.append(f"{job['job_id']}.job_failed")
            for name in ("scheduler-0", "scheduler-1"):
                stack.kill(name)
                stack.restart(name)
            stack.api.wait_over(run)
            runs.append(run)
            ends.append(f"{run}.run_finished")
            target.status = 200 if round_ == 0 else target.status
        wait_until(lambda: len(target.taken()) >= len(ends), 40, "all arrive")
        taken = [it["event_id"] for it in target.taken()]
        assert sorted(taken) == sorted(ends)
        for run in runs:
            assert [it for it in taken if it.startswith(run)][-1] == f"{run}.run_finished"
    finally:
        stack.down()


def test_the_sample_receiver_prints_each_event_once(hooked, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    port = free_port()
    command = [sys.executable, SAMPLE, "--secret-file", tmp_path / "secret", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            webhook = create(hooked, url=f"http://127.0.0.1:{port}/", secret=SECRET, events=["run_finished"])
            run = hooked.api.submit_and_start(run_of(1))
            finish(hooked, run)
            event = json.loads(receiver.stdout.readline())
            check("webhook_run_finished", event)
            assert event["event_id"] == f"{run}.run_finished"
            forged = {
                "Broadway-Event-Id": event["event_id"],
                "Broadway-Signature": f"t={int(time.time())},v1={'0' * 64}",
            }
            assert httpx.post(f"http://127.0.0.1:{port}/", json=event, headers=forged).status_code == 401
            delete(hooked, webhook)
        finally:
            receiver.terminate()


def test_a_signature_is_valid_for_its_body_its_event_and_five_minutes():
    body, now = b"{}", 1_800_000_000
    value = hmac.new(SECRET.encode(), f"{now}.id.".encode() + body, "sha256").hexdigest()
    signature = f"t={now},v1={value}"
    assert sample.verify(SECRET, signature, "id", body, now + 299)
    for wrong in (
        (SECRET, signature, "id", body, now + 301),
        (SECRET, signature, "id", body, now - 301),
        (SECRET, signature, "other", body, now),
        (SECRET, signature, "id", b"[]", now),
        ("another secret", signature, "id", body, now),
        (SECRET, f"t={now + 1},v1={value}", "id", body, now),
        (SECRET, "", "id", body, now),
        (SECRET, "t=x,v1=y", "id", body, now),
    ):
        assert not sample.verify(*wrong)
