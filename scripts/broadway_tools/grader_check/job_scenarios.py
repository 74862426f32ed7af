"""Scenarios about what a grader does with a job's stages."""

import hashlib
import json
from itertools import pairwise

from broadway_tools.grader_check.api import named_jobs
from broadway_tools.grader_check.scenario import Scenario, Session, most_open, nonce, said

LONGEST_ENTRY = 131_072  # bytes with the NUL
# As many of the longest entries as fit into the 2,031,616 bytes of a stage, beside what else the scenario passes.
LONG_ENTRIES = 15
ENFORCED_S = 15  # a grader may give the stage some time after SIGTERM
TIMEOUT_S = 1

SHOW_PLACE = """
printf 'args-%s-%s-%s\\n' "$#" "$1" "$2"
printf 'errors-%s\\n' "$N" >&2
[ -z "$(ls -A)" ] && printf 'empty-%s\\n' "$N"
[ -n "$JOB_DIR" ] && [ "$(cd "$JOB_DIR" && pwd -P)" = "$(pwd -P)" ] && printf 'there-%s\\n' "$N"
printf 'shared-%s\\n' "$N" >file
"""


def play_job(session: Session) -> None:
    """Two stages in one directory, then a second job in a fresh one."""
    secret = nonce()
    env = (f"N={secret}",)
    words = "a b", "c'd\"$e"
    first = session.stage(SHOW_PLACE, *words, env=env)
    second = session.stage('cat file; printf \'{"wrote": "result-%s"}\' "$N" >result.json', env=env)
    job = session.run(first, second)
    text, logs = said(job), said(job, "logs")
    assert job.accepted is not None
    session.expect("success", job.accepted.get("success", True) is True, f"success: {job.accepted.get('success')!r}")
    session.expect("entrypoint", f"args-2-{'-'.join(words)}" in text, "the stage's arguments were not those of the job")
    session.expect("working-directory", f"there-{secret}" in text, "the stage did not run in the directory of JOB_DIR")
    session.expect("result-json", f"result-{secret}" in said(job, "result"), "its content is not in the result")
    session.expect(
        "logs",
        f"shared-{secret}" in logs and f"errors-{secret}" in logs,
        f"missing in logs: {'stdout ' * (f'shared-{secret}' not in logs)}{'stderr' * (f'errors-{secret}' not in logs)}",
    )
    again = session.run(session.stage('[ -z "$(ls -A)" ] && printf \'empty-%s\\n\' "$N"', env=env))
    is_fresh = f"empty-{secret}" in text and f"empty-{secret}" in said(again)
    session.expect(
        "directory", f"shared-{secret}" in text and is_fresh, "not shared by the stages, or not empty at first"
    )


def play_environment(session: Session) -> None:
    """Values that are awkward, and entries as long as Broadway hands out."""
    values = {
        "PLAIN": ("env-list", "a=b c"),
        "EMPTY": ("env-list", ""),
        "LINES": ("env-literal", "one\n two\n\n"),
        "QUOTES": ("env-literal", "'\"\\ `x`"),
        "DOLLAR": ("env-literal", "$HOME ${N} $(id)"),
        "LETTERS": ("env-literal", "grün → 💡"),
        "TWICE": ("env-last", "second"),
        "LONG": ("env-size", "x" * (LONGEST_ENTRY - len("LONG=") - 1)),
    }
    entries = ["TWICE=first", *(f"{name}={value}" for name, (_, value) in values.items())]
    script = "".join(f"printf '{name}-'; printf '%s' \"${name}\" | sha256sum\n" for name in values)
    text = said(session.run(session.stage(script, env=tuple(entries))))
    for name, (sentence, value) in values.items():
        digest = hashlib.sha256(value.encode()).hexdigest()
        session.expect(sentence, f"{name}-{digest}" in text, f"the value of {name} arrived otherwise, or not at all")


def play_large_environment(session: Session) -> None:
    """As much as a stage may have in all."""
    entries = [f"LONG_{index:02}=" for index in range(LONG_ENTRIES)]
    env = tuple(entry + "y" * (LONGEST_ENTRY - len(entry) - 1) for entry in entries)
    secret = nonce()
    lengths = "-".join(f"${{#{entry[:-1]}}}" for entry in entries)
    job = session.run(session.stage(f'echo "$N-{lengths}"', env=(f"N={secret}", *env)))
    wanted = "-".join([secret, *(str(LONGEST_ENTRY - len(entry) - 1) for entry in entries)])
    session.expect("env-total", wanted in said(job), f"a stage with {LONG_ENTRIES} entries of 128 KiB did not get them")


def play_failure(session: Session) -> None:
    """A stage with another exit status than 0, and one that can't be started."""
    never = session.stage("printf 'never-%s\\n' \"$N\"", env=("N=1",))
    for why, stage in (
        ("exit status 3", session.stage("exit 3")),
        ("no such program", {**session.stage(""), "entrypoint": ["/no/such/program"]}),
    ):
        _expect_failure(session, why, session.run(stage, never))


def play_timeout(session: Session) -> None:
    """A stage that takes longer than its timeout."""
    never = session.stage("printf 'never-%s\\n' \"$N\"", env=("N=1",))
    job = session.hand_out(session.stage("sleep 300", timeout=TIMEOUT_S), never)
    session.finish(job, "timeout", runs_s=TIMEOUT_S)
    assert job.done is not None
    seconds = job.done - job.handed[0][0]
    seen = f"a stage of 300 s with a timeout of {TIMEOUT_S} s: the report came after {seconds:.1f} s"
    session.expect("timeout", TIMEOUT_S <= seconds <= TIMEOUT_S + ENFORCED_S, seen)
    _expect_failure(session, "timeout", job)


def _expect_failure(session: Session, why: str, job) -> None:
    success = job.accepted.get("success", True)
    session.expect("success", success is False, f"{why}: success was {success!r}")
    session.expect("stage-fails", "never-1" not in said(job), f"{why}: the next stage ran")


def play_logs_false(session: Session) -> None:
    """A stage with "logs": false between two others."""
    secret = nonce()
    env = (f"N={secret}",)
    hidden = session.stage("printf 'hidden-%s\\n' \"$N\"; printf 'hidden-%s\\n' \"$N\" >&2", env=env, logs=False)
    shown = session.stage("printf 'shown-%s\\n' \"$N\"", env=env, logs=True)
    logs = said(session.run(hidden, shown), "logs")
    session.expect("logs-false", f"hidden-{secret}" not in logs, "the stage's output is in the logs")
    session.expect("logs", f"shown-{secret}" in logs, "the output of the other stage is missing")


def play_students(session: Session) -> None:
    """A job with a list of students, as those before and after the students' jobs have."""
    students = [{"NETID": "ada"}, {"NETID": "grace", "TEAM": "a b"}]
    secret = nonce()
    script = "printf 'list-%s-%s\\n' \"$N\" \"$(tr -d '\\n' <students.json)\""
    text = said(session.run(session.stage(script, env=(f"N={secret}",)), students=students))
    _, _, rest = text.partition(f"list-{secret}-")
    try:
        is_there = json.loads(rest.splitlines()[0]) == students
    except (ValueError, IndexError):
        is_there = False
    session.expect("students", is_there, "students.json is missing or has another list")


def play_heartbeats(session: Session) -> None:
    """A job that is longer than the time after which a silent worker is dead."""
    api = session.api
    runs_s = session.dead_s() + api.heartbeat_s
    job = session.finish(session.hand_out(session.stage(f"sleep {runs_s:g}")), runs_s=runs_s)
    start, worker_id = job.handed[0]
    assert job.done is not None
    _expect_heartbeats(session, start, job.done, worker_id)
    if "concurrency" not in session.registration():
        session.unseen("free-slot", "the grader states no concurrency")
        return
    polls = [poll for poll in api.since(0, "poll") if poll.worker_id == worker_id and poll not in job.polls]
    most = most_open(polls, start, job.done)
    free = session.slots() - 1
    session.expect("free-slot", most <= free, f"{most} polls waited while a job ran in one of {free + 1} slots")


def _expect_heartbeats(session: Session, start: float, end: float, worker_id: str) -> None:
    if not session.must_beat():
        for sentence in ("heartbeats-stated", "heartbeats"):
            session.unseen(sentence, "the grader states neither a hostname nor a concurrency, as classic ones")
        return
    beats = [
        beat.time for beat in session.api.since(start, "heartbeat") if beat.worker_id == worker_id and beat.time < end
    ]
    times = [start, *beats, end]
    gaps = sorted(after - before for before, after in pairwise(times))
    seen = f"{len(beats)} heartbeats in a job of {end - start:.1f} s, the longest pause {gaps[-1]:.1f} s"
    session.expect("heartbeats-stated", gaps[-1] < session.dead_s(), seen)
    middle = gaps[len(gaps) // 2]
    session.expect(
        "heartbeats", middle < 1.5 * session.api.heartbeat_s, f"{seen}; heartbeat: {session.api.heartbeat_s}"
    )


def play_cancel(session: Session) -> None:
    """A job that is cancelled while its stage runs."""
    api, limit_s = session.api, 3 * session.api.heartbeat_s + ENFORCED_S
    if str(session.registration().get("cancel", "")).lower() != "true":
        session.unseen("ends-cancelled", "the grader does not ask for cancelled jobs (`cancel`)")
        return
    job = session.hand_out(session.stage("sleep 300"))
    job_id, start = job.handout["job_id"], job.handed[0][0]
    named = lambda: [job_id in named_jobs(beat) for beat in api.since(start, "heartbeat")]  # noqa: E731
    is_named = api.wait_for(lambda: any(named()), limit_s)
    api.cancel(job)
    has_ended = is_named and api.wait_for(lambda: not named()[-1], limit_s)
    seen = f"{limit_s:g} s after it was cancelled its heartbeats named it" if is_named else "no heartbeat named the job"
    if session.expect("ends-cancelled", has_ended and not job.reports, seen if not job.reports else "it sent a result"):
        session.run(session.stage("exit 0"))


JOB_SCENARIOS = [
    Scenario("job", "two stages in one directory, then another job", play_job),
    Scenario("environment", "awkward values, an entry of 128 KiB, a name twice", play_environment),
    Scenario("large-environment", "15 entries of 128 KiB", play_large_environment),
    Scenario("failure", "a stage that fails, one that can't start", play_failure),
    Scenario("timeout", "a stage over its timeout", play_timeout),
    Scenario("logs-false", "a stage whose output stays out of the logs", play_logs_false),
    Scenario("students", "a job with a list of students", play_students),
    Scenario("heartbeats", "a long job", play_heartbeats),
    Scenario("cancel", "a job that is cancelled while it runs", play_cancel),
]
