"""Options that several commands share."""

import os

import click


def read_token(value, path, variable):
    """The token from the option, the file or the environment, in this order; None if none of them has it."""
    if value is not None:
        return value
    if path is None:
        return os.environ.get(variable)
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise click.UsageError(f"--token-file: {error}") from error
