"""The pages about the command line and the library say what is there, and their programs work as they stand."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from broadway import Client
from broadway.cli import outcome
from commands import COURSE, COURSE_TOKEN, Server, leaves
from conftest import ROOT, SCRIPTS

DOCS = ROOT / "docs"
CODES = ("SUCCESS", "FAILED", "USAGE", "NOT_FOUND", "REFUSED", "UNAVAILABLE", "DETACHED")
# Of a connection: docs/cli.md has them once.
SHARED = {"--server", "--profile", "--course", "--token-file", "--token", "--cluster-token-file", "--ca-file"}
SHARED |= {"--retry-for"}


def page(name):
    return (DOCS / name).read_text(encoding="utf-8")


def blocks(name, language):
    """The code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)


def options_of(command):
    names = (max(param.opts, key=len) for param in command.params if param.param_type_name == "option")
    return set(names)


def documented():
    """{command: (arguments, options)} of the tables in docs/cli.md."""
    rows = re.findall(r"^\| `([a-z ]+?)((?: \[?[A-Z]+\]?)*)` \| (.*?) \|", page("cli.md"), re.MULTILINE)
    return {name: (arguments.split(), set(re.findall(r"--[a-z-]+", options))) for name, arguments, options in rows}


def test_every_command_has_its_row_with_all_its_options():
    expected = {}
    for name, command in leaves():
        arguments = [param for param in command.params if param.param_type_name == "argument"]
        shown = [param.name.upper() if param.required else f"[{param.name.upper()}]" for param in arguments]
        own = options_of(command) - SHARED - {"--help"}
        expected[name] = (shown, own)
    assert documented() == expected


def test_every_shared_option_and_exit_code_is_described():
    text = page("cli.md")
    used = set().union(*(options_of(command) for _, command in leaves()))
    for option in SHARED:
        assert option in used and f"| `{option} " in text, option
    for code in (getattr(outcome, name) for name in CODES):
        assert re.search(rf"^\| {code} \|", text, re.MULTILINE), code


def test_every_method_is_on_the_page():
    methods = {name for name in vars(Client) if not name.startswith("_")} - {"send", "stream", "close"}
    table = page("front-end.md").partition("## The library")[2]
    assert set(re.findall(r"`([a-z_]+)`", table)) - {"status", "asyncio"} == methods - {"status"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("docs") / "stack")
    try:
        server.start()
        yield server
    finally:
        server.succeed("down")


@pytest.fixture
def start_program(tmp_path):
    """Starts a program of a page; it ends with the test."""
    started = []

    def start(text, *arguments, **environment):
        path = tmp_path / f"program-{len(started)}.py"
        path.write_text(text)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BROADWAY_")}
        env = {**kept, "PYTHONPATH": str(SCRIPTS / "cli"), **environment}
        argv = [sys.executable, str(path), *arguments]
        started.append(subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def test_the_programs_of_the_pages_work_together(server, start_program):
    [grader], [front_end] = blocks("write-a-grader.md", "python"), blocks("front-end.md", "python")
    url = server.urls[0]
    start_program(grader, BROADWAY_URL=url, BROADWAY_TOKEN=server.cluster_token)
    student = start_program(front_end, "ada", BROADWAY_URL=url, BROADWAY_TOKEN="of-the-clients")
    out, err = student.communicate(timeout=60)
    # That grader reports no scores: scripts/grader reads them from results.json.
    assert student.returncode == 0 and out.startswith("ada: "), out + err


def test_the_program_of_a_web_page_with_a_course(server, start_program):
    [front_end] = blocks("front-end.md", "python")
    stage = {"image": "any", "entrypoint": ["sh", "-c", 'echo \'{"score": 3, "max_score": 4}\' >results.json']}
    with Client(server.urls, COURSE_TOKEN, course=COURSE) as client:
        client.set_config("hw1", {"student_pipeline": [stage]})
    argv = [SCRIPTS / "grader", "--runner=process", "--protocol=course-http", f"--url={server.urls[0]}"]
    argv += [f"--token-file={server.directory / 'cluster-token'}"]
    grader = subprocess.Popen([str(word) for word in argv], stderr=subprocess.DEVNULL)
    try:
        student = start_program(
            front_end,
            "grace",
            BROADWAY_URL=server.urls[0],
            BROADWAY_TOKEN=COURSE_TOKEN,
            BROADWAY_COURSE=COURSE,
            ASSIGNMENT="hw1",
        )
        out, err = student.communicate(timeout=60)
        assert student.returncode == 0 and out.startswith("grace: 3 of 4\n"), out + err
    finally:
        grader.send_signal(signal.SIGTERM)
        grader.wait(30)


def test_the_package_installs_as_a_wheel(tmp_path):
    shutil.copytree(SCRIPTS / "cli", tmp_path / "cli", ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path / "target"
    install = ["-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation", "--target", target]
    subprocess.run([sys.executable, *map(str, install), str(tmp_path / "cli")], check=True, timeout=110)
    command = target / "bin" / "broadway"
    done = subprocess.run(
        [sys.executable, command, "--help"],
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "Drive a Broadway" in done.stdout, done.stderr
    names = {path.relative_to(target / "broadway") for path in (target / "broadway").rglob("*.py")}
    assert names == {
        path.relative_to(SCRIPTS / "cli/broadway") for path in Path(SCRIPTS / "cli/broadway").rglob("*.py")
    }
