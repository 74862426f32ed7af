"""A database as in the manifests, with TLS by a certificate of make-site and a password: the binaries need both to
connect. The database is the embedded one; MongoDB itself is not tested here."""

import contextlib
import subprocess
import sys
from pathlib import Path

import httpx
import pymongo
import pytest
from harness import Process, free_port, last_lines
from manifests import KUBERNETES
from tools import run
from waiting import wait_until

PASSWORD = "made-for-this-test"
BINARIES = ("broadway-api", "broadway-scheduler")
each_binary = pytest.mark.parametrize("binary", BINARIES)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The directory of a site's secrets, with certificate and key in separate files, as this database needs them."""
    site = tmp_path_factory.mktemp("tls") / "site"
    assert run([KUBERNETES / "make-site", site])[0] == 0
    directory = site / "secrets"
    certificate, _, key = (directory / "tls.pem").read_text(encoding="utf-8").partition("-----BEGIN PRIVATE KEY")
    (directory / "tls.crt").write_text(certificate, encoding="utf-8")
    (directory / "tls.key").write_text("-----BEGIN PRIVATE KEY" + key, encoding="utf-8")
    return directory


def client(port, secrets, **options):
    return pymongo.MongoClient(
        f"mongodb://localhost:{port}/?directConnection=true",
        tls=True,
        tlsCAFile=str(secrets / "ca.crt"),
        serverSelectionTimeoutMS=1000,
        **options,
    )


def start(port, secrets, directory, *flags):
    """Starts a database and waits until it listens."""
    argv = [Path(sys.prefix) / "bin/secantusd-py", "--host", "127.0.0.1", "--port", port, "--storage-path", directory]
    argv += ["--tls-cert-file", secrets / "tls.crt", "--tls-key-file", secrets / "tls.key", *flags]
    with open(directory.with_suffix(".log"), "ab") as log:
        child = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_until(lambda: answers(port, secrets), 30, "the database answers by TLS")
    return child


def answers(port, secrets):
    try:
        with client(port, secrets) as connection:
            return connection.admin.command("hello")["ok"] == 1
    except pymongo.errors.PyMongoError:
        return False


def stop(child):
    child.terminate()
    child.wait(20)


@pytest.fixture(scope="module")
def database(secrets, tmp_path_factory):
    """The port of a database with the user that the manifests make."""
    port, directory = free_port(), tmp_path_factory.mktemp("database") / "data"
    child = start(port, secrets, directory)
    with client(port, secrets) as connection:
        role = {"role": "readWrite", "db": "broadway"}
        connection["broadway"].command("createUser", "broadway", pwd=PASSWORD, roles=[role])
        connection["admin"].command("createUser", "root", pwd=PASSWORD, roles=["root"])
    stop(child)
    child = start(port, secrets, directory, "--auth")
    yield port
    stop(child)


def uri(port, secrets, password=PASSWORD, user="broadway"):
    return (
        f"mongodb://{user}:{password}@localhost:{port}/"
        # A direct connection, since this database advertises a numeric address, which is not in the manifests'
        # certificates.
        f"?directConnection=true&authSource=broadway&tls=true&tlsCAFile={secrets / 'ca.crt'}"
    )


@contextlib.contextmanager
def process(binary, uri_of_database, directory):
    """(the port that answers /readyz, the log) of a binary with this URI."""
    path, log = directory / f"{binary}-uri", directory / f"{binary}.log"
    path.write_text(uri_of_database, encoding="utf-8")
    port = free_port()
    ports = {
        "broadway-api": [f"--port={free_port()}", f"--internal-port={port}"],
        "broadway-scheduler": [f"--metrics-port={port}"],
    }
    child = Process(binary, f"--mongodb-uri-file={path}", *ports[binary], log=log)
    try:
        yield port, log
    finally:
        child.end()


def is_ready_with(binary, uri_of_database, directory):
    """True if the binary becomes ready with this URI."""
    with process(binary, uri_of_database, directory) as (port, log):
        try:
            wait_until(lambda: status(port) == 200, 8, f"{binary} is ready")
            return True
        except AssertionError:
            assert PASSWORD not in last_lines(log, 1000)
            return False


def status(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=2).status_code
    except httpx.TransportError:
        return None


@each_binary
def test_a_tier_becomes_ready_with_tls_and_its_password(binary, database, secrets, tmp_path):
    assert is_ready_with(binary, uri(database, secrets), tmp_path)


@each_binary
def test_a_wrong_password_is_refused(binary, database, secrets, tmp_path):
    assert not is_ready_with(binary, uri(database, secrets, password="another-password"), tmp_path)


def test_another_authority_is_not_trusted(database, secrets, tmp_path):
    assert run([KUBERNETES / "make-site", tmp_path / "other"])[0] == 0
    assert not is_ready_with("broadway-scheduler", uri(database, tmp_path / "other/secrets"), tmp_path)


def test_authorities_change_with_both_in_one_file(database, secrets, tmp_path):
    assert run([KUBERNETES / "make-site", tmp_path / "other"])[0] == 0
    new = (tmp_path / "other/secrets/ca.crt").read_text(encoding="utf-8")
    (tmp_path / "ca.crt").write_text((secrets / "ca.crt").read_text(encoding="utf-8") + new, encoding="utf-8")
    assert is_ready_with("broadway-scheduler", uri(database, tmp_path), tmp_path)


def test_the_password_changes_by_a_second_user_while_both_tiers_run(database, secrets, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    second = uri(database, secrets, user="broadway2", password="the-second-password")
    with client(database, secrets, username="root", password=PASSWORD, authSource="admin") as admin:
        users = admin["broadway"]
        role = {"role": "readWrite", "db": "broadway"}
        with contextlib.ExitStack() as running:
            first = [running.enter_context(process(b, uri(database, secrets), old))[0] for b in BINARIES]
            for port in first:
                wait_until(lambda port=port: status(port) == 200, 15, "the tiers are ready with the first user")
            users.command("createUser", "broadway2", pwd="the-second-password", roles=[role])
            after = [running.enter_context(process(b, second, new))[0] for b in BINARIES]
            for port in after:
                wait_until(lambda port=port: status(port) == 200, 15, "their successors are, with the second")
            assert [status(port) for port in first] == [200, 200], "nobody had to stop"
        users.command("dropUser", "broadway")
        try:
            assert not is_ready_with("broadway-scheduler", uri(database, secrets), tmp_path), "the first is refused"
            assert is_ready_with("broadway-scheduler", second, tmp_path), "the second is not"
        finally:
            users.command("createUser", "broadway", pwd=PASSWORD, roles=[role])
