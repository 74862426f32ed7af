"""Rows 17 and 18: former leaders."""

import json

from broadway_faults.caller import fetch
from broadway_faults.cluster import TOKENS, Plan
from broadway_faults.leaders import LeaderWatch
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over

OVERLAP_S = 0.35  # two reads of the standby, and a margin for a busy machine
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
    """The leases of the paused leader reach the database only after the next leader has recovered, and it resumes after
    that. With seeds 2, 5, 8 ... polls wait, so that the next leader hands out the jobs first; with others it finds
    leases that it did not make."""
    scene.warm_up(graders=5, wait=0.5)
    old = scene.cluster.leader_name()
    link = scene.link(f"db:{old}", match=b"job_leases", hold_match=True)
    run = scene.submit(students=10, pre=False)
    scene.until(lambda: link.counts["held"] > 0, 10, "leases wait in the socket")
    late_ones = scene.seed % 3 != 2
    if late_ones:
        stop_polling(scene)
    scene.stop(old)
    scene.until(lambda: (scene.cluster.leading() or {"name": old})["name"] != old, 15, "a standby leads")
    scene.link(f"db:{old}")
    ours = {"_id": {"$regex": f"^{run.run}"}, "term": current_term(scene) - 1}
    if late_ones:
        scene.until(lambda: scene.database.job_leases.count_documents(ours), 5, "leases of the former term come late")
        resume_polling(scene)
    scene.pause(0.3)
    scene.resume(old)
    scene.pause(1)
    for member in scene.cluster.replicas:
        status = post_callback(scene, member, current_term(scene) - 1)
        scene.expect(status == 409, "its callbacks are refused by term", member=member.name, status=status)
    scene.until(lambda: run.read() == "finished", 40, "the run ends under the new leader")
    left = scene.database.job_leases.count_documents({**ours, "ended": {"$exists": False}})
    scene.expect(left == 0, "late leases are taken over: they have the new term, or were ended in it", left=left)
    watched = scene.cluster.metric(old, "broadway_scheduler_is_leader")
    scene.expect(watched == 0, "it steps down before it acts again", is_leader=watched)


def stop_polling(scene):
    """Pauses the graders until their polls have ended."""
    for grader in scene.graders:
        grader.gate.stop()
    parked = "broadway_api_parked_polls"
    scene.until(
        lambda: all(scene.cluster.metric(m.name, parked) == 0 for m in scene.cluster.replicas), 5, "nobody polls"
    )


def resume_polling(scene):
    for grader in scene.graders:
        grader.gate.resume()


@row(18, "scheduler: SIGSTOP inside a renewal that succeeds late", Plan(schedulers=2, links=LINKS, leader_lease=3))
def late_renewal(scene):
    """A renewal is carried out at once, but its reply arrives when the previous lease is nearly over; later replies are
    lost."""
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
