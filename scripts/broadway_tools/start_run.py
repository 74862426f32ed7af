"""The command line of scripts/start_run: the old name of `broadway run submit`, with its flags and exit codes."""

import sys
from pathlib import Path

import click
from broadway.cli.main import guarded
from broadway.cli.outcome import FAILED, NOT_FOUND, REFUSED, UNAVAILABLE, USAGE
from broadway.cli.profiles import Secret, Settings
from broadway.cli.run_submit import carry_out
from broadway.cli.session import RETRY_S, Session
from broadway.cli.sources import from_files

from broadway_tools.options import read_token

EXIT_CODES = {NOT_FOUND: USAGE, REFUSED: USAGE, UNAVAILABLE: FAILED}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pipeline", metavar="PIPELINE.json", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--host", default="127.0.0.1", show_default=True, help="Host of the API.")
@click.option("--port", type=int, default=1470, show_default=True)
@click.option("--url", help="URL of the API, instead of --host and --port.")
@click.option("--token", help="The client token, if the API requires one [env BROADWAY_CLIENT_TOKEN].")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the client token.")
@click.option("--wait", is_flag=True, help="Follow the run to its end.")
def cli(pipeline, host, port, url, token, token_file, wait):
    """Submit a grading run, start it, and print its id; `scripts/broadway run submit` does more.

    Exit code: 0; 1 if the run or one of its jobs failed, or the server is lost; 2 if what was given is refused.
    """
    secret = Secret(read_token(token, token_file, "BROADWAY_CLIENT_TOKEN"))
    session = Session(Settings(servers=(url or f"http://{host}:{port}",), token=secret), RETRY_S)
    carry_out(session.client, from_files(pipeline, None), wait)


def main():
    """Runs the command."""
    code = guarded(cli, "start_run")
    sys.exit(EXIT_CODES.get(code, code))
