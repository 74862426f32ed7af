"""What the harness builds: instruments are in the preset `fault`, and in nothing that anybody ships."""

from pathlib import Path

import pytest
from broadway_faults.mutants import MUTANTS
from broadway_faults.registry import load_rows

ROOT = Path(__file__).resolve().parents[2]
BINARIES = ("broadway-api", "broadway-scheduler")
SOURCES = [path for folder in ("api", "common", "scheduler") for path in (ROOT / folder).rglob("*.c")]


@pytest.mark.parametrize("name", BINARIES)
def test_release_binaries_know_no_failpoints(name):
    binary = ROOT / "build" / "release" / name
    if not binary.exists():
        pytest.skip("build/release is not built")
    content = binary.read_bytes()
    assert b"BROADWAY_FAILPOINT" not in content and b"BROADWAY_MUTANT" not in content
    assert b"before_callbacks" not in content and b"after_result_insert" not in content


def test_every_mutant_stands_in_the_sources_and_every_guard_in_the_table():
    text = "".join(path.read_text() for path in SOURCES)
    for mutant in MUTANTS:
        assert f'MUTANT("{mutant.name}")' in text, f"{mutant.name} is nowhere in the sources"
    in_sources = set(part.partition('"')[0] for part in text.split('MUTANT("')[1:])
    assert in_sources == {mutant.name for mutant in MUTANTS}, "a guard can be taken out that no row is named for"


def test_every_row_of_the_matrix_is_there_and_every_mutant_names_one():
    rows = load_rows()
    assert set(range(1, 54)) <= set(rows)
    assert {mutant.row for mutant in MUTANTS} <= set(rows)
