"""The simulator finds guards that are taken out of the scheduler, and is the same for the same seed; actions race."""

import re

import pytest
import simulator
from broadway_tools.mutated_build import PatchError

MUTANTS = {patch.stem: patch for patch in sorted(simulator.MUTANTS.glob("*.patch"))}
RACE = re.compile(r"^race: (.+) x (.+): (\d+)$", re.MULTILINE)
RACES_SEEDS = 200
RACES_LEAST = 25  # of each pair, in so many seeds; README.md says how many there are
LAST_LINE = re.compile(r"^(\d+) seeds, (\d+) failures, [\d,]+ events, \d+ s$", re.MULTILINE)


@pytest.fixture(scope="session")
def unpatched():
    return simulator.build()


def test_each_action_meets_each_other_event_within_100_ms(unpatched):
    code, text = simulator.play(unpatched, "--seeds", str(RACES_SEEDS), "--races")
    assert code == 0, text[-3000:]
    found = {(action, other): int(times) for action, other, times in RACE.findall(text)}
    actions = {action for action, _ in found}
    assert actions == {"cancel of a run", "cancel of a job", "supersede", "pause", "rerun"}
    assert len(found) == 4 * len(actions) + len(actions) * (len(actions) - 1) // 2
    assert min(found.values()) >= RACES_LEAST, found


@pytest.mark.parametrize("name", MUTANTS)
def test_guard_taken_out_is_found(unpatched, name):
    mutant = simulator.read_mutant(MUTANTS[name])
    found = simulator.first_failure(simulator.build_mutant(mutant), mutant.seeds)
    assert found, f"not found within {mutant.seeds} seeds: {mutant.guard}"
    code, text = simulator.play(unpatched, "--seeds", "1", "--first", str(found[0]))
    assert code == 0, text[-3000:]
    assert LAST_LINE.search(text).groups() == ("1", "0")


def test_what_fails_is_made_smaller_and_shown():
    mutant = simulator.read_mutant(MUTANTS["attempt_skipped"])
    code, text = simulator.play(simulator.build_mutant(mutant), "--seeds", str(mutant.seeds), "--fail-fast")
    assert code == 1
    failure = re.search(r"^seed (\d+): I\d+: .+$", text, re.MULTILINE)
    assert failure, text[-3000:]
    history = text[text.index(f"seed {failure[1]}, made smaller") :]
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3}  .+ FAILED ", history, re.MULTILINE), history[-3000:]


def test_history_of_a_seed_is_the_same_twice(unpatched):
    digests = [simulator.play(unpatched, "--seeds", "6", "--jobs", str(jobs), "--digest")[1] for jobs in (1, 2)]
    found = [sorted(re.findall(r"seed \d+ digest [0-9a-f]{16}", text)) for text in digests]
    assert len(set(found[0])) == 6
    assert found[0] == found[1]


def test_trace_has_the_history_of_one_seed(unpatched):
    code, text = simulator.play(unpatched, "--seed", "1", "--trace")
    assert code == 0, text[-3000:]
    lines = text.splitlines()
    assert re.fullmatch(r"seed 1: \d+ events, digest [0-9a-f]{16}", lines[0])
    assert any(" lease inserted " in line for line in lines)


def test_patch_that_does_not_apply_says_what_to_do(tmp_path):
    patch = tmp_path / "old.patch"
    patch.write_text(
        "A guard. Found within 5 seeds.\n--- a/scheduler/rules/decide.c\n+++ b/scheduler/rules/decide.c\n"
        "@@ -1,1 +1,1 @@\n-this line was changed long ago\n+another\n",
        encoding="utf-8",
    )
    with pytest.raises(PatchError, match=r"does not apply to scheduler/rules/decide\.c"):
        simulator.build_mutant(simulator.read_mutant(patch))
