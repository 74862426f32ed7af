"""Runs a command of this package in build/venv, which is created first if it is missing.

Used by the commands in scripts/ before anything else: standard library only, any Python 3.
"""

import os
import subprocess
import sys

SCRIPTS = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
ROOT = os.path.dirname(SCRIPTS)
# Has the package `broadway`.
CLI = os.path.join(SCRIPTS, "cli")
VENV = os.path.join(ROOT, "build", "venv")


def enter_environment():
    """Returns inside build/venv; elsewhere, restarts the same command with the interpreter of build/venv."""
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV):
        sys.path.insert(0, CLI)
        return
    python = os.path.join(VENV, "bin", "python")
    if not os.path.exists(os.path.join(VENV, "stamp")):
        make_environment()
    os.execv(python, [python, os.path.realpath(sys.argv[0])] + sys.argv[1:])


def make_environment():
    """The output of scripts/install goes to stderr, since stdout belongs to the command."""
    install = [os.path.join(SCRIPTS, "install"), "--python"]
    if subprocess.call(install, stdout=sys.stderr.fileno()) != 0:
        sys.exit(f"{install[0]} could not make the Python environment")
