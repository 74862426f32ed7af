"""Rows 1 to 11: the replicas of the API."""

from broadway_faults.cluster import Plan
from broadway_faults.registry import row


@row(1, "API: kill -9 idle, two replicas", Plan(replicas=2))
def kill_idle(scene):
    scene.warm_up()
    victim = f"api-{scene.random.randrange(2)}"
    scene.kill(victim)
    runs = scene.load(runs=3, students=12)
    scene.until(lambda: all(run.is_over() for run in runs), 30, "the runs end through the other replica")
    scene.restart(victim)
