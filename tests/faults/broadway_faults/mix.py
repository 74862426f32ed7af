"""Random mixes: a continuous load, faults that a seed chooses from a table, and counts at the end."""

import shutil
import signal
import threading
import time
from random import Random

import click
import pymongo

from broadway_faults import build
from broadway_faults.cluster import ClusterError, Plan
from broadway_faults.graders import BEATING, CLASSIC, Grader
from broadway_faults.rows_database import LIES, WRITTEN, fail_command
from broadway_faults.runner import RESULTS
from broadway_faults.scene import Scene

REPLICAS, SCHEDULERS, GRADERS, RUNS_AT_ONCE = 3, 2, 10, 5
MEMBERS = [f"api-{n}" for n in range(REPLICAS)] + [f"scheduler-{n}" for n in range(SCHEDULERS)]
LINKS = tuple([f"db:{name}" for name in MEMBERS] + [f"callbacks:api-{n}" for n in range(REPLICAS)])
PLAN = Plan(
    replicas=REPLICAS,
    schedulers=SCHEDULERS,
    heartbeat=1,
    leader_lease=2,
    job_timeout=10,
    links=LINKS,
    test_commands=True,
)
API_FAILPOINTS = ("after_run_insert", "after_result_insert", "after_log_insert", "before_hand_out_answer")
SCHEDULER_FAILPOINTS = (
    "after_lease_insert",
    "half_of_bulk",
    "before_callbacks",
    "before_post_lease",
    "in_requeue",
    "in_recovery",
    "in_renewal",
)
LINK_RULES = (
    {"refuse": True},
    {"drop": ("up", "down")},
    {"drop": ("down",)},
    {"hold": ("down",)},
    {"hold": ("up",)},
    {"delay_s": 0.1},
    {"delay_s": 0.4},
    {"cut_after": 3000},
)


class Load:
    """Keeps some runs active, and a full set of graders."""

    def __init__(self, scene):
        self.scene, self.random = scene, Random(f"load/{scene.seed}")
        self.is_stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.thread.start()

    def stop(self):
        self.is_stopping.set()
        self.thread.join(30)

    def _grade(self, job):
        """Grades a job: some take long, some fail."""
        time.sleep(self.scene.random.choice((0.02, 0.05, 0.1, 0.3, 1.5)))
        return {"job": job["job_id"], "at": time.monotonic()}

    def _run(self):
        while not self.is_stopping.wait(0.1):
            active = [i for i in self.scene.instructors if i.thread.is_alive()]
            if len(active) < RUNS_AT_ONCE:
                shape = {"pre": self.random.random() < 0.6, "post": self.random.random() < 0.7}
                self.scene.load(runs=1, students=self.random.choice((0, 1, 3, 10, 25, 40)), **shape)
            alive = [grader for grader in self.scene.graders if not grader.gone.is_set()]
            if len(alive) < GRADERS:
                self._add_grader()

    def _add_grader(self):
        scene = self.scene
        temperament = CLASSIC if self.random.random() < 0.2 else BEATING
        traits = {"roams": self.random.random() < 0.3, "wait": self.random.choice((0.2, 1, 3))}
        scene.graders.append(Grader(scene, len(scene.graders), temperament, grade=self._grade, **traits))


class Nemesis:
    """Injects one fault after another, and undoes each."""

    def __init__(self, scene):
        self.scene, self.random = scene, Random(f"nemesis/{scene.seed}")
        self.done = {}
        self.acts = (
            (3, self.kill_member),
            (1, self.kill_database),
            (3, self.stop_member),
            (1, self.stop_database),
            (4, self.break_link),
            (3, self.lose_replies),
            (2, self.lie),
            (4, self.failpoint),
            (2, self.terminate_replica),
            (3, self.lose_grader),
            (3, self.stop_grader),
        )

    def inject(self):
        """Injects one fault, or two at once, and undoes them."""
        weights = [weight for weight, _ in self.acts]
        chosen = self.random.choices([act for _, act in self.acts], weights, k=self.random.choice((1, 1, 2)))
        threads = [threading.Thread(target=self._do, args=(act,), daemon=True) for act in chosen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.mend()

    def _do(self, act):
        self.done[act.__name__] = self.done.get(act.__name__, 0) + 1
        try:
            act()
        except (ClusterError, pymongo.errors.PyMongoError, OSError) as trouble:
            self.scene.history.note("nemesis", act=act.__name__, trouble=str(trouble)[:200])

    def mend(self):
        """Restarts dead processes and graders, and removes failpoints."""
        self.scene.cluster.heal()
        self.scene.healed("mended")

    def last(self, most=4.0):
        self.scene.pause(self.random.uniform(0.3, most))

    def kill_member(self):
        self.scene.kill(self.random.choice(MEMBERS))
        self.last()

    def kill_database(self):
        self.scene.kill("database")
        self.last()

    def stop_member(self):
        self.scene.stop(self.random.choice(MEMBERS))
        self.last(6)

    def stop_database(self):
        self.scene.stop("database")
        self.last(6)

    def break_link(self):
        link = self.random.choice(LINKS)
        self.scene.link(link, **self.random.choice(LINK_RULES))
        if self.random.random() < 0.5:
            self.scene.cluster.proxies[link].cut()
        self.last(5)

    def lose_replies(self):
        link = self.random.choice([link for link in LINKS if link.startswith("db:")])
        self.scene.link(link, match=self.random.choice(WRITTEN), cut_reply=self.random.randint(1, 4))
        self.last(2)

    def lie(self):
        commands, data = self.random.choice(LIES)
        fail_command(self.scene, commands, **{"times": self.random.randint(1, 3), **data})
        self.last(1.5)

    def failpoint(self):
        name = self.random.choice(MEMBERS)
        point = self.random.choice(API_FAILPOINTS if name.startswith("api") else SCHEDULER_FAILPOINTS)
        action = self.random.choice(("kill", "kill", "stop", "sleep=1500"))
        self.scene.arm(name, f"{point}:{action}@{self.random.randint(1, 4)}")
        self.last(5)

    def terminate_replica(self):
        name = f"api-{self.random.randrange(REPLICAS)}"
        self.scene.fault("SIGTERM", member=name)
        self.scene.cluster.signal(name, signal.SIGTERM)
        self.last(3)

    def _some_grader(self):
        return self.random.choice([grader for grader in self.scene.graders if grader.id and not grader.gone.is_set()])

    def lose_grader(self):
        self._some_grader().vanish()
        self.last(2)

    def stop_grader(self):
        grader = self._some_grader()
        grader.stop()
        self.last(6)
        grader.resume()


def counts(scene, nemesis):
    """The counts of what happened."""
    database = scene.database
    refused = sum(len(grader.refused) for grader in scene.graders)
    ended = {
        end: database.job_leases.count_documents({"ended": end})
        for end in ("lost", "expired", "released", "undeliverable")
    }
    return {
        "runs": database.grading_runs.count_documents({}),
        "jobs": database.job_results.count_documents({}),
        "faults injected": sum(nemesis.done.values()),
        "leases expired": ended["lost"] + ended["expired"],
        "leases released": ended["released"],
        "results refused": refused,
        "hand-overs": (database.leader.find_one() or {}).get("term", 1) - 1,
        "faults by kind": nemesis.done,
    }


def mixed(seconds, summary):
    """The row of a mix."""

    def row(scene):
        load, nemesis = Load(scene), Nemesis(scene)
        ends = time.monotonic() + seconds
        scene.until(lambda: len(scene.graders) == GRADERS, 20, "all graders are there")
        while time.monotonic() < ends:
            nemesis.inject()
            scene.pause(nemesis.random.uniform(0.1, 1.5))
        load.stop()
        summary.update(counts(scene, nemesis))

    return row


def soak(seconds, seed, graders):
    """No faults and many graders: no live worker is declared dead. Returns 0 if so."""

    def row(scene):
        slow = random_work(scene)
        for number in range(graders):
            scene.add_graders(1, grade=slow, wait=2)
            scene.pause(0.02 if number % 10 else 0.2)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            if sum(not i.is_over() for i in scene.instructors) < 3:
                scene.load(runs=1, students=scene.random.choice((20, 60, 150)))
            scene.pause(0.2)
        alive = scene.database.workers.count_documents({"alive": True})
        scene.expect(alive == graders, "all graders are alive", alive=alive)
        summary.update(counts(scene, Nemesis(scene)))

    scene = Scene(RESULTS / f"soak-seed-{seed}", "soak", seed, Plan(replicas=2, heartbeat=1, leader_lease=2))
    scene.strict_deaths = True
    summary = {}
    violations = scene.run(row)
    return report("soak", scene, summary, violations)


def random_work(scene):
    def grade(job):
        time.sleep(scene.random.uniform(0.5, 4))
        return {"job": job["job_id"]}

    return grade


def report(what, scene, summary, violations):
    for name, value in summary.items():
        click.echo(f"{name:<16} {value}")
    for violation in violations[:40]:
        click.echo(f"  {violation}")
    click.echo(f"{what}, seed {scene.seed}: {len(violations)} violation(s)")
    if violations:
        click.echo(f"kept in {scene.directory}; check it again with --check")
        return 1
    shutil.rmtree(scene.directory, ignore_errors=True)
    return 0


def run(seconds, seed):
    """Returns 0 if no invariant was violated."""
    summary, begun = {}, time.monotonic()
    scene = Scene(RESULTS / f"mix-seed-{seed}", "mix", seed, PLAN, shim=build.SHIM)
    violations = scene.run(mixed(seconds, summary))
    summary["seconds"] = round(time.monotonic() - begun)
    return report("mix", scene, summary, violations)
