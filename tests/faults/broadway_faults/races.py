"""Races: an act of a client against an event of its run, or against another act, started together many times, in both
protocols. Each race is a small run of its own; many are under way at once, by the same graders."""

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from broadway import canonical, receipts
from bson import ObjectId

from broadway_faults.caller import ROUTE, fetch
from broadway_faults.check_answers import TERMINAL
from broadway_faults.cluster import Plan
from broadway_faults.race_clients import ClassicClient, CourseClient
from broadway_faults.race_graders import GRADE, HOLD, LATE, RETURN, VANISH, Crowd

CANCEL, CANCEL_JOB, SUPERSEDE, PAUSE, RERUN = ACTS = ("cancel run", "cancel job", "supersede", "pause", "rerun")
RESULT, REQUEUE, HAND_OUT, PHASE = EVENTS = ("result", "requeue", "hand-out", "phase change")
PAIRS = [(act, event) for act in ACTS for event in EVENTS]
PAIRS += [(act, other) for number, act in enumerate(ACTS) for other in ACTS[number + 1 :]]
ENDING = (CANCEL, CANCEL_JOB, SUPERSEDE)  # after these the job that they meet is not handed out again

PLAN = Plan(
    heartbeat=1,
    leader_lease=15,
    job_timeout=120,
    has_courses=True,
    api={"course-poll-wait": 1.5},
    oplog_entries=10_000_000,  # more than 30,000 races write
)
AT_ONCE = 20
SPREAD_MS = 20  # the offsets of one aim
FIRST_STEP_MS, LAST_STEP_MS = 256.0, 4.0  # by which an aim follows who won
SILENT_MS = 3000  # a grader that says nothing is lost after about so long
PAUSED_S = 0.15
HELD_S, OVER_S = 120, 150  # a shared machine is slow at times


@dataclass(frozen=True)
class Shape:
    """What a race's runs look like."""

    students: int
    pre: bool = False
    post: bool = False
    share: float = 1  # of its usual time that a job must have had to go on when it is superseded


class Aim:
    """The offset between the two sides of a race, in ms: it follows who won, so that the sides meet."""

    def __init__(self, centre_ms):
        self.centre_ms, self.step_ms, self.last = centre_ms, FIRST_STEP_MS, None
        self.lock = threading.Lock()

    def draw(self, dice):
        """How many ms the act begins after the event; negative: before it."""
        with self.lock:
            return self.centre_ms + dice.uniform(-SPREAD_MS / 2, SPREAD_MS / 2)

    def learn(self, has_act_won):
        with self.lock:
            if self.last is not None and self.last != has_act_won:
                self.step_ms = max(LAST_STEP_MS, self.step_ms / 2)
            self.last = has_act_won
            self.centre_ms += self.step_ms if has_act_won else -self.step_ms


class Race:
    """One race: `run()` plays it, and notes in the history what came of it."""

    def __init__(self, races, pair, number):
        self.races, self.scene, self.pair, self.number = races, races.scene, pair, number
        self.act, self.other = pair
        self.label = f"{self.act} x {self.other} #{number}"
        self.dice = random.Random(f"{self.scene.seed}/{self.label}")
        self.is_course, self.variant = number % 2 == 1, number // 2 % 2
        self.event = self.other if self.other in EVENTS else None
        self.shape = self._shape()
        self.index = self.dice.randrange(self.shape.students)
        self.key = f"r-{self.scene.seed}-{PAIRS.index(pair)}-{number}"
        keys = [f"{self.key}-{n}" for n in range(self.shape.students)]
        self.keys = keys if SUPERSEDE in self.pair else None  # supersede keys
        client = CourseClient if self.is_course else ClassicClient
        self.clients = [client(self.scene, self.key, self.dice.randrange(2)) for _ in range(2)]
        self.client = self.clients[0]
        self.aim = races.aims[pair, self.is_course, self.variant]
        self.first = self.newer = self.again = None  # runs: that of the race, one that supersedes it, its rerun
        self.answers = {}  # act -> answer
        self.deliveries, self.lock = Counter(), threading.Lock()
        self.is_held, self.is_aimed = threading.Event(), threading.Event()
        self.others_graded = threading.Event()
        self.graded_jobs = set()
        self.event_at, self.order_at_event = 0.0, GRADE

    # ---- What it is about ----

    def _shape(self):
        students, post = self.dice.randint(2 if self.is_late else 1, 3), self.dice.random() < 0.3
        is_phase = self.event == PHASE
        pre = is_phase and self.variant == 1
        return Shape(students, pre, post or is_phase, self.dice.choice((0, 1)))

    @property
    def is_lost(self):
        return self.event == REQUEUE and self.variant == 1

    @property
    def is_late(self):
        """The run goes on for longer than the pause before a third attempt of the job that is cancelled."""
        return self.pair == (CANCEL_JOB, REQUEUE) and not self.is_lost

    def student(self, run, index):
        return f"{run}1{index:07x}"

    @property
    def raced(self):
        """The job whose hand-out, result or requeue is one side, or that is held."""
        return f"{self.first}00000000" if self.shape.pre else self.student(self.first, self.index)

    @property
    def next(self):
        """The job with which the next phase begins."""
        return self.student(self.first, 0) if self.shape.pre else f"{self.first}20000000"

    @property
    def target(self):
        """The job that is cancelled alone."""
        return self.next if self.event == PHASE else self.raced

    @property
    def held_delivery(self):
        """Which delivery of the job is held: a returned job that is to end is returned twice, so that a third attempt
        would come late."""
        return 2 if self.event == REQUEUE and not self.is_lost and self.act in ENDING else 1

    def runs(self):
        return [run for run in (self.first, self.newer, self.again) if run]

    def jobs(self, run):
        shape = self.shape
        jobs = [f"{run}00000000"] * shape.pre + [f"{run}20000000"] * shape.post
        return jobs + [self.student(run, n) for n in range(1 if run == self.again else shape.students)]

    # ---- Its graders ask ----

    def order(self, job):
        with self.lock:
            self.deliveries[job] += 1
            delivery = self.deliveries[job]
        if self.is_late and job == self.student(self.first, (self.index + 1) % self.shape.students):
            return LATE
        if job != self.raced or self.event == HAND_OUT or delivery > self.held_delivery:
            return GRADE
        if delivery < self.held_delivery:
            return RETURN
        if not self.is_lost:
            return HOLD
        self.is_held.set()
        return VANISH

    def graded(self, job):
        with self.lock:
            self.graded_jobs.add(job)
            rest = {self.student(self.first, n) for n in range(self.shape.students)} - {self.raced}
        if rest <= self.graded_jobs:
            self.others_graded.set()

    # ---- Its course ----

    def run(self):
        try:
            self._prepare()
            self._fire()
            self._let_go()
            is_over = self.races.wait_over(self.runs(), OVER_S)
            self._expect(is_over, "every run of the race ends")
            self._note()
            for run in self.runs():
                self._check_receipts(run)
        except Exception as trouble:  # a thread of a pool: the race has failed, the others go on
            self._expect(False, f"the race could be played: {trouble!r}")
        finally:
            self.is_aimed.set()

    def _expect(self, holds, what, **facts):
        if not holds:
            self.scene.expect(False, what, race=self.label, runs=self.runs(), **facts)

    def _prepare(self):
        """Starts the run, up to the moment at which the sides are to meet."""
        if self.is_course:
            self._prepare_course()
        else:
            self._prepare_classic()
        if self.event != HAND_OUT:
            self._wait_held()

    def _prepare_course(self):
        """A run of a course is started as it is created: to be handed out later, its assignment is paused."""
        self.client.configure(self.shape)
        if self.event == HAND_OUT:
            self.client.hold()
        self.first = self._create(self.key)

    def _prepare_classic(self):
        """To be handed out later, the run is paused; or it is not started, if it is a pause that it meets."""
        more = {"max_attempts": 1} if self.event == REQUEUE and not self.is_lost else {}
        self.first = self._create(self.key, **more)
        if SUPERSEDE in self.pair:
            self.newer = self._create(f"{self.key}-new")
        if self.pair == (PAUSE, HAND_OUT):
            return
        if self.event == HAND_OUT:
            self.client.pause(self.first)
        self.client.start(self.first)

    def _create(self, key, **more):
        return self.races.add(self, self.client.create(key, self.shape, self.keys, **more))

    def _wait_held(self):
        if not self.is_held.wait(HELD_S):
            raise TimeoutError("the job did not reach a grader")
        if self.event == PHASE and not self.shape.pre and self.shape.students > 1:
            self.others_graded.wait(HELD_S)

    def _fire(self):
        """Starts both sides with their offset."""
        lead_ms = self.aim.draw(self.dice)
        now = time.monotonic() + 0.002
        act_at, other_at = now + max(0.0, lead_ms) / 1000, now + max(0.0, -lead_ms) / 1000
        self.event_at = other_at
        self.order_at_event = RETURN if self.event == REQUEUE else GRADE
        if self.event in EVENTS:
            self.is_aimed.set()  # the grader that holds the job acts then
        act = self.races.pool.submit(self._do, 0, self.act, act_at)
        other = self.races.pool.submit(self._do, 1, self.other, other_at)
        act.result()
        other.result()

    def _do(self, number, side, at):
        time.sleep(max(0.0, at - time.monotonic()))
        client = self.clients[number]
        if side == CANCEL:
            self.answers[side] = client.cancel_run(self.first)
        elif side == CANCEL_JOB:
            self.answers[side] = client.cancel_job(self.target)
        elif side == SUPERSEDE:
            self._supersede()
        elif side == PAUSE:
            self._pause(client)
        elif side == RERUN:
            answer = self.answers[side] = client.rerun(self.first, self.index)
            self.again = self.races.add(self, client.id_of(answer))
        elif side == HAND_OUT:
            self._hand_out(client)

    def _supersede(self):
        if self.is_course:
            self.newer = self._create(f"{self.key}-new")
        else:
            self.clients[1].start(self.newer)

    def _hand_out(self, client):
        if self.is_course:
            client.let_go()
        elif self.act == PAUSE:
            client.start(self.first)
        else:
            client.resume(self.first)

    def _pause(self, client):
        """Pauses the run. What is handed out of it by then is all that is, until it is resumed."""
        answer = self.answers[PAUSE] = client.pause(self.first)
        if answer.kind != "ok":
            return
        before = self._leases_of_first()
        time.sleep(PAUSED_S)
        after = self._leases_of_first()
        self._expect(before == after, "nothing is handed out after a pause was answered", leases=after - before)

    def _leases_of_first(self):
        ids = [f"{job}.{attempt}" for job in self.jobs(self.first) for attempt in range(1, 4)]
        return {d["_id"] for d in self.scene.database.job_leases.find({"_id": {"$in": ids}}, {"_id": 1})}

    def _let_go(self):
        """Lets the job go that was held while two acts met, and ends the pause."""
        self.is_aimed.set()
        if PAUSE in self.answers:
            self.client.resume(self.first)

    # ---- Its outcome ----

    def _moments(self):
        """The database's date of each side's effect; None: it had none, since the other came first."""
        return [self._moment(side) for side in self.pair]

    def _moment(self, side):
        database = self.scene.database
        if side == CANCEL:
            return database.grading_runs.find_one({"_id": ObjectId(self.first)}).get("cancelled_at")
        if side == CANCEL_JOB:
            return self._result_date(self.target, "cancelled", owner="client")
        if side == SUPERSEDE:
            return self._result_date(self.raced, "superseded")
        if side == PAUSE:
            answer = self.answers[PAUSE]
            return date_of(self.client.paused_at(answer)) if answer.kind == "ok" else None
        if side == RERUN:
            return database.grading_runs.find_one({"_id": ObjectId(self.again)})["created_at"]
        if side == RESULT:
            return self._result_date(self.raced, "succeeded")
        return self._lease_date(side)

    def _result_date(self, job, outcome, **facts):
        result = self.scene.result(job) or {}
        wanted = {"outcome": outcome, **facts}
        return result["finished_at"] if wanted.items() <= result.items() else None

    def _lease_date(self, event):
        leases = self.scene.leases(self.next if event == PHASE else self.raced)
        if event != REQUEUE:
            return leases[0]["leased_at"] if leases else None
        number = self.held_delivery - 1
        return leases[number].get("ended_at") if len(leases) > number and "ended" in leases[number] else None

    def _note(self):
        """Notes who was first; `None` is as late as it gets."""
        act, other = self._moments()
        has_act_won = act is not None and (other is None or act <= other)
        self.aim.learn(has_act_won)
        winner = "act" if has_act_won else "other"
        facts = {"race": self.label, "pair": list(self.pair), "protocol": "course" if self.is_course else "classic"}
        statuses = {side: answer.status for side, answer in self.answers.items()}
        facts |= {"winner": winner, "runs": self.runs(), "target": self.target, "statuses": statuses}
        self.scene.history.note("race", **facts)

    def _check_receipts(self, run):
        """The chain of a run that has ended verifies, and has all of its jobs."""
        answer = self.client.receipts(run)
        if answer.status != 200:
            self._expect(False, "a run that has ended has its receipts", status=answer.status, text=answer.text[:200])
            return
        findings = receipts.verify(canonical.parse(answer.text), {self.races.key}, None)
        document = answer.json.get("data") if self.is_course else answer.json
        jobs = sorted(entry["receipt"]["job_id"] for entry in document["receipts"])
        self._expect(findings.faults == [], "the receipts verify", run=run, faults=findings.faults[:3])
        self._expect(jobs == sorted(self.jobs(run)), "each job has its receipt", run=run, jobs=jobs)


def date_of(text):
    """A date of an answer, as the driver returns dates."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=None)


class Races:
    """All races of a scene."""

    def __init__(self, scene):
        self.scene = scene
        self.by_run, self.changed = {}, threading.Condition()
        self.aims = {
            (pair, is_course, variant): Aim(SILENT_MS if pair[1] == REQUEUE and variant == 1 else 0)
            for pair in PAIRS
            for is_course in (False, True)
            for variant in (0, 1)
        }
        self.key = fetch(scene.urls[0], "GET", f"{ROUTE}/receipts/key").json["key"]
        self.pool = ThreadPoolExecutor(2 * AT_ONCE)
        self.ended = set()  # runs
        scene.observer.listener = self._observe

    def add(self, race, run):
        if run is None:
            raise RuntimeError("a run could not be created")
        with self.changed:
            self.by_run[run] = race
            self.changed.notify_all()
        return run

    def find(self, run):
        """The race of a run, or None; a job may reach a grader before the run's id reaches its client."""
        with self.changed:
            self.changed.wait_for(lambda: run in self.by_run, 30)
            return self.by_run.get(run)

    def wait_over(self, runs, seconds):
        with self.changed:
            return self.changed.wait_for(lambda: self.ended.issuperset(runs), seconds)

    def _observe(self, event):
        """Notices which runs have ended."""
        if event["coll"] == "grading_runs" and event.get("set", {}).get("state") in TERMINAL:
            with self.changed:
                self.ended.add(event["_id"])
                self.changed.notify_all()

    def play(self, each, seconds=None, say=lambda done: None):
        """Plays `each` races of each pair, or as many as begin within `seconds`."""
        crowd = Crowd(self.scene, self.find, AT_ONCE + 4)
        ends = time.monotonic() + (seconds or float("inf"))

        def one(pair, number):
            if time.monotonic() >= ends:
                return False
            Race(self, pair, number).run()
            return True

        with ThreadPoolExecutor(AT_ONCE) as pool:
            work = [pool.submit(one, pair, number) for number in range(each) for pair in PAIRS]
            done = 0
            for future in work:
                if future.result():
                    done += 1
                    say(done)
        crowd.stop()
        self.pool.shutdown()
        self.scene.until(lambda: self.scene.database.pauses.count_documents({}) == 0, 15, "no pause is left")


def play_races(scene, each, seconds=None, say=lambda done: None):
    """The row: `each` races of each pair, or as many as begin within `seconds`."""
    Races(scene).play(each, seconds, say)
