"""The three commonest mistakes with every command of `broadway`: a wrong id, no token, a server that is away."""

import socket

import pytest
from commands import UNKNOWN_JOB, UNKNOWN_RUN, Server, leaves

DEFINITION = {"student_pipeline": [{"image": "x"}], "students": [{}]}
USAGE, NOT_FOUND, REFUSED, UNAVAILABLE = 2, 3, 4, 5

# Each command that asks a server: its arguments, with an id that nothing has; and the exit code of that. None: it
# takes no id.
ABOUT_RUN = {f"run {name}": ((UNKNOWN_RUN,), NOT_FOUND) for name in ("status", "watch", "cancel", "pause", "resume")}
ABOUT_RUN |= {f"run {name}": ((UNKNOWN_RUN,), NOT_FOUND) for name in ("results", "logs", "explain", "estimate")}
ABOUT_JOB = {f"job {name}": ((UNKNOWN_JOB,), NOT_FOUND) for name in ("show", "log", "cancel", "explain", "estimate")}
ABOUT_GRADER = {f"grader {name}": (("nobody",), NOT_FOUND) for name in ("status", "pause", "drain", "explain")}
COURSE_FLAG = "--course=cs225"
ASKING = {
    **ABOUT_RUN,
    **ABOUT_JOB,
    **ABOUT_GRADER,
    "run submit": (("run.json",), None),
    "run rerun": ((UNKNOWN_RUN, "--select=all"), NOT_FOUND),
    "run list": ((), None),
    "grader list": ((COURSE_FLAG,), None),
    "grader resume": (("nobody",), None),  # a resume of an unknown id is no error
    "course pause": (("--assignment=nothing", COURSE_FLAG), NOT_FOUND),
    "course resume": (("--assignment=nothing", COURSE_FLAG), None),
    "course queue": ((COURSE_FLAG, f"--job={UNKNOWN_JOB}"), NOT_FOUND),
    "course estimate": ((COURSE_FLAG,), None),
    "course share": (("nothing", "--weight=5"), NOT_FOUND),
    "course weights": ((), None),
    "grader reservations": ((), None),
    "grader reserve": (("exam", "--tag=gpu", "--course=nothing"), None),  # its sentence names the item of the list
    "grader unreserve": (("nothing",), NOT_FOUND),
    "config get": (("nothing", COURSE_FLAG), NOT_FOUND),
    "config set": (("hw1", "config.json", COURSE_FLAG), None),
    "config diff": (("nothing", "config.json", COURSE_FLAG), NOT_FOUND),
    "cluster status": ((), None),
    "cluster pause": ((), None),
    "cluster resume": ((), None),
    "cluster history": ((COURSE_FLAG, "--to=2020-01-01T00:00:00Z"), None),  # a time without samples has no rows
    "audit": ((COURSE_FLAG, f"--run={UNKNOWN_RUN}"), None),  # what is not there has no entries
}
# Those that ask no server, with a mistake of their own and its words.
OFFLINE = {
    "run plan": (("none.json",), "none.json: No such file"),
    "course list": (("--profile=x",), "No such option"),
    "config validate": (("none.json",), "none.json: No such file"),
    "verify": (("none.json",), "none.json: No such file"),
    "completion": (("tcsh",), "'tcsh' is not one of"),
}
WRONG_IDS = [name for name, (_, code) in ASKING.items() if code is not None]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("mistakes") / "stack")
    try:
        server.start()
        yield server
    finally:
        server.succeed("down")


@pytest.fixture
def run(broadway):
    """Runs a command with the files that it may name."""
    broadway.write("run.json", DEFINITION)
    broadway.write("config.json", {"student_pipeline": [{"image": "x"}]})
    return lambda name, *more: broadway(*name.split(), *ASKING[name][0], *more)


def test_every_command_has_its_row():
    assert {name for name, _ in leaves()} == ASKING.keys() | OFFLINE.keys()


@pytest.mark.parametrize("name", WRONG_IDS)
def test_a_wrong_id(run, broadway, server, name):
    broadway.use(server, course=COURSE_FLAG in ASKING[name][0])
    run(name).says(ASKING[name][1], "there is no" if COURSE_FLAG not in ASKING[name][0] else "not found")


@pytest.mark.parametrize("name", [name for name in WRONG_IDS if name.split()[0] in ("run", "job")])
def test_a_wrong_id_in_a_course(run, broadway, server, name):
    broadway.use(server, course=True)
    run(name).says(NOT_FOUND, "not found")


@pytest.mark.parametrize("name", [name for name in WRONG_IDS if name.split()[0] in ("run", "job")])
def test_an_id_that_is_none_is_not_sent(broadway, name):
    kind = name.split()[0]
    more = [] if name != "run rerun" else ["--select=all"]
    broadway(*name.split(), "7/../x", *more, "--server=http://127.0.0.1:1").says(USAGE, f"is not the id of a {kind}")


@pytest.mark.parametrize("name", ASKING)
def test_no_token(run, broadway, server, name):
    broadway.setenv("BROADWAY_URL", server.urls[0])
    done = run(name)
    if "--cluster-token-file" in done.err:
        done.says(USAGE, "--cluster-token-file", "BROADWAY_CLUSTER_TOKEN")  # it is not even tried
    else:
        done.says(REFUSED, "--token-file")


@pytest.mark.parametrize("name", ASKING)
def test_a_wrong_token(run, broadway, server, name, tmp_path):
    secret = "no-token-of-this-server"
    broadway.setenv("BROADWAY_URL", server.urls[0])
    broadway.setenv("BROADWAY_CLUSTER_TOKEN", secret)
    broadway.setenv("BROADWAY_TOKEN", secret)
    assert secret not in run(name, "--retry-for=0").says(REFUSED if name else 0)


@pytest.mark.parametrize("name", ASKING)
def test_a_server_that_is_away(run, broadway, name):
    with socket.socket() as bound:  # nobody listens there
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        broadway.setenv("BROADWAY_CLUSTER_TOKEN", "any")
        run(name, f"--server={url}", "--retry-for=0").says(UNAVAILABLE, url, "doesn't answer", "check the URL")


@pytest.mark.parametrize("name", OFFLINE)
def test_a_mistake_without_a_server(broadway, name):
    arguments, words = OFFLINE[name]
    broadway(*name.split(), *arguments).says(USAGE, words)
