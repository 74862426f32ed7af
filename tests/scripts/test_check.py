"""scripts/check: includes, circles, words in names, unused declarations, the length of functions: each found once."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from broadway_tools import exports, layers, names

ROOT = Path(__file__).resolve().parents[2]
TABLE = """
low:
high: low   # a comment
top: top/* low
one: high/b.h
! low/a.c high/b.h
@ high/b high/c
"""


def test_an_include_against_the_table_is_reported_unless_excepted():
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


def test_a_circle_is_reported_unless_excepted():
    allowed, _, known = layers.read_table(TABLE)
    around = [("high/b.c", "high/c.h"), ("high/c.h", "high/b.h"), ("high/b.c", "high/b.h"), ("high/d.c", "high/b.h")]
    assert layers.problems(around, allowed, known=known) == []
    assert layers.problems(around, allowed) == ["a circle of includes: high/b high/c"]
    assert layers.problems(around[2:], allowed) == []
    assert layers.problems([("high/b.c", "high/b_internal.h"), ("high/b_internal.h", "high/b.h")], allowed) == []
    inside = [("high/c.c", "high/b_internal.h"), ("high/b_internal.h", "high/b.h"), ("high/b.c", "high/c.h")]
    assert layers.problems(inside, allowed) == ["a circle of includes: high/b high/c"]


PROTOCOL_MAP = "common/domain/protocol_map.h"
PROTOCOLS = re.findall(r"X\(Y, ([A-Z]\w*),", (ROOT / PROTOCOL_MAP).read_text(encoding="utf-8"))


def test_the_protocols_are_found():
    assert PROTOCOLS[:2] == ["CLASSIC", "COURSE"]


def users_of_a_name(pattern):
    """The sources that have a name which matches."""
    texts = {path: path.read_text(encoding="utf-8") for top in layers.TOPS for path in (ROOT / top).rglob("*.[ch]")}
    return {
        path.relative_to(ROOT).as_posix()
        for path, text in texts.items()
        if any(re.fullmatch(pattern, match[1] or "") for match in layers.NAME.finditer(text))
    }


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_protocol_is_a_folder_and_a_row(protocol):
    folder = f"api/{protocol.lower()}/"
    includers = {file for file, header in layers.read_includes(ROOT) if header.startswith(folder)}
    assert {file for file in includers if not file.startswith(folder)} == {"api/protocols.c"}
    askers = users_of_a_name(
        rf"(?!OWNER_|PAUSE_|QUERY_|JOB_TIMES_|TOKEN_OF_|LOG_)[A-Z_]+_{protocol}"
    )  # PROTOCOL_CLASSIC, and what tables make of it
    assert {file for file in askers if not file.startswith(folder)} <= {"api/protocols.c", PROTOCOL_MAP}
    assert "api/protocols.c" in askers


def test_an_unneeded_exception_is_reported():
    said = layers.problems([], *layers.read_table(TABLE))
    assert said == [
        "scripts/layers.txt excepts low/a.c high/b.h: no longer needed",
        "scripts/layers.txt excepts the circle high/b high/c: no longer needed",
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("pure/a.c", "int64_t now_ms = clock_boot_ms();", ["clock_boot_ms"]),
        ("pure/a.h", "pthread_mutex_t mutex;", ["pthread_mutex_t"]),
        ("pure/a.c", "lease_store_insert(store, f(clock_ms()));", ["clock_ms", "lease_store_insert"]),
        ("pure/a.c", '/* clock_ms */ const char *a = "clock_ms"; // clock_ms', []),
        ("pure/a.c", '#include "common/store/lease_store.h"', []),
        ("pure/a.c", "int o_clock_ms, lease_store;", []),
        ("high/a.c", "clock_ms();", []),
    ],
)
def test_a_name_that_its_folder_must_not_use_is_reported(name, text, words):
    banned = layers.read_banned(f"{TABLE}- pure: clock_* pthread_* *_store_*  # a comment\n")
    assert layers.banned_names(name, text, banned) == [
        f"{name} uses {word}, against scripts/layers.txt" for word in words
    ]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("api/a.c", "int sweep_patience_ms;", ["sweep_patience_ms"]),
        ("api/a.c", "enum { PATIENCE };", ["PATIENCE"]),
        ("api/patience_table.h", "int a;", ["the file's name"]),
        ("api/a.c", '/* patience */ const char *a = "patience"; // patience', []),
        ("api/a.c", "int impatience;", []),
        ("tests/test_a.py", "def test_patience_ends():\n    pass\n", ["test_patience_ends"]),
        ("tests/a.py", "class Load:\n    async def patience(self):\n        pass\n", ["patience"]),
        ("scripts/a.py", "class LongPatience:\n    pass\n", ["LongPatience"]),
        ("tests/patience.py", "", ["the file's name"]),
        ("tests/a.py", 'PATIENCE = 1  # patience\n\n\ndef a(patience):\n    """patience"""\n', []),
        ("tests/a.py", "class Impatience:\n    pass\n", []),
    ],
)
def test_a_retired_word_is_reported_only_in_names(name, text, words):
    said = names.problems(name, text, {"patience": "request_timeout"})
    assert said == [
        f"{name}: {word} has 'patience'; scripts/vocabulary.txt has 'request_timeout' instead" for word in words
    ]


@pytest.mark.parametrize(
    ("comment", "user", "said"),
    [
        ("", "", "api/a.h declares part_count, which no other file uses"),
        ("", "/* part_count */", "api/a.h declares part_count, which no other file uses"),
        ("", "int main(void)\n{\n    return part_count();\n}\n", None),
        ("", "int part_count(void)\n{\n    return 1;\n}\n", "api/a.h declares part_count, which no other file uses"),
        ("/* How many. For\n * tests. */\n", "", None),
        (
            "/* For tests. */\n",
            "int (*count)(void) = part_count;",
            "api/a.h has for tests part_count, and other files use it",
        ),
    ],
)
def test_an_unused_declaration_is_reported_unless_it_is_for_tests(comment, user, said):
    sources = {
        "api/a.h": f"#define A_B 1\n\n{comment}int part_count(void)\n    __attribute__((nonnull));\n",
        "api/a.c": "int part_count(void)\n{\n    return 1;\n}\n\nint twice(void)\n{\n    return 2 * part_count();\n}\n",
        "api/b.c": user,
    }
    assert exports.problems(sources) == ([said] if said else [])


def test_check_fails_on_each_of_them(tmp_path):
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / ".clang-format", tmp_path)
    for folder in ("api", "common/base", "scheduler/rules", "tests"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "api/api.h").write_text("struct api;\n")
    (tmp_path / "scheduler/main.c").write_text("int main(void)\n{\n    return 0;\n}\n")
    (tmp_path / "scheduler/rules/decide.h").write_text('#include "scheduler/io/inbox.h"\n\nint clock_boot_ms(void);\n')
    (tmp_path / "scheduler/io").mkdir()
    (tmp_path / "scheduler/io/inbox.h").write_text("struct inbox;\n")
    lines = "\n".join(f"    value += {number};" for number in range(60))
    (tmp_path / "common/base/first.h").write_text('#include "common/base/second.h"\n#include "api/api.h"\n')
    (tmp_path / "common/base/second.h").write_text('#include "common/base/first.h"\n\nint patience_ms(void);\n')
    (tmp_path / "tests/test_a.py").write_text("def test_patience():\n    pass\n")
    (tmp_path / "common/base/long.c").write_text(
        f"int too_long(int value);\n\nint too_long(int value)\n{{\n{lines}\n    return value;\n}}\n"
    )
    done = subprocess.run([tmp_path / "scripts/check"], check=False, capture_output=True, text=True, timeout=110)
    assert done.returncode == 1, done.stdout
    for sentence in (
        "common/base/first.h includes api/api.h, against scripts/layers.txt",
        "scheduler/rules/decide.h includes scheduler/io/inbox.h, against scripts/layers.txt",
        "scheduler/rules/decide.h uses clock_boot_ms, against scripts/layers.txt",
        "a circle of includes: common/base/first common/base/second",
        "common/base/second.h: patience_ms has 'patience'",
        "tests/test_a.py: test_patience has 'patience'",
        "common/base/second.h declares patience_ms, which no other file uses",
        "common/base/long.c:4 too_long",
        "a function is too long",
    ):
        assert sentence in done.stderr
