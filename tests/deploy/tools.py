"""Tools that are neither Python nor a part of the machine: tests/deploy/tools gets them."""

import functools
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


@functools.cache
def tools(*names):
    """The directory of the tools, with bin/ and crds/, once these are there."""
    done = subprocess.run([HERE / "tools", *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"tests/deploy/tools {' '.join(names)}:\n{done.stderr}"
    return Path(done.stdout.strip())


def run(argv, **options):
    """(exit status, all that it said)."""
    done = subprocess.run(
        [str(word) for word in argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, **options.pop("env", {})},
        **options,
    )
    return done.returncode, done.stdout
