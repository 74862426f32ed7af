"""The flags of the commands, read from --help."""

import functools
import re
import sys

from harness import BUILD, clean_environment
from manifests import ROOT
from tools import run

COMMANDS = {
    "broadway-api": [BUILD / "broadway-api"],
    "broadway-scheduler": [BUILD / "broadway-scheduler"],
    "broadway-grader": [sys.executable, ROOT / "scripts/grader"],
}


@functools.cache
def flags_of(command):
    """{"port", "port-file", ...}: all that --help lists."""
    status, said = run([*COMMANDS[command], "--help"], env=clean_environment())
    assert status == 0, said
    return set(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", said))


def flag_of(variable):
    """BROADWAY_POLL_WAIT is poll-wait."""
    return variable.removeprefix("BROADWAY_").lower().replace("_", "-")


def unknown(command, variables):
    """The variables without a flag of the command."""
    return [variable for variable in variables if flag_of(variable) not in flags_of(command)]


def unknown_arguments(command, arguments):
    """The arguments that the command doesn't know."""
    named = [argument.partition("=")[0].removeprefix("--") for argument in arguments]
    return [name for name in named if name not in flags_of(command)]
