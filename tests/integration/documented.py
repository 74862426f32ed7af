"""Finds the shell examples of the pages in docs/ and runs them as they stand."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from harness import ROOT, clean_environment

# Takes the place of curl: runs it, and keeps each request's method, URL, status and answer as a line of JSON.
RECORDER = """#!{python}
import json, os, subprocess, sys
form = "%{{stderr}}\\n@@%{{method}} %{{response_code}} %{{url_effective}}"
done = subprocess.run([{curl!r}, *sys.argv[1:], "-w", form], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
said, _, report = done.stderr.decode().rpartition("\\n@@")
method, status, url = report.split(" ", 2)
answer = done.stdout
for option, name in zip(sys.argv, sys.argv[1:]):
    if option == "-o" and name != "-":
        answer = open(name, "rb").read()
record = dict(method=method, status=int(status), url=url, answer=answer.decode(errors="replace"))
with open(os.environ["CURL_RECORDS"], "a", encoding="utf-8") as file:
    file.write(json.dumps(record) + "\\n")
sys.stderr.write(said)
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode)
"""


@dataclass
class Request:
    """One request of an example. `variant` is an argument that changes the answer's form, or empty."""

    method: str
    server: str
    path: str
    variant: str

    @classmethod
    def of(cls, command):
        """The request of a curl command, which follows the word."""
        method = re.search(r"(?<!\S)-X (\w+)", command)
        server, path = re.search(r"\$(\w+_URL)(/[^\"?\s]*)", command).groups()
        variant = re.search(r"\bjobs=|\bfollow=", command)
        return cls(method[1] if method else "GET", server, path, variant[0] if variant else "")

    def is_of(self, template):
        """Whether this is a request to a route, whose path has a name in braces for any segment."""
        ours, theirs = self.path.split("/"), template.split("/")
        return len(ours) == len(theirs) and all(b[:1] == "{" or a == b for a, b in zip(ours, theirs, strict=True))


@dataclass
class Example:
    """One block of shell lines on a page."""

    page: str
    line: int
    script: str

    def __str__(self):
        return f"{self.page}:{self.line}"

    @property
    def requests(self):
        """Its requests, with the variables as they stand there."""
        return [Request.of(command) for command in re.split(r"(?<![\w.])curl ", self.script)[1:]]


def examples_of(page):
    """The blocks that are labelled sh, in the order of the page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```sh\n(.*?)^```", text, re.M | re.S)
    return [Example(page, text.count("\n", 0, it.start()) + 2, it[1]) for it in found]


def run_example(example, directory, variables):
    """Runs an example in a directory with these variables and no others; returns its requests, in their order."""
    tools, records = directory / "tools", directory / "requests"
    tools.mkdir()
    recorder = tools / "curl"
    recorder.write_text(RECORDER.format(python=sys.executable, curl=shutil.which("curl")), encoding="utf-8")
    recorder.chmod(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", example.script],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environment(**variables, PATH=path, CURL_RECORDS=str(records)),
    )
    assert done.returncode == 0, f"{example}\n{example.script}{done.stdout}{done.stderr}"
    return [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
