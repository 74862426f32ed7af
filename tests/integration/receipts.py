"""Receipts for the tests: fetches them, and runs `scripts/broadway verify` on files."""

import json
import subprocess
import sys

from broadway import ROUTE
from harness import ROOT


def verify(path, *arguments):
    """(exit status, stdout, stderr) of scripts/broadway verify; no traceback, whatever the file is."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "broadway", "verify", path, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def receipts_of(api, run):
    """The answer, as text."""
    answer = api.request("GET", f"{ROUTE}/grading_run/{run}/receipts")
    assert answer.status_code == 200, answer.text
    return answer.text


class Files:
    """Files in a directory, which are verified."""

    def __init__(self, directory, api):
        self.directory = directory
        self.key = self.write("key.pem", api.request("GET", f"{ROUTE}/receipts/key").json()["pem"])

    def write(self, name, content):
        path = self.directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def holds(self, content, *arguments):
        """What verify says of content that verifies."""
        status, out, err = verify(self.write("good.json", content), "--key", self.key, *arguments)
        assert status == 0, out + err
        return out

    def fails(self, content, *arguments):
        """The sentences about content that doesn't verify."""
        status, out, err = verify(self.write("bad.json", content), "--key", self.key, *arguments)
        assert status == 1, (status, out, err)
        return out
