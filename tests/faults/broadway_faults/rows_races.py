"""Row 68: acts of clients against events of their runs and against each other, some races of each pair."""

from broadway_faults.races import PLAN, play_races
from broadway_faults.registry import row

RACES = 8  # of each pair; tests/faults/run --races plays more


@row(68, "races: cancel, supersede, pause, rerun against events and each other", PLAN)
def race(scene):
    play_races(scene, RACES)
