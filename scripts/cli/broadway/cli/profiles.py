"""Where servers and tokens come from: flags, the environment, and the profiles of the config file."""

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from broadway.cli.files import read_text
from broadway.cli.outcome import Problem
from broadway.wire import DEFAULT_SERVER

TEXTS = ("course", "token_file", "keyring", "cluster_token_file", "cluster_keyring", "ca_file")
COMMANDS = ("token_command", "cluster_token_command")
COMMAND_TIMEOUT_S = 60


@dataclass(frozen=True)
class Secret:
    """Where a token is: a value, or a place that is only read when the token is needed."""

    value: str | None = None
    file: str | None = None
    command: tuple[str, ...] = ()
    keyring: str | None = None

    def read(self) -> str | None:
        """The token; None if there is none. Raises Problem."""
        if self.value is not None:
            return self.value
        if self.file is not None:
            return _not_empty(read_text(Path(self.file).expanduser()).strip(), self.file)
        if self.command:
            return _not_empty(_run(self.command), shlex.join(self.command[:1]))
        return None if self.keyring is None else _from_keyring(self.keyring)


@dataclass(frozen=True)
class Settings:
    """Where to send requests, and with which tokens."""

    servers: tuple[str, ...] = (DEFAULT_SERVER,)
    course: str | None = None
    token: Secret = Secret()
    cluster_token: Secret = Secret()
    ca_file: str | None = None


def config_path() -> Path:
    """The config file: broadway/config.toml in XDG_CONFIG_HOME, which is ~/.config by default."""
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(home).expanduser() / "broadway" / "config.toml"


def load_profiles() -> tuple[dict[str, Settings], str | None]:
    """The profiles by name, and the name of the default one, if any. Raises Problem."""
    path = config_path()
    if not path.exists():
        return {}, None
    document = _parse(path)
    profiles, default = document.pop("profiles", {}), document.pop("default", None)
    if document:
        raise Problem(f"{path}: unknown key {min(document)!r}: it has only 'default' and [profiles.NAME]")
    if not isinstance(profiles, dict) or not isinstance(default, str | None):
        raise Problem(f"{path}: 'default' must be a name and 'profiles' a table")
    return {name: _profile(path, name, table) for name, table in profiles.items()}, default


def _parse(path: Path) -> dict[str, Any]:
    try:
        import tomllib  # noqa: PLC0415  (since Python 3.11; without a config file an earlier one will do)
    except ImportError:
        raise Problem(f"{path}: a config file needs Python 3.11 or later") from None
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise Problem(f"{path}: is not TOML: {error}") from None


def _profile(path: Path, name: str, table: Any) -> Settings:
    what = f"{path}, profile {name!r}"
    if not isinstance(table, dict):
        raise Problem(f"{what}: must be a table [profiles.{name}]")
    for key, value in table.items():
        if key not in ("servers", *TEXTS, *COMMANDS):
            raise Problem(f"{what}: unknown key {key!r}: known are servers, {', '.join((*TEXTS, *COMMANDS))}")
        is_list = isinstance(value, list) and value and all(isinstance(item, str) for item in value)
        if not isinstance(value, str) and not (is_list and key in ("servers", *COMMANDS)):
            raise Problem(f"{what}: {key} must be a text{'' if key in TEXTS else ' or a list of texts'}")
    servers = table.get("servers", DEFAULT_SERVER)
    return Settings(
        servers=(servers,) if isinstance(servers, str) else tuple(servers),
        course=table.get("course"),
        token=Secret(None, table.get("token_file"), _command(table.get("token_command", [])), table.get("keyring")),
        cluster_token=Secret(
            None,
            table.get("cluster_token_file"),
            _command(table.get("cluster_token_command", [])),
            table.get("cluster_keyring"),
        ),
        ca_file=table.get("ca_file"),
    )


def _command(value: str | list[str]) -> tuple[str, ...]:
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(value)


def resolve(
    servers: Sequence[str], profile: str | None, course: str | None, token: Secret, cluster_token: Secret
) -> Settings:
    """The settings by flags, then the environment, then a profile. A profile's tokens are never sent to a server that
    the profile does not name, and a profile that a flag names is used without the environment. Raises Problem."""
    environment = {} if profile is not None else os.environ
    chosen = _chosen_profile(profile, bool(servers) or bool(environment.get("BROADWAY_URL")))
    settings = Settings() if chosen is None else chosen
    if urls := environment.get("BROADWAY_URL", "").replace(",", " ").split():
        settings = replace(settings, servers=tuple(urls))
    if servers:
        settings = replace(settings, servers=tuple(servers))
    if name := course or environment.get("BROADWAY_COURSE"):
        settings = replace(settings, course=name)
    settings = replace(settings, token=_first(token, environment.get("BROADWAY_TOKEN"), settings.token))
    given = environment.get("BROADWAY_CLUSTER_TOKEN")
    return replace(settings, cluster_token=_first(cluster_token, given, settings.cluster_token))


def _chosen_profile(name: str | None, has_servers: bool) -> Settings | None:
    if name is not None and has_servers:
        raise Problem("--profile and --server can't be given together: a profile has servers of its own")
    if name is None and has_servers:
        return None
    profiles, default = load_profiles()
    name = name or os.environ.get("BROADWAY_PROFILE") or default
    if name is None:
        return None
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise Problem(f"there is no profile {name!r} in {config_path()}: it has {known}")
    return profiles[name]


def _first(flag: Secret, environment: str | None, profile: Secret) -> Secret:
    if flag != Secret():
        return flag
    return Secret(environment) if environment else profile


def _not_empty(token: str, where: str) -> str:
    if not token:
        raise Problem(f"there is no token in the output of {where}: it is empty")
    return token


def _run(command: tuple[str, ...]) -> str:
    """The output of a command. Nothing that it prints gets into a message."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
    except (OSError, ValueError) as error:
        raise Problem(f"the token's command {command[0]!r} could not be run: {error.__class__.__name__}") from None
    except subprocess.TimeoutExpired:
        raise Problem(f"the token's command {command[0]!r} took longer than {COMMAND_TIMEOUT_S} s") from None
    if done.returncode != 0:
        raise Problem(f"the token's command {command[0]!r} failed with exit code {done.returncode}")
    return done.stdout.strip()


def _from_keyring(service: str) -> str:
    try:
        import keyring  # noqa: PLC0415  (optional)
    except ImportError:
        raise Problem("the package keyring is not installed: pipx inject broadway-cli keyring") from None
    try:
        token = keyring.get_password(service, "broadway")
    except Exception as error:  # any backend's own
        raise Problem(f"the keyring could not be read: {error.__class__.__name__}") from None
    if token is None:
        raise Problem(f"the keyring has no token: keyring set {shlex.quote(service)} broadway")
    return token
