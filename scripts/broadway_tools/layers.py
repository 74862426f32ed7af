#!/usr/bin/env python3
"""Checks that includes have only the directions that scripts/layers.txt allows, and that there are no circles.

Run by scripts/check, with nothing but Python's own library. Prints a line for each include in a wrong direction, for
each exception that is no longer needed, for each circle of modules and for each name that a folder must not use; exits
1 if there is any. A module is a .c file with its header, and with x_internal.h, the inside that it shares with others
of its folder.
"""

import re
import sys
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent.parent
INCLUDE = re.compile(r'^#include "([^"]+\.h)"', re.MULTILINE)
TOPS = ("common", "api", "scheduler")
# Comments, strings, characters and includes have no names of functions in them.
OTHER = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|#include[^\n]*'
NAME = re.compile(rf"{OTHER}|([A-Za-z_]\w*)", re.DOTALL)


def read_table(text):
    """(allowed: {folder: patterns}, exceptions: {(file, header)}, known circles: {modules}) of a table's text."""
    allowed, exceptions, known = {}, set(), set()
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if words[:1] == ["-"]:
            continue
        if words[:1] == ["!"]:
            exceptions.add((words[1], words[2]))
        elif words[:1] == ["@"]:
            known.add(tuple(words[1:]))
        elif words:
            allowed[words[0].rstrip(":")] = words[1:]
    return allowed, exceptions, known


def read_banned(text):
    """{folder: patterns of names that its sources must not use} of a table's text."""
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    return {words[1].rstrip(":"): words[2:] for words in lines if words[:1] == ["-"]}


def banned_names(file, text, banned):
    """A sentence for each name in a source's text that its folder must not use."""
    patterns = banned.get(_folder(file), ())
    names = sorted({match[1] for match in NAME.finditer(text) if match[1]})
    return [
        f"{file} uses {name}, against scripts/layers.txt"
        for name in names
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]


def read_includes(root):
    """[(file, header)] of all includes between the sources below `root`, as paths from there."""
    pairs = [(path.relative_to(root).as_posix(), header) for path in _sources(root) for header in _headers(path)]
    return [(file, header) for file, header in pairs if (root / header).exists()]


def wrong_directions(includes, allowed):
    """The includes that the table does not allow; an include within a folder is always allowed."""
    return [(file, header) for file, header in includes if not _may(file, header, allowed)]


def circles(includes):
    """The circles: tuples of the modules that include one another, sorted."""
    graph = {}
    for file, header in includes:
        graph.setdefault(_module(file), set()).add(_module(header))
    reach = {module: _reachable(graph, module) for module in graph}
    found = {
        tuple(sorted(other for other in reached if module in reach.get(other, ())))
        for module, reached in reach.items()
        if module in reached
    }
    return sorted(found)


def problems(includes, allowed, exceptions=frozenset(), known=frozenset()):
    """A sentence for every violation that is not an exception, and for every exception that is no longer needed."""
    wrong, round_about = set(wrong_directions(includes, allowed)), set(circles(includes))
    return [
        *(f"{file} includes {header}, against scripts/layers.txt" for file, header in sorted(wrong - exceptions)),
        *(
            f"scripts/layers.txt excepts {file} {header}: no longer needed"
            for file, header in sorted(exceptions - wrong)
        ),
        *(f"a circle of includes: {' '.join(circle)}" for circle in sorted(round_about - known)),
        *(
            f"scripts/layers.txt excepts the circle {' '.join(circle)}: no longer needed"
            for circle in sorted(known - round_about)
        ),
    ]


def _sources(root):
    return [path for top in TOPS for path in sorted((root / top).rglob("*.[ch]"))]


def _headers(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def _folder(file):
    return PurePosixPath(file).parent.as_posix()


def _module(file):
    """The path without its extension and "_internal": a module's own .h in its .c is no edge between modules."""
    return PurePosixPath(file).with_suffix("").as_posix().removesuffix("_internal")


def _may(file, header, allowed):
    folder, other = _folder(file), _folder(header)
    if folder == other:
        return True
    return any(
        word in (other, header) or (word.endswith("/*") and other.startswith(word[:-1]))
        for word in allowed.get(folder, ())
    )


def _reachable(graph, start):
    """Modules reached from `start` by one edge or more; an edge of a module to itself does not count."""
    seen, waiting = set(), [module for module in graph.get(start, ()) if module != start]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += [other for other in graph.get(module, ()) if other != module]
    return seen


def main():
    """Checks the tree that this file is in."""
    table = (ROOT / "scripts/layers.txt").read_text(encoding="utf-8")
    banned = read_banned(table)
    said = problems(read_includes(ROOT), *read_table(table))
    for path in _sources(ROOT):
        said += banned_names(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8"), banned)
    for sentence in said:
        print(f"layers: {sentence}", file=sys.stderr)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
