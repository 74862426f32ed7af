"""The builds of the harness: instruments are only in the preset `fault`, not in release builds."""

from pathlib import Path

import pytest
from broadway_faults.build import MUTANTS
from broadway_faults.mutants import FOUND, MISSED, NOT_RUN, load_mutants, read_mutant, verdict_of
from broadway_faults.registry import load_rows
from broadway_faults.runner import CANNOT, FAILED, PASSED
from broadway_tools.mutated_build import PatchError, patched_files

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ("broadway-api", "broadway-scheduler")
PATCHES = sorted(MUTANTS.glob("*.patch"))


@pytest.mark.parametrize("name", BINARIES)
def test_release_binaries_know_no_failpoints(name):
    binary = ROOT / "build" / "release" / name
    if not binary.exists():
        pytest.skip("build/release is not built")
    content = binary.read_bytes()
    assert b"BROADWAY_FAILPOINT" not in content
    assert b"before_callbacks" not in content and b"after_result_insert" not in content


def test_every_row_of_the_matrix_is_there():
    assert set(range(1, 54)) <= set(load_rows())


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_every_mutant_can_be_applied_and_names_a_row(patch):
    assert patched_files(patch)
    assert read_mutant(patch).row in load_rows()


def test_each_mutant_is_named_by_its_file():
    assert list(load_mutants()) == [patch.stem for patch in PATCHES] != []


def test_a_mutants_first_line_may_name_a_seed(tmp_path):
    patch = tmp_path / "hasty.patch"
    patch.write_text("Nothing is hasty. Row 12 must fail with seed 3.\n")
    mutant = read_mutant(patch)
    assert (mutant.name, mutant.guard, mutant.row, mutant.seed) == ("hasty", "Nothing is hasty", 12, 3)


def test_a_mutant_without_its_first_line_is_refused(tmp_path):
    patch = tmp_path / "hasty.patch"
    patch.write_text("--- a/api/main.c\n")
    with pytest.raises(PatchError, match=r"hasty\.patch must begin with"):
        read_mutant(patch)


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        ({"result": FAILED}, FOUND),
        ({"result": PASSED}, MISSED),
        ({"result": CANNOT}, NOT_RUN),
        ({"result": FAILED, "is_harness": True}, NOT_RUN),
    ],
)
def test_only_a_row_that_failed_by_itself_detects_a_mutant(outcome, verdict):
    assert verdict_of(outcome) == verdict
