"""A stand-in for docker and podman, on PATH: writes down how it was called, and does as the image's name says."""

import json
import sys
import time
from pathlib import Path

# What stands in the file: this module, run as a program.
PROGRAM = """#!{python}
import sys
sys.path.insert(0, {here!r})
import engine
sys.exit(engine.main({record!r}, {is_usable!r}, sys.argv[1:]))
"""


class Engine:
    """An engine called `name` in `directory`, which is to be on PATH."""

    def __init__(self, directory, name, is_usable=True):
        directory.mkdir(exist_ok=True)
        self.name = name
        self._record = directory / f"{name}.calls"
        self._record.touch()
        here = str(Path(__file__).parent)
        program = directory / name
        program.write_text(
            PROGRAM.format(python=sys.executable, here=here, record=str(self._record), is_usable=is_usable)
        )
        program.chmod(0o755)

    def calls(self, command):
        """The arguments after `command` of every call of it, in order."""
        calls = [json.loads(line) for line in self._record.read_text(encoding="utf-8").splitlines()]
        return [call[1:] for call in calls if call[0] == command]


def main(record, is_usable, argv):
    """The engine itself: its exit code."""
    with open(record, "a", encoding="utf-8") as file:
        file.write(json.dumps(argv) + "\n")
    if argv[0] == "info":
        return 0 if is_usable else 1
    if argv[0] == "run":
        return _run(argv)
    return 0


def _run(argv):
    if "image:missing" in argv:
        print("no such image", file=sys.stderr)
        return 125
    if "image:hangs" in argv:
        time.sleep(600)
    source = next(word.split("source=")[1].split(",")[0] for word in argv if word.startswith("--mount="))
    print(f"found {sorted(path.name for path in Path(source).iterdir())}")
    (Path(source) / "result.json").write_text('{"by": "container"}', encoding="utf-8")
    return 0
