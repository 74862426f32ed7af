"""What the command line prints: cells of a CSV."""

import pytest
from broadway.cli.output import Column, show_list


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-x", "'-x"),
        ("@a", "'@a"),
        ("a=b", "a=b"),
        (-1, "-1"),
        (True, "yes"),
        (["-"], '"[""-""]"'),
        (None, '""'),
    ],
)
def test_a_cell_of_a_csv_is_no_formula(capsys, value, cell):
    show_list([value], [Column("Value", lambda row: row)], "csv")
    assert capsys.readouterr().out == f"value\n{cell}\n"
