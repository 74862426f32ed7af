"""The tutorials, followed to the letter: all commands of a page in one shell, in an empty directory."""

import contextlib
import os
import re
import signal
import subprocess

import pytest
from conftest import ROOT
from processes import running_with, wait_until
from stacks import Stack

BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
END_OF_STEP = "==== end of a step ===="


def steps(page):
    """[(commands, what the page says that they print)] of the blocks `sh`, each with the blocks `text` after it."""
    found = []
    for language, text in BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8")):
        if language == "sh":
            found.append((text, []))
        else:
            found[-1][1].append(text)
    return found


def pattern(text):
    """Whole lines that follow one another. `…` stands for the rest of a line or a part of it; alone in a line, for any
    number of lines."""
    lines = ("(?:.*\n)*?" if line == "…\n" else re.escape(line).replace("…", ".*?") for line in text.splitlines(True))
    return re.compile("^" + "".join(lines), re.MULTILINE)


def follow(commands, directory, log):
    """Runs the commands in one shell that ends at the first error; returns its exit code and the output of each
    step. After the last step no process may be left."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BROADWAY_")}
    script = "set -e\n" + "".join(f"{command}\necho '{END_OF_STEP}'\n" for command in commands)
    with log.open("w") as output:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=directory,
            env={**kept, "REPOSITORY": str(ROOT), "XDG_CONFIG_HOME": str(directory)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = shell.wait(220)
            if code == 0:
                wait_until(lambda: running_with(str(directory)) == [], "everything has ended")
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing is left
                os.killpg(shell.pid, signal.SIGKILL)
            shell.wait()
    return code, log.read_text().split(f"{END_OF_STEP}\n")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("page", ["tutorial.md", "tutorial-grader.md", "tutorial-operator.md"])
def test_a_tutorial_to_the_letter(page, tmp_path):
    directory = tmp_path / "empty"
    directory.mkdir()
    followed = steps(page)
    try:
        code, outputs = follow([commands for commands, _ in followed], directory, tmp_path / "output")
    finally:
        Stack(directory / "stack")("down")
    assert code == 0, "\n".join(outputs)
    assert len(outputs) == len(followed) + 1 and sum(len(texts) for _, texts in followed) >= 5
    for (commands, texts), output in zip(followed, outputs, strict=False):
        for text in texts:
            assert pattern(text).search(output), f"{commands}\nsays\n{output}\nnot\n{text}"


@pytest.mark.parametrize(
    ("text", "output", "fits"),
    [
        ("a\nb\n", "x\na\nb\n", True),
        ("a\nb\n", "a\nx\nb\n", False),
        ("a\n", "xa\n", False),
        ("a\n", "ax\n", False),
        ("a…c…\n", "abcd\n", True),
        ("a…\n", "b\n", False),
        ("a\n…\nb\n", "a\nx\ny\nb\n", True),
        ("a\n…\nb\n", "b\na\n", False),
        ("1.5\n", "1x5\n", False),
    ],
)
def test_what_a_page_says_is_compared_line_by_line(text, output, fits):
    assert bool(pattern(text).search(output)) is fits
