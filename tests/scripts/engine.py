"""A client of podman on PATH that is the real one until it is told to fail: for faults that can't be made otherwise."""

import json
import os
import sys
import time
from pathlib import Path

# What stands in the file: this module, run as a program.
PROGRAM = """#!{python}
import sys
sys.path.insert(0, {here!r})
import engine
engine.main({real!r}, {orders!r}, sys.argv[1:])
"""


class Engine:
    """A program called `name` in `directory`, which is to be on PATH; `real` is the one that it passes calls on to."""

    def __init__(self, directory, name, real="/bin/true"):
        directory.mkdir(exist_ok=True)
        self.name = name
        self._orders = directory / f"{name}.orders"
        self._calls = directory / f"{name}.orders.calls"
        self._calls.touch()
        self.obey()
        here = str(Path(__file__).parent)
        program = directory / name
        program.write_text(PROGRAM.format(python=sys.executable, here=here, real=str(real), orders=str(self._orders)))
        program.chmod(0o755)

    def obey(self):
        """Passes all calls on from now on."""
        self._order({})

    def fail(self, command, words, status=125):
        """From now on, calls of `command` ("*": all) fail with these words."""
        self._order({"command": command, "words": words, "status": status})

    def replace(self, command, argv, delay=0):
        """From now on, calls of `command` take so long, and do another thing."""
        self._order({"command": command, "delay": delay, "argv": list(argv)})

    def calls(self, command):
        """The arguments of every call of `command`, in order."""
        calls = [json.loads(line) for line in self._calls.read_text(encoding="utf-8").splitlines()]
        return [call[1:] for call in calls if call[0] == command]

    def _order(self, order):
        temporary = self._orders.with_suffix(".new")
        temporary.write_text(json.dumps(order), encoding="utf-8")
        temporary.rename(self._orders)


def main(real, orders, argv):
    """The program itself."""
    with open(f"{orders}.calls", "a", encoding="utf-8") as file:
        file.write(json.dumps(argv) + "\n")
    order = json.loads(Path(orders).read_text(encoding="utf-8"))
    if order.get("command") in ("*", argv[0]):
        time.sleep(order.get("delay", 0))
        if "words" in order:
            print(f"Error: {order['words']}", file=sys.stderr)
            sys.exit(order["status"])
        argv = order["argv"]
    os.execv(real, [real, *argv])
