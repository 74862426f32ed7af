"""External tools, which tests/deploy/tools installs."""

import functools
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent


@functools.cache
def tools(*names):
    """Installs the tools; returns their directory, with bin/ and crds/."""
    done = subprocess.run([HERE / "tools", *names], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"tests/deploy/tools {' '.join(names)}:\n{done.stderr}"
    return Path(done.stdout.strip())


def run(argv, **options):
    """(exit status, output)."""
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
