"""Puts the harness and the commands' package on the path."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = HERE.parents[1] / "scripts"
sys.path[:0] = [str(HERE), str(SCRIPTS), str(SCRIPTS / "cli")]
