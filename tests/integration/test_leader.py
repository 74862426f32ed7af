"""Leadership depends on the changes that a standby sees, on its own clock, and not on dates."""

import signal
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from broadway import Api
from harness import run_stack
from waiting import holds_for, soon, wait_until

LEASE_S = 2
EVER = datetime.now(UTC) + timedelta(days=365)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two schedulers with a lease of two seconds."""
    flags = (f"leader-lease={LEASE_S}",)
    yield from run_stack(tmp_path_factory, "pair", schedulers=2, both=("heartbeat-interval=1",), scheduler=flags)


def readiness(stack, name):
    api = Api(stack.described["scheduler"][int(name[-1])]["url"])
    try:
        return api.request("GET", "/readyz").json()
    except httpx.HTTPError:
        return {}
    finally:
        api.close()


def leader_and_standby(stack):
    """Their names, once one is ready as each."""

    def roles():
        said = {name: readiness(stack, name) for name in ("scheduler-0", "scheduler-1")}
        ready = {said[name]["role"]: name for name in said if said[name]["status"] == "ready"}
        return ready if len(ready) == 2 else None

    ready = wait_until(roles, 3 * LEASE_S + soon(5), "one leads and one stands by")
    return ready["leader"], ready["standby"]


def document(stack):
    return stack.database.db.leader.find_one()


def takes_over(stack, name, seconds):
    """The time until `name` leads, in seconds."""
    begun = time.monotonic()
    wait_until(lambda: readiness(stack, name).get("role") == "leader", seconds, f"{name} leads")
    return time.monotonic() - begun


def test_a_date_in_the_past_does_not_depose_a_leader_that_renews(pair):
    """As when the database's clock is set forward: every renewal has expired."""
    leader_and_standby(pair)
    before = document(pair)

    def leads_on():
        pair.database.db.leader.update_one({}, {"$set": {"expires_at": LONG_AGO}})
        return document(pair)["term"] == before["term"]

    holds_for(leads_on, 2 * LEASE_S, "the leader leads on")
    assert document(pair)["renewals"] > before["renewals"]


def test_a_date_in_the_future_does_not_delay_a_take_over(pair):
    """As when the database's clock is set back: the dead leader's lease seems to last for years."""
    leader, standby = leader_and_standby(pair)
    pair.kill(leader)
    pair.database.db.leader.update_one({}, {"$set": {"expires_at": EVER}})
    assert takes_over(pair, standby, 2 * LEASE_S + soon(2)) >= LEASE_S / 2
    pair.restart(leader)


def test_a_released_lease_is_taken_at_once(pair):
    leader, standby = leader_and_standby(pair)
    pair.kill(leader, signal.SIGTERM)
    released = wait_until(lambda: document(pair).get("released_term"), soon(3), "it is given back")
    assert takes_over(pair, standby, soon(1)) < LEASE_S / 2
    assert document(pair)["term"] == released + 1
    pair.restart(leader)


def test_a_scheduler_that_starts_after_a_crash_waits_for_one_lease_of_silence(pair):
    leader, standby = leader_and_standby(pair)
    for name in (leader, standby):
        pair.kill(name)
    pair.database.db.leader.update_one({}, {"$set": {"expires_at": LONG_AGO}})
    begun = time.monotonic()
    pair.restart(leader)
    takes_over(pair, leader, 2 * LEASE_S + soon(2))
    assert time.monotonic() - begun >= LEASE_S
    pair.restart(standby)


def test_a_leader_of_an_earlier_version_is_recognised_by_its_dates(pair):
    """The earlier version renews only its date. While the date changes, the lease is not taken, even if the date is in
    the past."""
    leader, standby = leader_and_standby(pair)
    pair.kill(leader)
    term = document(pair)["term"]
    began = datetime.now(UTC)

    def renews():
        date = LONG_AGO + (datetime.now(UTC) - began)
        pair.database.db.leader.update_one(
            {}, {"$set": {"expires_at": date}, "$unset": {"renewals": "", "lease_ms": ""}}
        )
        return document(pair)["term"] == term

    holds_for(renews, 2 * LEASE_S, "the standby does not lead")
    takes_over(pair, standby, 2 * LEASE_S + soon(2))
    pair.restart(leader)
