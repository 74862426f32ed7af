"""One experiment: a cluster, graders and instructors, and a history. At its end everything is healed, drained, dumped
and checked. Rows are functions of a scene."""

import random
import shutil
import signal
import time
from pathlib import Path

from broadway_faults import checker, resources
from broadway_faults.build import FAULT
from broadway_faults.caller import ROUTE, fetch
from broadway_faults.cluster import DATABASE, Cluster, ClusterError, wait_until
from broadway_faults.dump import read_dump, write_dump
from broadway_faults.evidence import write_config
from broadway_faults.graders import Grader
from broadway_faults.history import History, now_ms
from broadway_faults.instructors import Instructor, run_of
from broadway_faults.observer import Observer

JOB_S = 0.1
NOISE_S = 8  # a shared machine with two cores sometimes stalls for this long
STANDS_STILL_S = 0.8


class CannotRun(Exception):
    """The row needs something that is missing; the text names it."""


class RowFailed(Exception):
    """A required condition did not become true; the text names it."""


class Scene:
    """A scene for one row and one seed; `run(row)` runs the experiment."""

    def __init__(self, directory, row, seed, plan, shim=None, binaries=FAULT):
        self.directory, self.seed, self.plan = Path(directory), seed, plan
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.row = row
        self.random = random.Random(f"{row}/{seed}")
        self.history = History(self.directory)
        self.cluster = Cluster(self.directory / "cluster", plan, binaries, shim)
        self.urls = [member.url for member in self.cluster.replicas]
        self.observer = None
        self.graders, self.instructors = [], []
        self.baseline = {}
        self.is_idempotent = False
        self.strict_deaths = False  # strict I9: only if no fault can hide a heartbeat
        self.settles = True  # the row ends with a drain
        self.faults = 0

    # ---- The parts of a row ----

    def up(self):
        self.cluster.up()
        self.observer = Observer(self.directory, self.cluster.uri, DATABASE)
        wait_until(self.observer.is_following.is_set, 10, "the observer follows the database")
        self._probe_idempotency()

    def _probe_idempotency(self):
        probe = Instructor(self, f"probe-{self.seed}", run_of(f"probe-{self.seed}", 1, pre=False, post=False))
        ids = {probe.create_once(0).json.get("id") for _ in range(2)}
        self.is_idempotent = len(ids) == 1
        self.history.note("idempotency", supported=self.is_idempotent)

    def supports(self, method, path):
        """True if the API has this route. The request has an unknown id, so that an existing route gives another
        error."""
        return fetch(self.urls[0], method, ROUTE + path).status not in (0, 404, 405)

    def need(self, holds, what):
        """Raises CannotRun unless the condition is true."""
        if not holds:
            raise CannotRun(what)

    def add_graders(self, count, **traits):
        """Adds graders that start to work at once."""
        made = [Grader(self, len(self.graders) + n, **traits) for n in range(count)]
        self.graders += made
        return made

    def add_idle_grader(self, **traits):
        """Adds a registered grader that only does what the row requests."""
        grader = Grader(self, len(self.graders), starts=False, **traits)
        self.graders.append(grader)
        grader.register()
        return grader

    def hold_graders(self, *but):
        """Pauses all graders except these; returns when none of them has a poll that could return a job."""
        for grader in self.graders:
            if grader not in but:
                grader.gate.stop()
        self.pause(0.2)  # a grader that had passed its gate has sent its poll
        alive = [member.name for member in self.cluster.replicas if member.is_alive()]
        parked = "broadway_api_parked_polls"
        self.until(lambda: not any(self.cluster.metric(name, parked) for name in alive), 10, "no poll waits")

    def release_graders(self):
        for grader in self.graders:
            grader.gate.resume()

    def prepare(self, students, **more):
        """An instructor that has not sent anything yet."""
        key = f"r{self.row}-s{self.seed}-{len(self.instructors)}"
        instructor = Instructor(self, key, run_of(key, students, **more))
        self.instructors.append(instructor)
        return instructor

    def submit(self, students, **more):
        """An instructor that has created and started a run, without a thread."""
        instructor = self.prepare(students, **more)
        if not (instructor.create() and instructor.start()):
            raise RowFailed(f"the run {instructor.key} could not be created and started")
        return instructor

    def load(self, runs=3, students=12, **more):
        """Instructors with threads, each with a run."""
        return [self.prepare(students, **more).start_thread() for _ in range(runs)]

    def warm_up(self, graders=4, runs=2, students=10, **traits):
        """Runs a first load to its end; the resources after it are the baseline of I10."""
        self.add_graders(graders, **traits)
        warm = self.load(runs, students)
        self.until(lambda: all(i.is_over() for i in warm), 30, "the first load is done")
        self.baseline = self._usage()

    def _usage(self):
        found = {}
        for name, member in self.cluster.members.items():
            if name != "database" and member.is_alive():
                leads = self.cluster.metric(name, "broadway_scheduler_is_leader")
                found[name] = {"identity": member.identity, "leads": leads, **(resources.usage(member.pid) or {})}
        return found

    def fault(self, what, **facts):
        """Writes a fault into the history."""
        self.faults += 1
        self.history.note("fault", what=what, **facts)

    def healed(self, what, **facts):
        self.history.note("healed", what=what, **facts)

    def kill(self, name):
        self.fault("kill -9", member=name)
        self.cluster.signal(name, signal.SIGKILL)

    def stop(self, name):
        self.fault("SIGSTOP", member=name)
        self.cluster.signal(name, signal.SIGSTOP)

    def resume(self, name):
        self.healed("SIGCONT", member=name)
        self.cluster.signal(name, signal.SIGCONT)

    def restart(self, name):
        self.healed("restart", member=name)
        self.cluster.start(name)
        if name == "database":
            self.cluster.wait_database()

    def link(self, name, **rules):
        """Sets the faults of a link; none: the link is healed."""
        if rules:
            self.fault("link", link=name, rules={key: repr(value) for key, value in rules.items()})
        else:
            self.healed("link", link=name)
        self.cluster.proxies[name].set(**rules)
        return self.cluster.proxies[name]

    def arm(self, name, failpoints):
        self.fault("failpoint", member=name, failpoints=failpoints)
        self.cluster.set_failpoints(name, failpoints)

    def died(self, name, seconds=20):
        """Waits for a member that a failpoint kills."""
        self.until(lambda: not self.cluster.members[name].is_alive(), seconds, f"{name} dies at its failpoint")
        self.history.note("died", member=name)

    def pause(self, seconds):
        """Waits for the duration of a fault."""
        time.sleep(seconds)

    def until(self, condition, seconds, what):
        try:
            return wait_until(condition, seconds, what)
        except ClusterError as trouble:
            raise RowFailed(str(trouble)) from None

    def expect(self, holds, what, **facts):
        """Records a claim of the row."""
        self.history.note("claim", holds=bool(holds), what=what, **facts)

    def measure(self, what, **facts):
        self.history.note("measured", what=what, **facts)

    # ---- Reads of the database ----

    @property
    def database(self):
        return self.cluster.client[DATABASE]

    def leases(self, job):
        """The leases of one job, by attempt."""
        ids = [f"{job}.{attempt}" for attempt in range(1, 8)]
        found = {d["_id"]: d for d in self.database.job_leases.find({"_id": {"$in": ids}})}
        return [found[key] for key in ids if key in found]

    def result(self, job):
        return self.database.job_results.find_one({"_id": job})

    def results_count(self):
        return self.database.job_results.estimated_document_count()

    def is_worker_alive(self, grader):
        return (self.database.workers.find_one({"_id": grader.id}) or {}).get("alive")

    # ---- The end ----

    def time_to_drain_s(self):
        """T of I5."""
        plan = self.plan
        return 3 * (2 * plan.heartbeat + plan.leader_lease + JOB_S) + plan.job_timeout

    def finish(self):
        """Heals, drains and dumps. Remaining graders work until all jobs are done."""
        self.cluster.heal()
        self.healed("everything")
        healed_ms = now_ms()
        for grader in self.graders:
            grader.gate.resume()
        self.add_graders(2)  # in case all others have died
        is_drained = self._drain(healed_ms)
        self.history.note("drained", done=is_drained, took_s=(now_ms() - healed_ms) / 1000, allowed_s=self._allowed_s())
        self._stop_all()
        self._note_resources(is_drained)
        self.observer.stop()
        write_dump(self.directory, read_dump(self.cluster.client, DATABASE))

    def _allowed_s(self):
        return self.time_to_drain_s() + NOISE_S

    def _drain(self, healed_ms):
        def is_done():
            for instructor in self.instructors:
                if instructor.thread is None and instructor.run and not instructor.is_over():
                    instructor.read()
            if any(i.run and not i.is_over() and not i.gives_up.is_set() for i in self.instructors):
                return False
            return self.database.grading_runs.count_documents({"active": True}) == 0

        deadline_s = self._allowed_s() - (now_ms() - healed_ms) / 1000
        try:
            return bool(wait_until(is_done, max(1, deadline_s), "all runs are over"))
        except ClusterError:
            return False

    def _stop_all(self):
        for instructor in self.instructors:
            instructor.gives_up.set()
        for grader in self.graders:
            grader.leave()
        for grader in self.graders:
            grader.join(12)
            grader.gone.set()
        for instructor in self.instructors:
            if instructor.thread is not None:
                instructor.thread.join(15)

    def _note_resources(self, is_drained):
        if not is_drained or not self.baseline:
            return
        time.sleep(STANDS_STILL_S)
        after = self._usage()
        for name, before in self.baseline.items():
            same = name in after and all(after[name][key] == before[key] for key in ("identity", "leads"))
            is_warm = before["leads"] != 0  # a standby has more threads and descriptors after it has led
            if same and is_warm:
                self.history.note("resources", member=name, before=before, after=after[name])

    def run(self, row):
        """Runs the experiment; returns the list of violations."""
        try:
            self.up()
            row(self)
            self.finish()
        except (RowFailed, ClusterError) as trouble:
            self.expect(False, str(trouble))
            self._dump_what_is_there()
        finally:
            write_config(self)
            self._stop_all_quietly()
            self.cluster.down()
            self.history.close()
        return checker.check_directory(self.directory)

    def _dump_what_is_there(self):
        try:
            self.cluster.heal()
            self._stop_all()
            self.observer.stop()
            write_dump(self.directory, read_dump(self.cluster.client, DATABASE))
        except Exception as trouble:
            self.history.note("no dump", reason=repr(trouble)[:300])

    def _stop_all_quietly(self):
        for instructor in self.instructors:
            instructor.gives_up.set()
        for grader in self.graders:
            grader.gone.set()
            grader.leaving.set()
            grader.gate.resume()
