"""The races' own tests: good ones pass, each broken promise is found, and an aim finds the moment at which two sides
meet."""

import json
import random

import pytest
from broadway_faults.check_races import ENOUGH, SOON_MS, table
from broadway_faults.checker import check
from broadway_faults.race_report import failed_races, history_of
from broadway_faults.races import ACTS, EVENTS, PAIRS, SILENT_MS, Aim, date_of
from histories import FIRST, JOBS, RUN, SECOND, good_story

LABEL = "cancel job x result #7"
ENDED_AT = 100_000


def race_story(races=1):
    """A good history that is one race, or several of one pair."""
    story = good_story()
    for number in range(races):
        note_race(story, "act" if number % 2 else "other", [RUN] if number == 0 else [])
    story.event("grading_runs", "update", RUN, set={"state": "finished"})
    story.dump["runs"][RUN]["finished_at"] = ENDED_AT
    for job in JOBS:
        story.dump["leases"][f"{job}.1"]["leased_at"] = ENDED_AT - 500
        story.dump["results"][job].update(finished_at=ENDED_AT - 100, attempts=1)
    return story


def note_race(story, winner, runs):
    facts = {"race": LABEL, "pair": ["cancel job", "result"], "protocol": "classic"}
    story.note("race", winner=winner, runs=runs, statuses={}, **facts)


def texts(story):
    return [str(violation) for violation in check(story.evidence())]


def only(story):
    """The one violation, which names the race."""
    (text,) = texts(story)
    assert LABEL in text
    return text


def ends_of(story):
    return [event for event in story.events if event["coll"] == "grading_runs"]


def only_one_end(story):
    story.events = [event for event in story.events if event not in ends_of(story)[:-1]]
    return story


def good_race(races=1):
    return only_one_end(race_story(races))


def test_a_good_race_passes():
    assert texts(good_race()) == []
    assert texts(good_race(ENOUGH)) == []


def test_a_run_that_ends_twice_in_the_same_state():
    story = good_race()
    story.event("grading_runs", "update", RUN, set={"state": "finished"})
    assert "ended 2 times" in only(story)


@pytest.mark.parametrize("late", [True, False])
def test_a_job_that_is_handed_out_after_its_end(late):
    story = good_race()
    story.dump["results"][SECOND]["finished_at"] = ENDED_AT - 5000
    story.dump["leases"][f"{SECOND}.1"]["leased_at"] = ENDED_AT - 5000 + SOON_MS + late
    assert ("handed out" in only(story)) if late else texts(story) == []


def test_a_job_that_is_handed_out_after_the_cancel_of_its_run():
    story = good_race()
    story.dump["runs"][RUN]["cancelled_at"] = ENDED_AT - 5000
    assert len(texts(story)) == len(JOBS) and all("handed out" in text for text in texts(story))


def test_a_returned_attempt_that_is_charged():
    story = good_race()
    story.end(FIRST, end="released")
    assert "1 attempts, and 0 that count" in only(story)


def test_a_failure_that_is_charged_to_the_student():
    story = good_race()
    story.dump["results"][FIRST].update(outcome="failed", owner="student")
    assert "failed for its student" in only(story)


def test_a_job_that_is_given_up_for_a_returned_attempt():
    story = good_race()
    story.end(SECOND, end="released")
    story.lines = [line for line in story.lines if line.get("job") != SECOND or line.get("op") != "result"]
    story.dump["results"][SECOND] = {"outcome": "failed", "owner": "infrastructure", "reason": "grader lost 1 time"}
    assert any("was given up" in text for text in texts(story))


@pytest.mark.parametrize(("status", "outcome"), [(200, "succeeded"), (409, "cancelled")])
def test_a_cancel_whose_answer_is_wrong(status, outcome):
    story = good_race()
    (note,) = [line for line in story.lines if line.get("note") == "race"]
    note.update(target=SECOND, statuses={"cancel job": status})
    story.dump["results"][SECOND].update(outcome=outcome, owner="client")
    assert f"the cancel of {SECOND} was" in only(story)


def test_a_newer_run_that_is_not_graded():
    story = good_race()
    newer = {"name": "essay", "state": "cancelled", "rerun_of": RUN, "students": 0, "finished_at": ENDED_AT}
    story.dump["runs"]["b" * 24] = newer
    story.event("grading_runs", "update", "b" * 24, set={"state": "cancelled"})
    note_race(story, "act", [RUN, "b" * 24])
    assert "is 'cancelled'" in only(story)


def test_a_side_that_never_won():
    story = good_race()
    for _ in range(ENOUGH):
        note_race(story, "other", [])
    assert texts(story) == [f"R: in {ENOUGH + 1} races of cancel job x result the cancel job was never first"]


def test_the_table_has_a_line_for_each_pair():
    head, line = table(good_race(6).evidence())
    assert head.split()[0] == "pair"
    assert line.split()[-3:] == ["6", "3", "3"]


def test_every_act_meets_every_event_and_every_other_act():
    assert len(PAIRS) == len(ACTS) * len(EVENTS) + len(ACTS) * (len(ACTS) - 1) // 2 == 30
    assert len({frozenset(pair) for pair in PAIRS}) == 30


@pytest.mark.parametrize(("start_ms", "meets_ms"), [(0, 900), (0, -300), (SILENT_MS, SILENT_MS + 400)])
def test_an_aim_finds_where_the_sides_meet(start_ms, meets_ms):
    aim, dice, won = Aim(start_ms), random.Random(1), []
    for _ in range(200):
        won.append(aim.draw(dice) < meets_ms)
        aim.learn(won[-1])
    assert 40 < sum(won[100:]) < 60


def test_dates_of_answers_are_compared_with_those_of_the_database():
    assert date_of("2026-11-24T17:13:55.120Z").isoformat() == "2026-11-24T17:13:55.120000"


def test_the_history_of_a_failed_race_is_found(tmp_path):
    story = good_race()
    story.call("client", "status", run="e" * 24, answer={"status": 200})
    for name, lines in (("history.jsonl", story.lines), ("events.jsonl", story.events)):
        (tmp_path / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.json").write_text(json.dumps(story.config))
    (runs,) = failed_races(tmp_path, [f"R: {LABEL}: job {FIRST} has 2 attempts, and 1 that count"])
    assert runs == (RUN,)
    lines = history_of(tmp_path, runs)
    assert any(json.loads(line).get("op") == "create" for line in lines)
    assert not any("e" * 24 in line for line in lines)
    calls = [json.loads(line)["id"] for line in lines if "id" in json.loads(line)]
    assert len(calls) == 2 * len(set(calls)), "each call has its end"
