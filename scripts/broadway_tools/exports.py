#!/usr/bin/env python3
"""Is a function that a header of the C sources declares called by nobody but its own file?

Then it is static, or dead. One that is there so that tests can call it says so: "For tests" in the comment before it.
Run by scripts/check, with nothing but Python's own library. Prints a line for each; exits 1 if there is any.
"""

import re
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("common", "api", "scheduler")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
OTHER = re.compile(r'//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'')
# A comment, if there is one, and what it stands before: a declaration at the margin, with its name and its "(".
DECLARATION = re.compile(
    r"(?P<comment>/\*(?:[^*]|\*(?!/))*\*/\n)?"
    r"^(?!typedef\b|static\b)\w[\w \t\n*]*?[\s*](?P<name>[a-z]\w*)\([^;{}]*\)[^;{}]*;",
    re.MULTILINE,
)


def declared(text):
    """{function: is it for tests} of a header's text."""
    return {
        match["name"]: "for tests" in " ".join((match["comment"] or "").lower().replace("*", " ").split())
        for match in DECLARATION.finditer(text)
        if match["name"] != "__attribute__"
    }


def identifiers(text):
    """{identifier: how often} of a C source, comments and strings left out."""
    return Counter(re.findall(r"[A-Za-z_]\w*", OTHER.sub("", COMMENT.sub("", text))))


def defined(text):
    """The functions that a source defines at its margin."""
    return set(re.findall(r"^\w[\w \t*]*?[\s*]([a-z]\w*)\([^;{}]*\)\n\{", text, re.MULTILINE))


def problems(sources):
    """A sentence for each function of {path: text} that only the file which defines it names.

    One that its header names twice is used there, by a macro or an inline function.
    """
    said = []
    words = {path: identifiers(text) for path, text in sources.items()}
    own = {path: defined(text) for path, text in sources.items()}
    for header in sorted(path for path in sources if path.endswith(".h")):
        for name, is_for_tests in declared(sources[header]).items():
            users = [path for path in sources if name in words[path] and name not in own[path] and path != header]
            is_used = bool(users) or words[header][name] > 1
            if is_used == is_for_tests:
                verb = "has for tests" if is_for_tests else "declares"
                end = "and other files use it" if is_for_tests else "which no other file uses"
                said.append(f"{header} {verb} {name}, {end}")
    return said


def main():
    """Checks the tree that this file is in."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]")]
    said = problems({path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths})
    for sentence in said:
        print(f"exports: {sentence}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
