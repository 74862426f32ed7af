"""scripts/check: the directions of includes, circles, words in names and the length of functions, each found once."""

import shutil
import subprocess
from pathlib import Path

import pytest
from broadway_tools import layers, names

ROOT = Path(__file__).resolve().parents[2]
TABLE = """
low:
high: low   # a comment
top: top/* low
one: high/b.h
! low/a.c high/b.h
@ high/b high/c
"""


def test_an_include_against_the_table_is_told_unless_it_is_excepted():
    allowed, exceptions, _known = layers.read_table(TABLE)
    right = [("high/b.c", "low/a.h"), ("low/a.c", "low/x.h"), ("top/main.c", "top/part/x.h"), ("one/a.c", "high/b.h")]
    assert layers.problems(right, allowed) == []
    assert layers.problems([("low/a.c", "high/b.h")], allowed, exceptions) == []
    assert layers.problems([("low/x.c", "high/b.h")], allowed) == [
        "low/x.c includes high/b.h, against scripts/layers.txt"
    ]
    assert layers.problems([("one/a.c", "high/c.h")], allowed) == [
        "one/a.c includes high/c.h, against scripts/layers.txt"
    ]
    assert layers.problems([("top/part/x.c", "top/main.h")], allowed) == [
        "top/part/x.c includes top/main.h, against scripts/layers.txt"
    ]


def test_a_circle_is_told_unless_it_is_excepted():
    allowed, _, known = layers.read_table(TABLE)
    around = [("high/b.c", "high/c.h"), ("high/c.h", "high/b.h"), ("high/b.c", "high/b.h"), ("high/d.c", "high/b.h")]
    assert layers.problems(around, allowed, known=known) == []
    assert layers.problems(around, allowed) == ["a circle of includes: high/b high/c"]
    assert layers.problems(around[2:], allowed) == []


def test_an_exception_that_is_no_longer_needed_is_told():
    said = layers.problems([], *layers.read_table(TABLE))
    assert said == [
        "scripts/layers.txt excepts low/a.c high/b.h: no longer needed",
        "scripts/layers.txt excepts the circle high/b high/c: no longer needed",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("api/a.c", "int sweep_patience_ms;", ["sweep_patience_ms"]),
        ("api/a.c", "enum { PATIENCE };", ["PATIENCE"]),
        ("api/patience_table.h", "int a;", ["the file's name"]),
        ("api/a.c", '/* patience */ const char *a = "patience"; // patience', []),
        ("api/a.c", "int impatience;", []),
    ],
)
def test_a_word_that_was_given_up_is_told_in_a_name_alone(name, text, words):
    said = names.problems(name, text, {"patience": "request_timeout"})
    assert said == [
        f"{name}: {word} has 'patience'; scripts/vocabulary.txt has 'request_timeout' instead" for word in words
    ]


def test_check_fails_on_each_of_them(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / ".clang-format", tmp_path)
    for folder in ("api", "common/base", "scheduler", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "api/api.h").write_text("struct api;\n")
    (tmp_path / "scheduler/main.c").write_text("int main(void)\n{\n    return 0;\n}\n")
    lines = "\n".join(f"    value += {number};" for number in range(60))
    (tmp_path / "common/base/first.h").write_text('#include "common/base/second.h"\n#include "api/api.h"\n')
    (tmp_path / "common/base/second.h").write_text('#include "common/base/first.h"\n\nint patience_ms(void);\n')
    (tmp_path / "common/base/long.c").write_text(
        f"int too_long(int value);\n\nint too_long(int value)\n{{\n{lines}\n    return value;\n}}\n"
    )
    done = subprocess.run([tmp_path / "scripts/check"], check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 1, done.stdout
    for sentence in (
        "common/base/first.h includes api/api.h, against scripts/layers.txt",
        "a circle of includes: common/base/first common/base/second",
        "common/base/second.h: patience_ms has 'patience'",
        "common/base/long.c:4 too_long",
        "a function is too long",
    ):
        assert sentence in done.stderr
