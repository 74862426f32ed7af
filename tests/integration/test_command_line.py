"""The command lines of the two binaries: --help, --version, refusals at start, environment and secret files."""

import json
import re
import subprocess
from pathlib import Path

import pytest
from broadway import ROUTE, ClassicGrader
from harness import BUILD, Process, clean_environment
from waiting import PATIENCE, wait_until

BOTH = ["mongodb-uri", "mongodb-database", "internal-token", "heartbeat-interval", "log-level", "log-format"] + [
    "otlp-endpoint"
]
FLAGS = {
    "broadway-api": BOTH
    + ["bind-address", "port", "internal-bind-address", "internal-port", "internal-url", "cluster-token", "poll-wait"]
    + [
        "client-token",
        "anonymous-clients",
        "allowed-host",
        "max-body-bytes",
        "max-file-bytes",
        "max-job-bytes",
        "max-job-files-bytes",
        "max-run-bytes",
        "max-result-bytes",
        "max-log-bytes",
        "allow-privileged",
    ],
    "broadway-scheduler": BOTH + ["max-attempts", "job-timeout", "leader-lease", "metrics-port"],
}
SECRETS = {
    "broadway-api": ["mongodb-uri", "internal-token", "cluster-token", "client-token"]
    + ["second-internal-token", "second-cluster-token", "second-client-token"],
    "broadway-scheduler": ["mongodb-uri", "internal-token"],
}
BINARIES = list(FLAGS)


def run(binary, *flags, env=None):
    """(exit status, output) of a command that ends by itself."""
    done = subprocess.run(
        [str(BUILD / binary), *flags],
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
        env=clean_environment(**(env or {})),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("binary", BINARIES)
def test_help_lists_every_flag_with_its_default(binary):
    status, text = run(binary, "--help")
    assert status == 0
    for flag in FLAGS[binary]:
        assert re.search(rf"--{flag}\b", text), flag
    for secret in SECRETS[binary]:
        assert f"--{secret}-file" in text
    assert {"broadway-api": "1470", "broadway-scheduler": "1472"}[binary] in text


@pytest.mark.parametrize("binary", BINARIES)
def test_version_is_printed(binary):
    status, text = run(binary, "--version")
    assert status == 0 and re.search(r"\d+\.\d+", text)


def bad(binary, flag, *words):
    return pytest.param(binary, flag, words or (flag.partition("=")[0],), id=f"{binary[9:]} {flag}"[:60])


BAD_FLAGS = [
    bad("broadway-api", "--port=abc"),
    bad("broadway-api", "--port=0"),
    bad("broadway-api", "--port=65536"),
    bad("broadway-api", "--port=-1"),
    bad("broadway-api", "--port=80.5"),
    bad("broadway-api", "--port="),
    bad("broadway-api", "--internal-port=x"),
    bad("broadway-api", "--poll-wait=soon"),
    bad("broadway-api", "--poll-wait=-1"),
    bad("broadway-api", "--poll-wait=61"),
    bad("broadway-api", "--poll-wait=nan"),
    bad("broadway-api", "--heartbeat-interval=0"),
    bad("broadway-api", "--max-body-bytes=0"),
    bad("broadway-api", "--max-result-bytes=4MiB"),
    bad("broadway-api", "--max-log-bytes=-5"),
    bad("broadway-api", "--anonymous-clients=perhaps"),
    bad("broadway-api", "--allowed-host=http://grading.example.edu"),
    bad("broadway-api", "--allowed-host=grading:80"),
    bad("broadway-api", "--allow-privileged=yes!"),
    bad("broadway-api", "--log-level=loud"),
    bad("broadway-api", "--log-format=xml"),
    bad("broadway-api", "--bind-address=nowhere at all"),
    bad("broadway-api", "--internal-url=ftp://x"),
    bad("broadway-api", "--cluster-token="),
    bad("broadway-api", "--cluster-token-file=/nonexistent/token"),
    bad("broadway-api", "--mongodb-uri=http://127.0.0.1/"),
    bad("broadway-api", "--mongodb-database=bad/name", "mongodb-database"),
    bad("broadway-api", "--no-such-flag"),
    bad("broadway-api", "--no-such-flag=1"),
    bad("broadway-api", "stray", "stray"),
    bad("broadway-scheduler", "--max-attempts=0"),
    bad("broadway-scheduler", "--max-attempts=11"),
    bad("broadway-scheduler", "--job-timeout=0"),
    bad("broadway-scheduler", "--job-timeout=never"),
    bad("broadway-scheduler", "--leader-lease=0"),
    bad("broadway-scheduler", "--metrics-port=99999"),
    bad("broadway-scheduler", "--heartbeat-interval="),
    bad("broadway-scheduler", "--mongodb-uri=mongodb://"),
    bad("broadway-scheduler", "--cluster-token=x"),
    bad("broadway-scheduler", "--poll-wait=1"),
]


@pytest.mark.parametrize(("binary", "flag", "words"), BAD_FLAGS)
def test_a_wrong_flag_stops_the_start_with_a_sentence(binary, flag, words):
    status, text = run(binary, flag)
    assert status > 0, f"must end with an exit status, not {status}"
    for word in words:
        assert word in text, text
    assert len(text.strip().splitlines()) <= 3


@pytest.mark.parametrize("binary", BINARIES)
def test_a_wrong_value_in_the_environment_is_refused_too(binary):
    status, text = run(binary, env={"BROADWAY_HEARTBEAT_INTERVAL": "often"})
    assert status == 2 and "BROADWAY_HEARTBEAT_INTERVAL: " in text and "often" in text


@pytest.mark.parametrize("binary", BINARIES)
def test_a_flag_without_its_value_is_refused(binary):
    status, text = run(binary, "--heartbeat-interval")
    assert status > 0 and "heartbeat-interval" in text


def test_a_secret_and_its_file_together_are_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("canary-a\n")
    status, text = run("broadway-api", "--cluster-token=canary-b", f"--cluster-token-file={path}")
    assert status > 0 and "cluster-token" in text and "canary" not in text


@pytest.mark.parametrize("option", ["tlsInsecure=true", "tlsAllowInvalidCertificates=true", "retrywrits=true"])
@pytest.mark.parametrize("binary", ["broadway-api", "broadway-scheduler"])
def test_a_weakening_or_unknown_option_of_the_uri_is_refused_by_name(binary, option):
    status, text = run(binary, f"--mongodb-uri=mongodb://u:canary-pass@127.0.0.1:1/?{option}")
    assert status > 0 and "--mongodb-uri: " in text
    assert option.partition("=")[0].lower() in text.lower() and "canary-pass" not in text


@pytest.mark.parametrize("option", ["tlsCAFile", "tlsCertificateKeyFile"])
@pytest.mark.parametrize("binary", BINARIES)
def test_a_file_without_a_certificate_is_refused_at_once(binary, option, tmp_path):
    placeholder = tmp_path / "ca.crt"
    placeholder.write_text("change-me", encoding="utf-8")
    for path, words in ((placeholder, "has no certificate"), (tmp_path / "none", "can't be read")):
        uri = f"mongodb://u:canary-pass@127.0.0.1:1/?tls=true&{option}={path}"
        status, text = run(binary, f"--mongodb-uri={uri}")
        assert status == 2 and "--mongodb-uri: " in text, text
        assert option in text and str(path) in text and words in text and "canary-pass" not in text


def test_an_occupied_port_is_refused_with_a_sentence(stack):
    port = stack.urls[0].rpartition(":")[2]
    status, text = run(
        "broadway-api",
        f"--mongodb-uri={stack.described['mongodb_uri']}",
        f"--port={port}",
        "--mongodb-database=elsewhere",
    )
    assert status > 0 and port in text


def test_flags_may_be_written_in_two_words_and_go_before_the_environment(stack, make_replica):
    replica = make_replica(
        stack, "--heartbeat-interval", "7", database="elsewhere", env={"BROADWAY_HEARTBEAT_INTERVAL": "9"}
    ).wait_ready()
    assert registered_heartbeat(replica, stack.cluster_token) == 7


def test_a_flag_may_come_from_the_environment(stack, make_replica):
    replica = make_replica(stack, database="elsewhere", env={"BROADWAY_HEARTBEAT_INTERVAL": "9"}).wait_ready()
    assert registered_heartbeat(replica, stack.cluster_token) == 9


@pytest.mark.parametrize(("interval", "told"), [("0.2", 1), ("2.5", 3), ("10", 10)])
def test_graders_get_the_heartbeat_as_a_whole_number_of_seconds(stack, make_replica, interval, told):
    replica = make_replica(stack, f"--heartbeat-interval={interval}", database="elsewhere").wait_ready()
    assert registered_heartbeat(replica, stack.cluster_token) == told


def registered_heartbeat(replica, token):
    answer = replica.api.request("GET", f"{ROUTE}/worker_register", params={"token": token})
    assert answer.status_code == 200, answer.text
    heartbeat = answer.json()["heartbeat"]
    assert type(heartbeat) is int
    return heartbeat


def test_a_secret_may_come_from_a_file_named_by_flag_or_environment(stack, make_replica, tmp_path):
    path = tmp_path / "cluster-token"
    path.write_text("canary-from-a-file\n")
    elsewhere = {"database": "elsewhere", "without": ("BROADWAY_CLUSTER_TOKEN",)}
    by_flag = make_replica(stack, f"--cluster-token-file={path}", **elsewhere)
    by_environment = make_replica(stack, env={"BROADWAY_CLUSTER_TOKEN_FILE": str(path)}, **elsewhere)
    for replica in (by_flag, by_environment):
        ClassicGrader(replica.wait_ready().url, "canary-from-a-file").close()


def test_a_cluster_token_is_made_at_the_first_start_and_printed_once(stack, make_replica):
    first = make_replica(stack, database="fresh", without=("BROADWAY_CLUSTER_TOKEN",)).wait_ready()
    words = set(re.findall(r"[A-Za-z0-9_-]{16,}", first.said()))
    tokens = [word for word in words if registers(first, word)]
    assert len(tokens) == 1, "the token is printed when it is made"
    second = make_replica(stack, database="fresh", without=("BROADWAY_CLUSTER_TOKEN",)).wait_ready()
    assert tokens[0] not in second.said()
    assert registers(second, tokens[0]), "it is kept in the database"


def registers(replica, token):
    return replica.api.answers(200, "GET", f"{ROUTE}/worker_register", params={"token": token})


@pytest.mark.parametrize(
    "password", ["canary-password", "p@canary-password", "p%40canary-password", "p?canary-password"]
)
def test_the_password_of_the_database_is_in_no_output(tmp_path, password):
    for binary in BINARIES:
        log = tmp_path / f"{binary}.log"
        uri = f"mongodb://someone:{password}@127.0.0.1:1/?replicaSet=rs0"
        process = Process(binary, f"--mongodb-uri={uri}", "--log-level=debug", log=log)
        wait_until(
            lambda process=process: process.said() or process.child.poll() is not None, 10, "it has said something"
        )
        if not set("@?") & set(password):  # these are refused at once; for others the connection is tried for a while
            wait_until(lambda process=process: "waiting for the database" in process.said(), 20, "it has tried")
        process.child.kill()
        process.child.wait()
        assert "canary-password" not in process.said()


@pytest.mark.parametrize("format_", ["text", "json"])
def test_logs_are_one_line_per_event_in_the_format_asked_for(stack, make_replica, format_):
    replica = make_replica(stack, f"--log-format={format_}", database="elsewhere").wait_ready()
    replica.api.request("GET", f"{ROUTE}/grading_job", params={"worker_id": "x\ny"})
    replica.end()
    lines = replica.said().splitlines()
    assert lines
    if format_ == "json":
        assert all(isinstance(json.loads(line), dict) for line in lines)


def test_a_process_that_is_killed_can_leave_nothing_in_shared_memory(stack, make_replica):
    """A later process with the same pid would find it, and the driver would log that in another format."""
    replica = make_replica(stack, database="elsewhere").wait_ready()
    for pid in (replica.child.pid, stack.pid("scheduler-0")):
        assert "/dev/shm" not in Path(f"/proc/{pid}/maps").read_text()
