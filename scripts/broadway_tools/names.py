#!/usr/bin/env python3
"""Checks names against the retired words in scripts/vocabulary.txt: names of files, identifiers of the C sources, and
functions and classes of the Python sources of scripts/ and tests/.

Run by scripts/check, with only Python's standard library. Prints a line for each name with a retired word; exits 1 if
there is any.
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("common", "api", "scheduler", "tests", "scripts")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
# Text that has no identifiers: comments, strings, characters, names of headers.
OTHER = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|#include[^\n]*'
TOKEN = re.compile(rf"{OTHER}|([A-Za-z_]\w*)", re.DOTALL)


def read_vocabulary(text):
    """{retired word: its replacement} of a vocabulary's text."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return {words[0]: words[1] for words in lines if words}


def identifiers(text):
    """All identifiers of a C source, comments and strings left out; each once."""
    return sorted({match[1] for match in TOKEN.finditer(text) if match[1]})


def definitions(text):
    """The names of all functions and classes of a Python source; each once."""
    return sorted({node.name for node in ast.walk(ast.parse(text)) if isinstance(node, DEFINITIONS)})


def with_underscores(name):
    """The name with an underscore between the words of its CamelCase."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)


def problems(name, text, vocabulary):
    """A sentence for each retired word in the file's name or in the names that the file defines or uses."""
    pattern = re.compile(rf"(?:^|_)({'|'.join(map(re.escape, vocabulary))})(?:_|$)", re.IGNORECASE)
    names = definitions(text) if name.endswith(".py") else identifiers(text)
    said = []
    for kind, words in (("the file's name", [Path(name).stem]), ("", names)):
        for word in words:
            if match := pattern.search(with_underscores(word)):
                old = match[1].lower()
                said.append(
                    f"{name}: {kind or word} has {old!r}; scripts/vocabulary.txt has {vocabulary[old]!r} instead"
                )
    return said


def main():
    """Checks the tree that this file is in."""
    vocabulary = read_vocabulary((ROOT / "scripts/vocabulary.txt").read_text(encoding="utf-8"))
    said = []
    paths = (path for folder in FOLDERS for ending in ("c", "h", "py") for path in (ROOT / folder).rglob(f"*.{ending}"))
    for path in sorted(paths):
        said += problems(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"), vocabulary)
    for sentence in said:
        print(f"names: {sentence}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
