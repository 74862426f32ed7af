"""Rows 39 to 47: the database dies, is paused, reports false errors, fills up."""

import resource
import threading
import time

import pymongo

from broadway_faults import resources
from broadway_faults.caller import ROUTE, fetch
from broadway_faults.cluster import Plan
from broadway_faults.registry import row
from broadway_faults.rows_api import all_over, failed_attempts

ALL_DB_LINKS = ("db:api-0", "db:api-1", "db:scheduler-0")
BOUND_S = 12


class Prober:
    """A client and a grader that repeatedly send requests during a fault, and record the answers."""

    def __init__(self, scene, run):
        self.scene, self.run = scene, run
        self.grader = scene.add_idle_grader()
        self.seen = {"status": set(), "poll": set(), "beat": set()}
        self.slowest = {"status": 0.0, "poll": 0.0, "beat": 0.0}
        self.retry_after = True
        self.is_stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(kind,), daemon=True) for kind in self.seen]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.is_stopping.set()
        for thread in self.threads:
            thread.join(15)

    def _ask(self, kind):
        caller, replica = self.grader.caller, self.scene.random.randrange(2)
        if kind == "poll":
            query = {"worker_id": self.grader.id, "wait": 0.5}
            answer = caller.call(
                "poll", replica, "GET", "/grading_job", query=query, timeout_s=20, worker=self.grader.id
            )
            if answer.status == 200:
                self.grader.deliver(answer.json, {"by": "prober"})
            return answer
        if kind == "beat":
            query = {"worker_id": self.grader.id}
            return caller.call("beat", replica, "POST", "/heartbeat", query=query, timeout_s=20, worker=self.grader.id)
        path = f"/grading_run/{self.run.run}"
        return self.run.caller.call("status", replica, "GET", path, timeout_s=20, run=self.run.run)

    def _run(self, kind):
        while not self.is_stopping.wait(0.05):
            begun = time.monotonic()
            answer = self._ask(kind)
            self.seen[kind].add(answer.status)
            self.slowest[kind] = max(self.slowest[kind], time.monotonic() - begun)
            if answer.status == 503 and not answer.retry_after:
                self.retry_after = False

    def check_answers(self):
        """Checks the answers of an API whose database is unavailable."""
        seen = {kind: sorted(statuses) for kind, statuses in self.seen.items()}
        scene = self.scene
        scene.expect(self.seen["poll"] <= {200, 498}, "polls come back empty", seen=seen)
        scene.expect(self.seen["beat"] <= {200}, "heartbeats are taken", seen=seen)
        scene.expect(self.seen["status"] <= {200, 503}, "reads are answered 503", seen=seen)
        scene.expect(self.retry_after, "with Retry-After")
        scene.expect(max(self.slowest.values()) < BOUND_S, "within bounded time", slowest=self.slowest)


def not_ready(scene):
    return any(
        fetch(member.internal_url, "GET", "/readyz", timeout_s=3).status == 503 for member in scene.cluster.replicas
    )


@row(39, "database: kill -9 and restart")
def kill_database(scene):
    scene.warm_up()
    runs = scene.load(runs=3, students=30)
    scene.until(lambda: scene.results_count() > 30, 20, "results come")
    prober = Prober(scene, scene.instructors[0])
    scene.kill("database")
    scene.until(lambda: not_ready(scene), 15, "the replicas are not ready")
    scene.pause(1 + scene.random.random())
    scene.restart("database")
    back = time.monotonic()
    scene.until(lambda: not not_ready(scene), 20, "they are ready again")
    scene.measure("ready after the database", seconds=time.monotonic() - back)
    prober.stop()
    prober.check_answers()
    scene.until(lambda: all_over(runs), 40, "the runs end")


@row(40, "database: SIGSTOP", Plan(schedulers=2))
def stop_database(scene):
    scene.warm_up()
    runs = scene.load(runs=2, students=30)
    scene.until(lambda: scene.results_count() > 25, 20, "results come")
    leader = scene.cluster.leader_name()
    threads = {m.name: resources.usage(m.pid)["threads"] for m in scene.cluster.replicas}
    prober = Prober(scene, scene.instructors[0])
    scene.stop("database")
    stopped = time.monotonic()
    is_leader = "broadway_scheduler_is_leader"
    scene.until(
        lambda: scene.cluster.metric(leader, is_leader) == 0, 2 * scene.plan.leader_lease + 1, "the leader steps down"
    )
    scene.measure("stepped down", seconds=time.monotonic() - stopped)
    scene.pause(9)
    most = {m.name: resources.usage(m.pid)["threads"] for m in scene.cluster.replicas}
    scene.resume("database")
    piled = {name: (threads[name], most[name]) for name in most if most[name] > threads[name] + 8}
    scene.expect(not piled, "threads do not accumulate", threads=piled)
    scene.pause(1)
    prober.stop()
    prober.check_answers()
    scene.until(lambda: all_over(runs), 40, "the runs end")


def fail_command(scene, commands, times=1, **data):
    """The database's own fail point."""
    scene.fault("failCommand", commands=commands, times=times, data=data)
    scene.cluster.client.admin.command(
        {"configureFailPoint": "failCommand", "mode": {"times": times}, "data": {"failCommands": commands, **data}}
    )


CONCERN = {"writeConcernError": {"code": 64, "errmsg": "waiting for replication timed out"}}
LIES = (
    (["insert"], {"times": 2, **CONCERN}),
    (["update"], {"times": 2, **CONCERN}),
    (["insert"], {"errorCode": 10107}),
    (["update"], {"errorCode": 10107}),
    (["insert"], {"errorCode": 91}),
    (["update"], {"errorCode": 11600}),
    (["insert"], {"closeConnection": True}),
    (["update"], {"closeConnection": True}),
    (["find"], {"errorCode": 10107}),
)
WRITTEN = (
    b"job_results",
    b"job_leases",
    b"grading_runs",
    b"run_definitions",
    b"signals",
    b"workers",
    b"leader",
    b"job_logs",
)


RECOVERIES = "broadway_scheduler_recoveries_total"


def create_during_false_errors(scene):
    """Runs without a key, while every insert is done but reported as failed. No run may be refused as a conflict with
    itself, and the scheduler recognises its own leases, without a recovery."""
    before = scene.cluster.metric("scheduler-0", RECOVERIES)
    for _ in range(4):
        run = scene.prepare(students=6)
        run.has_key = False
        fail_command(scene, ["insert"], times=25, **CONCERN)
        answer = run.create_once(scene.random.randrange(2))
        scene.expect(
            answer.status == 200,
            "a repeated write is not a conflict with itself",
            status=answer.status,
            text=answer.text[:100],
        )
        if answer.status != 200:
            run.gives_up.set()
            continue
        run.run = answer.json["id"]
        run.start()
        scene.until(lambda run=run: run.read() == "finished", 20, "the run ends")
    recoveries = scene.cluster.metric("scheduler-0", RECOVERIES) - before
    scene.expect(recoveries == 0, "the scheduler recognises its own write", recoveries=recoveries)


@row(41, "database: a write done but reported as failed", Plan(links=ALL_DB_LINKS, test_commands=True, heartbeat=1))
def lies(scene):
    scene.warm_up(logs_share=0.5)
    create_during_false_errors(scene)
    acts = [("lie", lie) for lie in LIES] + [("cut", (link, what)) for link in ALL_DB_LINKS for what in WRITTEN]
    scene.random.shuffle(acts)
    scene.load(runs=3, students=25)
    for number, (kind, act) in enumerate(acts):
        if number % 4 == 0:
            scene.load(runs=1, students=6)
        if kind == "lie":
            fail_command(scene, act[0], **act[1])
        else:
            scene.link(act[0], match=act[1], cut_reply=2)
        scene.pause(0.3)
    for link in ALL_DB_LINKS:
        scene.link(link)
    scene.until(lambda: all_over(scene.instructors), 40, "the runs end")
    scene.expect(failed_attempts(scene) == 0, "no lease is lost by it", failed_attempts=failed_attempts(scene))


@row(42, "database: stream token lost, stream cut every second", Plan(links=ALL_DB_LINKS, test_commands=True))
def streams(scene):
    scene.warm_up()
    before = scene.cluster.metric("scheduler-0", "broadway_scheduler_recoveries_total")
    faults = [{"errorCode": code} for code in (286, 9, 43, 280)] + [{"closeConnection": True}] * 2
    scene.random.shuffle(faults)
    for fault in faults:
        scene.load(runs=1, students=10)
        fail_command(scene, ["getMore"], times=3, **fault)
        scene.pause(0.6)
        if scene.random.random() < 0.5:
            fail_command(scene, ["aggregate"], times=2, errorCode=9)
        scene.link("db:scheduler-0", match=b"getMore", cut_reply=1)
        scene.pause(0.5)
    scene.link("db:scheduler-0")
    scene.until(lambda: all_over(scene.instructors), 40, "the runs end")
    recoveries = scene.cluster.metric("scheduler-0", "broadway_scheduler_recoveries_total") - before
    scene.expect(recoveries >= 1, "it recovers", recoveries=recoveries)
    scene.measure("recoveries", count=recoveries)
    scene.expect(failed_attempts(scene) == 0, "no lease is lost by it", failed_attempts=failed_attempts(scene))


@row(43, "database: +200 ms a command", Plan(links=ALL_DB_LINKS, heartbeat=1, leader_lease=3), strict_deaths=True)
def slow_database(scene):
    scene.warm_up()
    for link in ALL_DB_LINKS:
        scene.link(link, delay_s=0.1)
    runs = scene.load(runs=2, students=12)
    scene.until(lambda: all_over(runs), 50, "slower, but the runs end")
    scene.expect(failed_attempts(scene) == 0, "no false deaths", failed_attempts=failed_attempts(scene))


def limit_file_size(scene, size):
    """Sets RLIMIT_FSIZE of the running database: writes beyond it fail as on a full disk."""
    pid = scene.cluster.members["database"].pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@row(44, "database: disk full")
def disk_full(scene):
    scene.warm_up()
    runs = scene.load(runs=2, students=30)
    scene.until(lambda: scene.results_count() > 25, 20, "results come")
    scene.fault("disk full")
    limit_file_size(scene, 4096)
    writer = scene.prepare(students=3)
    statuses = {writer.create_once(n % 2).status for n in range(3)}
    member = scene.cluster.members["database"]
    scene.measure("while the disk is full", creates=sorted(statuses), database_runs=member.is_alive())
    scene.expect(statuses <= {503, 200}, "writes are refused with 503", statuses=sorted(statuses))
    if member.is_alive():
        reads = {
            scene.instructors[0]
            .caller.call(
                "status", n % 2, "GET", f"/grading_run/{scene.instructors[0].run}", run=scene.instructors[0].run
            )
            .status
            for n in range(4)
        }
        scene.expect(reads <= {200, 503}, "reads are answered", statuses=sorted(reads))
        limit_file_size(scene, resource.RLIM_INFINITY)
        scene.healed("disk full")
    scene.pause(1)
    writer.gives_up.set()
    if not member.is_alive() or not database_writes(scene):
        scene.kill("database")  # the embedded database does not recover from a failed write
        scene.restart("database")
    scene.until(lambda: all_over(runs), 40, "the runs end")


def database_writes(scene):
    try:
        scene.cluster.client["probe"].probe.insert_one({})
        return True
    except pymongo.errors.PyMongoError:
        return False


def padding(size):
    """Students with this many bytes in total: few students, since each job is extracted from the definition."""
    each, values = 100_000, 4  # the length of a value is limited
    padded = {f"PADDING{n}": "x" * each for n in range(values)}
    return [{"NETID": f"s{n}", **padded} for n in range(size // (each * values))]


@row(45, "database: a run near 16 MB", Plan(api={"max-body-bytes": 40_000_000}))
def huge_run(scene):
    scene.warm_up()
    count = scene.database.run_definitions.count_documents({})
    big = scene.prepare(students=1)
    big.definition["students"] = padding(17_000_000)
    answer = big.create_once(0)
    scene.expect(answer.status == 413, "413", status=answer.status, text=answer.text[:100])
    after = scene.database.run_definitions.count_documents({})
    scene.expect(after == count, "before any write", definitions=after - count)
    big.gives_up.set()
    near = scene.prepare(students=2)
    near.definition["students"] = padding(16_000_000)
    answer = near.create_once(1)
    scene.expect(
        answer.status == 200, "a run within the limit is accepted", status=answer.status, text=answer.text[:100]
    )
    if answer.status == 200:
        near.run = answer.json["id"]
        near.start()
        scene.until(lambda: near.read() == "finished", 30, "and ends")


@row(46, "database: several processes at the very first start", Plan(replicas=3, schedulers=3, gives_tokens=False))
def first_start(scene):
    """All processes start at once on an empty database."""
    pids = {name: member.pid for name, member in scene.cluster.members.items()}
    scene.expect(all(member.is_alive() for member in scene.cluster.members.values()), "no crash", pids=pids)
    made = [m.name for m in scene.cluster.replicas if "shown this once" in scene.cluster.log(m.name)]
    scene.expect(len(made) == 1, "one makes the token, the others read it", made=made)
    leads = [m.name for m in scene.cluster.schedulers if scene.cluster.metric(m.name, "broadway_scheduler_is_leader")]
    scene.expect(len(leads) == 1, "one wins", leads=leads)
    scene.expect(scene.database.leader.count_documents({}) == 1, "one leader document")
    scene.expect(
        scene.database.leader.find_one()["term"] == 1, "its first term", term=scene.database.leader.find_one()["term"]
    )
    scene.warm_up()


@row(47, "database: accepts connections, never answers", Plan(links=ALL_DB_LINKS))
def mute_database(scene):
    scene.warm_up()
    runs = scene.load(runs=2, students=20)
    prober = Prober(scene, scene.instructors[0])
    threads = resources.usage(scene.cluster.members["api-0"].pid)["threads"]
    scene.link("db:api-0", drop=("up", "down"))
    scene.cluster.proxies["db:api-0"].cut()
    scene.pause(9)
    most = resources.usage(scene.cluster.members["api-0"].pid)["threads"]
    scene.expect(most <= threads + 8, "threads do not accumulate", before=threads, most=most)
    scene.link("db:api-0")
    scene.cluster.proxies["db:api-0"].cut()
    scene.until(
        lambda: fetch(scene.urls[0], "GET", f"{ROUTE}/grading_run/{runs[0].run}").status == 200, 15, "it reads again"
    )
    prober.stop()
    prober.check_answers()
    scene.until(lambda: all_over(runs), 40, "the runs end")
