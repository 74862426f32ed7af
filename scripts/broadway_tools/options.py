"""Options that several commands share."""

import os

import click

PLACEHOLDERS = ("change-me", "change_me", "changeme", "replace-me", "replace_me", "placeholder")


def read_token(value, path, variable):
    """The token from the option, the file or the environment, in this order; None if none of them has it."""
    token = find_token(value, path, variable)
    if token is not None and token.lower().startswith(PLACEHOLDERS):
        raise click.UsageError("the token is the placeholder of a sample: make a secret of your own")
    return token


def find_token(value, path, variable):
    if value is not None:
        return value
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise click.UsageError(f"--token-file: {error}") from error
