"""A database as the manifests set it up, with TLS by a certificate of make-site and a password: the binaries reach it,
and only by these. The database is the embedded one; what MongoDB itself makes of the manifests is not tried here."""

import subprocess
import sys
from pathlib import Path

import httpx
import pymongo
import pytest
from harness import BUILD, clean_environment, free_port, last_lines
from manifests import KUBERNETES
from tools import run
from waiting import wait_until

PASSWORD = "made-for-this-test"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The directory of a site's secrets, with certificate and key apart as this database wants them."""
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
    """A database that listens."""
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
    stop(child)
    child = start(port, secrets, directory, "--auth")
    yield port
    stop(child)


def uri(port, secrets, password=PASSWORD, more=""):
    return (
        f"mongodb://broadway:{password}@localhost:{port}/"
        # Direct, since this database calls itself by a number, for which no certificate of the manifests is good.
        f"?directConnection=true&authSource=broadway&tls=true&tlsCAFile={secrets / 'ca.crt'}{more}"
    )


def is_ready_with(uri_of_database, directory):
    """Does a scheduler with this URI get ready?"""
    port, path = free_port(), directory / "mongodb-uri"
    path.write_text(uri_of_database, encoding="utf-8")
    log = directory / "scheduler.log"
    with open(log, "wb") as output:
        scheduler = subprocess.Popen(
            [BUILD / "broadway-scheduler", f"--mongodb-uri-file={path}", f"--metrics-port={port}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(),
        )
    try:
        wait_until(lambda: status(port) == 200, 8, "the scheduler is ready")
        return True
    except AssertionError:
        assert PASSWORD not in last_lines(log, 1000)
        return False
    finally:
        stop(scheduler)


def status(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=2).status_code
    except httpx.TransportError:
        return None


def test_a_scheduler_gets_ready_by_tls_and_its_password(database, secrets, tmp_path):
    assert is_ready_with(uri(database, secrets), tmp_path)


def test_a_wrong_password_is_no_way_in(database, secrets, tmp_path):
    assert not is_ready_with(uri(database, secrets, password="another-password"), tmp_path)


def test_another_authority_is_not_believed(database, secrets, tmp_path):
    assert run([KUBERNETES / "make-site", tmp_path / "other"])[0] == 0
    assert not is_ready_with(uri(database, tmp_path / "other/secrets"), tmp_path)
