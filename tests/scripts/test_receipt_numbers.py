"""Numbers of receipts: scripts/broadway writes them as the server does (tests/unit/test_receipt.c has these rows)."""

import re
from pathlib import Path

from broadway import canonical

PAGE = Path(__file__).resolve().parents[2] / "docs" / "receipts.md"


def test_numbers_have_the_form_of_the_page():
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| (-?[0-9][^ ]*) \| (-?[0-9][^ ]*) \|$", text, re.M)
    assert len(rows) == 12
    for number, written in rows:
        assert canonical.number(canonical.Number(number)) == written
    for number in ("1e999", "9" * 5000, "-1e300"):  # no score
        assert canonical.number(canonical.Number(number)) == number
