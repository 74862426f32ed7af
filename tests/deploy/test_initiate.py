"""The initiation of the replica set: the script of the first pod with a fake MongoDB, to test its logic. The script may
run at any time and any number of times, since a restarted pod runs it again."""

import json

import pytest
from manifests import KUBERNETES
from tools import HERE, run, tools

HOSTS = [f"mongodb-{index}.mongodb.broadway.svc.cluster.local:27017" for index in range(3)]
NOTHING = {"set": None, "users": {}, "leads": False, "unreachable": []}


@pytest.fixture
def initiate(tmp_path):
    """Runs the script on a state of MongoDB; returns the new state."""
    tools("node")

    def on(state, members=3):
        path = tmp_path / "state.json"
        path.write_text(json.dumps(state), encoding="utf-8")
        env = {"DOMAIN": "mongodb.broadway.svc.cluster.local", "MEMBERS": str(members)}
        script = KUBERNETES / "components/mongodb/initiate.js"
        status, said = run(["node", HERE / "mongosh.js", script, path], env=env)
        assert status == 0, said
        return json.loads(path.read_text(encoding="utf-8"))

    return on


def hosts(state):
    return [member["host"] for member in state["set"]["members"]]


def test_a_new_database_gets_its_replica_set_and_users(initiate):
    after = initiate(NOTHING)
    assert after["failure"] is None
    assert after["set"]["_id"] == "rs0" and hosts(after) == HOSTS
    assert after["users"]["admin.root"] == {"pwd": "root-password-value", "roles": ["root"]}
    role = {"role": "readWrite", "db": "broadway"}
    assert after["users"]["broadway.broadway"] == {"pwd": "broadway-password-value", "roles": [role]}


def test_one_member_is_a_set_too(initiate):
    assert hosts(initiate(NOTHING, members=1)) == HOSTS[:1]


def test_a_restart_changes_nothing(initiate):
    once = initiate(NOTHING)
    assert initiate(once) == once


def test_it_continues_where_it_was_interrupted(initiate):
    half = initiate({**NOTHING, "unreachable": [HOSTS[2]]})
    assert "can't be added" in half["failure"] and hosts(half) == HOSTS[:2]
    assert initiate({**half, "unreachable": []})["failure"] is None
    only_the_set = {**initiate(NOTHING, members=1), "users": {}}
    assert initiate(only_the_set)["users"].keys() == {"admin.root", "broadway.broadway"}


def test_a_member_that_no_longer_leads_leaves_a_complete_set_alone(initiate):
    complete = {**initiate(NOTHING), "leads": False}
    assert initiate(complete) == complete
    incomplete = {**initiate(NOTHING, members=1), "leads": False}
    assert "doesn't lead" in initiate(incomplete)["failure"]
