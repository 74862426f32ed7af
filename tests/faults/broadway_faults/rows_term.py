"""Rows 17 and 18: leaders of the past."""

import json

from broadway_faults.caller import fetch
from broadway_faults.cluster import TOKENS, Plan
from broadway_faults.leaders import LeaderWatch
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over

OVERLAP_S = 0.35  # two looks and the moods of the machine
LINKS = ("db:scheduler-0", "db:scheduler-1")


def post_callback(scene, member, term):
    """An empty callback of the given term, as a scheduler would send it; returns the status."""
    headers = {"Authorization": f"Bearer {TOKENS['internal']}", "Content-Type": "application/json"}
    body = json.dumps({"term": term, "process": "", "announce": False, "hand_outs": [], "empty": []})
    return fetch(member.internal_url, "POST", "/internal/v1/callbacks", body, headers).status


def expiry(scene):
    return scene.database.leader.find_one()["expires_at"]


def current_term(scene):
    return scene.database.leader.find_one()["term"]


@row(17, "scheduler: SIGSTOP past its lease, a bulk in its socket", Plan(schedulers=2, links=LINKS))
def stopped_leader(scene):
    """Its leases reach the database only after the next leader has recovered, and it wakes up after that."""
    scene.warm_up(graders=5, wait=2)
    old = scene.cluster.leader_name()
    for grader in scene.graders[2:]:
        grader.leave()
    silent = scene.graders[0]
    link = scene.link(f"db:{old}", match=b"job_leases", hold_match=True)
    runs = scene.load(runs=1, students=10, pre=False)
    scene.until(lambda: link.counts["held"] > 0, 10, "leases wait in the socket")
    silent.stop()
    scene.stop(old)
    new = scene.until(lambda: (scene.cluster.leading() or {"name": old})["name"] != old, 15, "a standby leads")
    scene.link(f"db:{old}")
    scene.pause(0.5)
    scene.resume(old)
    scene.pause(1)
    silent.resume()
    for member in scene.cluster.replicas:
        status = post_callback(scene, member, current_term(scene) - 1)
        scene.expect(status == 409, "its callbacks are refused by term", member=member.name, status=status)
    scene.add_graders(3)
    scene.until(lambda: all_over(runs), 40, "the run ends under the new leader")
    scene.expect(new, "it steps down before its next act")


@row(18, "scheduler: SIGSTOP inside a renewal that succeeds late", Plan(schedulers=2, links=LINKS, leader_lease=3))
def late_renewal(scene):
    """The renewal is done at once, and its answer comes when the lease before it is nearly over; then nothing comes."""
    scene.warm_up()
    old = scene.cluster.leader_name()
    lease = scene.plan.leader_lease
    renewed = expiry(scene)
    scene.until(lambda: expiry(scene) != renewed, 10, "the lease is renewed")
    scene.link(f"db:{old}", hold=("down",))
    watch = LeaderWatch(scene)
    scene.pause(lease * 0.82)
    scene.link(f"db:{old}")
    scene.pause(0.05)
    scene.link(f"db:{old}", drop=("up", "down"))
    scene.until(lambda: (scene.cluster.leading() or {"name": old})["name"] != old, 20, "a standby leads")
    scene.pause(lease)
    overlap = watch.stop()
    scene.expect(overlap < OVERLAP_S, "trust is counted from when the renewal was sent", overlap=overlap)
    scene.link(f"db:{old}")
    runs = scene.load(runs=1, students=10)
    scene.until(lambda: all_over(runs), 30, "the run ends")
