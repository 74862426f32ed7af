#!/usr/bin/env python3
"""Does a file or an identifier of the C sources have a word that scripts/vocabulary.txt has given up?

Run by scripts/check, with nothing but Python's own library. Prints a line for each; exits 1 if there is any.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("common", "api", "scheduler", "tests")
# What is no identifier: comments, strings, characters, names of headers.
OTHER = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|#include[^\n]*'
TOKEN = re.compile(rf"{OTHER}|([A-Za-z_]\w*)", re.DOTALL)


def read_vocabulary(text):
    """{word given up: word instead} of a vocabulary's text."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return {words[0]: words[1] for words in lines if words}


def identifiers(text):
    """All identifiers of a C source, comments and strings left out; each once."""
    return sorted({match[1] for match in TOKEN.finditer(text) if match[1]})


def problems(name, text, vocabulary):
    """A sentence for each word of the vocabulary in the file's name or its identifiers."""
    pattern = re.compile(rf"(?:^|_)({'|'.join(map(re.escape, vocabulary))})(?:_|$)", re.IGNORECASE)
    said = []
    for kind, words in (("the file's name", [Path(name).stem]), ("", identifiers(text))):
        for word in words:
            if match := pattern.search(word):
                old = match[1].lower()
                said.append(
                    f"{name}: {kind or word} has {old!r}; scripts/vocabulary.txt has {vocabulary[old]!r} instead"
                )
    return said


def main():
    """Checks the tree that this file is in."""
    vocabulary = read_vocabulary((ROOT / "scripts/vocabulary.txt").read_text(encoding="utf-8"))
    said = []
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.[ch]")):
        said += problems(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"), vocabulary)
    for sentence in said:
        print(f"names: {sentence}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
