"""Options that commands share, and the client that they lead to."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from broadway.cli.outcome import Problem
from broadway.cli.profiles import Secret, Settings, resolve
from broadway.client import Client

FILE = click.Path(path_type=Path, dir_okay=False)
PLACEHOLDERS = ("change-me", "change_me", "changeme", "replace-me", "replace_me", "placeholder")
RETRY_S = 15.0
# Who follows a run may outlast a restart of the whole cluster.
FOLLOW_S = 300.0
NAME = re.compile(r"[-A-Za-z0-9_]+")


class _Id(click.ParamType):
    def __init__(self, name: str, digits: int) -> None:
        self.name = name
        self._digits = digits

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not re.fullmatch(rf"[0-9a-f]{{{self._digits}}}", value):
            self.fail(f"{value!r} is not the id of a {self.name}: {self._digits} lower-case hex digits", param, ctx)
        return value


class _Name(click.ParamType):
    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not NAME.fullmatch(value):
            self.fail(f"{value!r} is not a name: letters, digits, - and _", param, ctx)
        return value


RUN, JOB, COURSE_NAME = _Id("run", 24), _Id("job", 32), _Name()


CLASSES = click.Choice(["exam", "interactive", "normal", "batch"])


class Session:
    """The settings of one command, and its client, which is made when it is first used."""

    def __init__(self, settings: Settings, retry_for: float) -> None:
        self.settings = settings
        self._retry_for = retry_for

    @functools.cached_property
    def client(self) -> Client:
        """A client with the token of a client or a course. Raises Problem."""
        return self._make(self.settings.course, self.settings.token.read(), None)

    @functools.cached_property
    def operator(self) -> Client:
        """A client with the cluster token. Raises Problem."""
        token = self.settings.cluster_token.read()
        if token is None:
            raise Problem("this needs the cluster token: give it by --cluster-token-file or BROADWAY_CLUSTER_TOKEN")
        return self._make(None, None, token)

    @property
    def course(self) -> str:
        """The course. Raises Problem without one."""
        if self.settings.course is None:
            raise Problem("this needs a course: give it by --course, BROADWAY_COURSE or a profile")
        return self.settings.course

    def _make(self, course: str | None, token: str | None, operator_token: str | None) -> Client:
        for secret in (token, operator_token):
            if secret is not None and secret.lower().startswith(PLACEHOLDERS):
                raise Problem("the token is the placeholder of a sample: make a secret of your own")
        if course is not None and not NAME.fullmatch(course):
            raise Problem(f"{course!r} is not the name of a course: letters, digits, - and _")
        try:
            return Client(
                self.settings.servers,
                token,
                course=course,
                operator_token=operator_token,
                retry_for=self._retry_for,
                on_retry=lambda why: click.echo(f"waiting: {why}", err=True),
                ca_file=self.settings.ca_file,
            )
        except ValueError as error:
            raise Problem(str(error)) from None
        except OSError as error:
            raise Problem(f"--ca-file {self.settings.ca_file}: {error.strerror or 'has no certificates'}") from None


_SERVER = click.option(
    "--server", "servers", multiple=True, metavar="URL", help="URL of a replica; repeat it to fail over."
)
_PROFILE = click.option("--profile", metavar="NAME", help="A profile of the config file.")
_COURSE = click.option(
    "--course", type=COURSE_NAME, metavar="NAME", help="A course, whose protocol and token are used."
)
_TOKEN_FILE = click.option("--token-file", type=FILE, help="A file with the token.")
_TOKEN = click.option("--token", help="The token itself: other users of this machine can see it.")
_CLUSTER_FILE = click.option("--cluster-token-file", type=FILE, help="A file with the cluster token.")
_CA_FILE = click.option("--ca-file", type=FILE, help="Certificates to trust in place of the system's.")
_RETRY = click.option(
    "--retry-for",
    type=click.FloatRange(0, 86400),
    metavar="SECONDS",
    help="How long to try again without an answer.  [15; 300 while a run is followed]",
)


def connected(
    course: bool = True, token: bool = True, operator: bool = False, retry_s: float = RETRY_S
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options of a connection to a command, which gets a Session as its first argument. `operator`: with
    those of the cluster token; `course` and `token`: with those of a course and of a client."""
    options = [_SERVER, _PROFILE]
    options += [_COURSE] if course else []
    options += [_TOKEN_FILE, _TOKEN] if token else []
    options += [_CLUSTER_FILE] if operator else []
    options += [_CA_FILE, _RETRY]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(*arguments: Any, **given: Any) -> Any:
            return command(_take_session(given, retry_s), *arguments, **given)

        for option in reversed(options):
            run = option(run)
        return run

    return decorate


def _take_session(given: dict[str, Any], default_retry_s: float) -> Session:
    """The session that the options lead to, which are taken out of `given`."""
    settings = resolve(
        given.pop("servers"),
        given.pop("profile"),
        given.pop("course", None),
        _secret(given.pop("token", None), given.pop("token_file", None)),
        _secret(None, given.pop("cluster_token_file", None)),
    )
    if ca_file := given.pop("ca_file"):
        settings = Settings(**{**vars(settings), "ca_file": str(ca_file)})
    retry_for = given.pop("retry_for")
    return Session(settings, default_retry_s if retry_for is None else retry_for)


def _secret(value: str | None, path: Path | None) -> Secret:
    return Secret(value, None if path is None else str(path))
