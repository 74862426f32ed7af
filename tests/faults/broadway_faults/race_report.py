"""tests/faults/run --races: plays races, prints who was first, and the history of each race that failed."""

import json
import re
import shutil
from functools import partial

import click

from broadway_faults import check_races, history, observer, runner
from broadway_faults.evidence import read_evidence
from broadway_faults.races import PAIRS, PLAN, play_races
from broadway_faults.scene import Scene

RUN = re.compile(r"(?<![0-9a-f])[0-9a-f]{24}(?![0-9a-f]{9})")
SHOWN = 5  # failed races whose histories are printed
SAID_EVERY = 500


def say(total, done):
    if done % SAID_EVERY == 0:
        click.echo(f"{done} of {total} races", err=True)


def run(each, seed, seconds=None):
    """Plays `each` races of each pair, or as many as begin within `seconds`; returns 0 if every promise was kept."""
    scene = Scene(runner.RESULTS / f"races-seed-{seed}", "races", seed, PLAN)
    violations = scene.run(partial(play_races, each=each, seconds=seconds, say=partial(say, each * len(PAIRS))))
    for line in check_races.table(read_evidence(scene.directory)):
        click.echo(line)
    for violation in violations[:40]:
        click.echo(f"  {violation}")
    click.echo(f"races, seed {seed}: {len(violations)} violation(s)")
    if not violations:
        shutil.rmtree(scene.directory, ignore_errors=True)
        return 0
    for runs in failed_races(scene.directory, violations)[:SHOWN]:
        click.echo(f"--- seed {seed}, runs {' '.join(runs)}")
        for line in history_of(scene.directory, runs):
            click.echo(line)
    click.echo(f"kept in {scene.directory}; check it again with --check")
    return 1


def failed_races(directory, violations):
    """The runs of each race that a violation names, in a list each."""
    races = {}
    for note in read_evidence(directory).noted("race"):
        races |= dict.fromkeys(note["runs"], tuple(note["runs"]))
    named = [RUN.findall(str(violation)) for violation in violations]
    return list(dict.fromkeys(races.get(runs[0], tuple(runs)) for runs in named if runs))


def history_of(directory, runs):
    """The lines of the history and the events that name one of the runs, by time; both lines of a call."""
    lines = history.read_lines(directory / history.FILE)
    calls = {line.get("id") for line in lines if names(line, runs)} - {None}
    found = [line for line in lines if line.get("id") in calls or names(line, runs)]
    found += [event for event in history.read_lines(directory / observer.FILE) if names(event, runs)]
    return [json.dumps(line) for line in sorted(found, key=lambda line: line["t"])]


def names(line, runs):
    text = json.dumps(line)
    return any(run in text for run in runs)
