"""The reference grader ends jobs that are cancelled, with a fake API, also one of an earlier version."""

import time

from broadway_tools.grader.server import JOBS_OF_HEARTBEAT, Refused, Server
from processes import is_running, pids_in, wait_until

CANCELS = {"Broadway-Cancel": "true"}


def sh(script):
    return {"image": "any", "entrypoint": ["/bin/sh", "-c", script], "env": []}


def test_a_cancelled_job_is_ended_with_all_it_started_and_nothing_is_reported(api, start_grader, tmp_path):
    api.limits = CANCELS
    grader = start_grader("--concurrency=2")
    pids, place = tmp_path / "pids", tmp_path / "place"
    job = api.put(sh(f"pwd >{place}; sleep 60 & printf '%s\\n' $$ $! >{pids}; wait"), sh("echo never"))
    other, following = api.put(sh("sleep 3")), api.put(sh("true"))
    begun = pids_in(pids, 2)
    api.wait_for(lambda: any(job in named for named in api.named))
    cancelled = time.monotonic()
    api.cancelled.add(job)
    api.result_of(following)
    seconds = time.monotonic() - cancelled
    assert seconds < api.heartbeat + 1
    wait_until(lambda: not any(map(is_running, begun)), "the job's processes have ended")
    wait_until(lambda: not tmp_path.joinpath(place.read_text().strip()).exists(), "the job's directory is removed")
    assert api.result_of(other)["success"] is True
    assert job not in api.results
    assert grader.stop() == 0
    assert f"job {job} was cancelled" in grader.stderr
    assert "refused" not in grader.stderr


def test_a_stage_that_ignores_term_is_killed_after_the_grace(api, start_grader, tmp_path):
    api.limits = CANCELS
    start_grader("--stop-grace=0.5")
    begun = tmp_path / "begun"
    job = api.put(sh(f"trap '' TERM; touch {begun}; sleep 60; sleep 60"))
    wait_until(begun.exists, "the stage runs")
    api.cancelled.add(job)
    api.result_of(api.put(sh("true")))
    assert job not in api.results


def test_an_api_that_does_not_know_the_argument_is_registered_at_without_it(api, start_grader):
    api.unknown_arguments = {"cancel", "jobs"}
    start_grader("--hostname=bench")
    assert api.result_of(api.put(sh("true")))["success"] is True
    api.wait_for(lambda: len(api.heartbeats) > 2)
    assert api.registrations == [{"token": "secret", "hostname": "bench", "concurrency": "1"}]
    assert api.named == []


def test_a_replica_of_an_earlier_version_gets_heartbeats_without_jobs(api, start_grader):
    api.limits = CANCELS
    start_grader()
    api.wait_for(lambda: api.named)
    api.unknown_arguments = {"jobs"}
    before = len(api.heartbeats)
    assert api.result_of(api.put(sh("sleep 2")))["success"] is True
    assert len(api.heartbeats) > before
    assert len(api.registrations) == 1


def test_many_jobs_are_named_in_several_heartbeats():
    server = Server(["http://127.0.0.1:1"])
    jobs = [f"{number:032x}" for number in range(2 * JOBS_OF_HEARTBEAT + 1)]
    sent = []

    def beat(more):
        sent.append(more["jobs"].split(","))
        return {"cancelled": sent[-1][:1]}

    assert server._beat(jobs, None, beat) == [jobs[0], jobs[JOBS_OF_HEARTBEAT], jobs[-1]]
    assert [job for part in sent for job in part] == jobs and max(map(len, sent)) == JOBS_OF_HEARTBEAT


def test_a_refusal_for_another_reason_is_not_repeated():
    server = Server(["http://127.0.0.1:1"])
    calls = []

    def beat(more):
        calls.append(more)
        raise Refused(400, "worker 'x' is not known: register first")

    try:
        server._beat(["0" * 32], None, beat)
    except Refused:
        pass
    assert calls == [{"jobs": "0" * 32}]
