"""The systemd unit of the reference grader: its syntax, and that its values fit the grader's."""

import configparser
import os
import re
import shlex
import shutil
import subprocess

import pytest
from broadway_tools.grader import command
from conftest import ROOT, SCRIPTS

UNIT = ROOT / "deploy" / "grader" / "broadway-grader.service"
INSTALLED = "/opt/broadway/scripts/grader"


def read():
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text(encoding="utf-8").replace("\\\n", ""))
    return unit


def verify(path):
    """What systemd says of a unit file."""
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=60, check=False
    )
    return said.returncode, [line for line in said.stderr.splitlines() if path.name in line]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path):
    text = UNIT.read_text(encoding="utf-8")
    assert INSTALLED in text
    good, bad = tmp_path / "good.service", tmp_path / "bad.service"
    good.write_text(text.replace(INSTALLED, str(SCRIPTS / "grader")))
    assert verify(good) == (0, [])
    bad.write_text(good.read_text().replace("NoNewPrivileges=", "NoNewPrivilege="))
    assert verify(bad)[1], "an unknown key is noticed"


def test_the_command_of_the_unit_is_one_that_the_grader_takes():
    start = shlex.split(read()["Service"]["ExecStart"])
    assert start[0] == INSTALLED and os.access(SCRIPTS / "grader", os.X_OK) and start[-1] == "$GRADER_OPTIONS"
    values = {"${BROADWAY_URL}": "https://broadway.example"}
    words = [values.get(word, re.sub("%.", "/x", word)) for word in start[1:-1]]
    given = command.cli.make_context("grader", words).params
    assert given["urls"] == ("https://broadway.example",) and given["concurrency"] == "auto"
    assert given["drain_file"] is not None and given["work_dir"] is not None


def test_the_unit_waits_for_the_longest_job_and_leaves_it_alone():
    service = read()["Service"]
    assert int(service["TimeoutStopSec"]) > command.SAFE["stage_timeout"]
    assert service["KillMode"] == "mixed" and service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"
    # A stage's user other than root reads what the grader has written for it.
    assert "UMask" not in service
