"""Where `broadway` takes servers and tokens from; the server is a fake that notes the token."""

import json
import sys

import pytest
from fake_api import FakeApi

RUN = "6b05c5d2164163397800c81b"


@pytest.fixture
def second():
    with FakeApi() as fake:
        yield fake


@pytest.fixture
def status(broadway, api, second):
    """A function that runs `run status` of a run that both servers have; returns the tokens that each has seen."""
    for fake in (api, second):
        fake.runs[RUN] = {"state": "finished", "statuses": [("finished", {"succeeded": 1})]}

    def run(*arguments):
        for fake in (api, second):
            fake.authorizations.clear()
        broadway("run", "status", RUN, *arguments).succeed()
        return [sorted(map(str, fake.authorizations)) for fake in (api, second)]

    return run


def profiles(broadway, text):
    (broadway.directory / "broadway").mkdir(exist_ok=True)
    return broadway.write("broadway/config.toml", text)


@pytest.fixture
def two(broadway, api, second):
    """Two profiles, of which `one` is the default."""
    broadway.write("token", "in-a-file\n")
    profiles(
        broadway,
        f"""
        default = "one"
        [profiles.one]
        servers = "{api.url}"
        token_file = "token"
        [profiles.two]
        servers = ["{second.url}"]
        token_command = ["echo", "of-a-command"]
        """,
    )


def test_the_default_profile_is_used(status, two):
    assert status() == [["Bearer in-a-file"], []]


def test_another_profile_by_flag_and_by_environment(status, two, broadway):
    assert status("--profile=two") == [[], ["Bearer of-a-command"]]
    broadway.setenv("BROADWAY_PROFILE", "two")
    assert status() == [[], ["Bearer of-a-command"]]


def test_flags_win_over_the_environment_and_that_over_the_profile(status, two, broadway):
    broadway.setenv("BROADWAY_TOKEN", "in-env")
    assert status() == [["Bearer in-env"], []]
    broadway.write("other", "in-another-file")
    assert status("--token-file=other") == [["Bearer in-another-file"], []]
    assert status("--token=given") == [["Bearer given"], []]


def test_a_profiles_token_goes_to_no_other_server(status, two, second, broadway):
    assert status(f"--server={second.url}") == [[], ["None"]]
    broadway.setenv("BROADWAY_URL", second.url)
    assert status() == [[], ["None"]]


def test_a_profile_that_is_named_is_used_without_the_environment(status, two, api, broadway):
    broadway.setenv("BROADWAY_URL", api.url)
    broadway.setenv("BROADWAY_TOKEN", "in-env")
    assert status("--profile=two") == [[], ["Bearer of-a-command"]]


def test_another_server_is_tried(status, two, second):
    assert status("--server=http://127.0.0.1:1", f"--server={second.url}") == [[], ["None"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "is not TOML"),
        ("[profiles.one]\nserver = 'x'", "unknown key 'server'"),
        ("[profiles.one]\ncourse = 1", "course must be a text"),
        ("[profiles.one]\nservers = 'ftp://x'", "is not the URL of a server"),
        ("[profiles.one]\nservers = 'http://a:canary@x'", "can't have a user"),
        ("[profiles.one]\ntoken_file = 'nowhere'", "nowhere: No such file"),
        ("[profiles.one]\ntoken_file = '/dev/null'", "it is empty"),
        ("[profiles.one]\ntoken_command = 'false'", "'false' failed with exit code 1"),
        ("[profiles.one]\ntoken_command = 'no-such-program canary'", "could not be run"),
        ("[profiles.one]\ntoken_command = 'echo canary two'", "white space"),
        ("[profiles.one]\ncourse = '../x'", "is not the name of a course"),
        ("[profiles.one]\nca_file = 'nowhere'", "--ca-file nowhere: No such file"),
        ("[profiles.two]\n", "there is no profile 'one'"),
    ],
)
def test_a_mistake_in_the_config_file_is_one_sentence(broadway, text, words):
    profiles(broadway, f"default = 'one'\n{text}" if "profiles" in text else text)
    assert "canary" not in broadway("run", "status", RUN, "--retry-for=0").says(2, words)


class Keyring:
    """The package keyring, with one token."""

    @staticmethod
    def get_password(service, user):
        return "of-the-keyring" if (service, user) == ("lab", "broadway") else None


def test_a_token_of_the_keyring(status, broadway, api, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", Keyring)
    profiles(broadway, f"default = 'a'\n[profiles.a]\nservers = '{api.url}'\nkeyring = 'lab'")
    assert status() == [["Bearer of-the-keyring"], []]
    profiles(broadway, "default = 'a'\n[profiles.a]\nkeyring = 'other'")
    broadway("run", "status", RUN).says(2, "keyring set other broadway")
    monkeypatch.setitem(sys.modules, "keyring", None)
    broadway("run", "status", RUN).says(2, "pipx inject broadway-cli keyring")


def test_the_placeholder_of_a_sample_is_no_token(broadway, api):
    broadway("run", "status", RUN, f"--server={api.url}", "--token=change-me").says(2, "placeholder")


def test_the_courses_of_the_profiles(broadway):
    profiles(broadway, "default = 'b'\n[profiles.a]\n[profiles.b]\ncourse = 'cs225'\nservers = 'http://x'")
    [row] = json.loads(broadway("course", "list", "--json").succeed())
    assert row == {"course": "cs225", "profile": "b", "servers": ["http://x"], "default": True}
    assert broadway("course", "list", "--output=csv").out.splitlines()[1] == "cs225,b,http://x,yes"
