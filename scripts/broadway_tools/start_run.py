"""The command line of scripts/start_run."""

import json
import sys
from pathlib import Path

import click
from rich.console import Console

from broadway_tools.options import read_token
from broadway_tools.progress import show_progress
from broadway_tools.runs import RunClient, RunRefused, ServerLost, is_success

FAILED, REFUSED = 1, 2
# A run that is followed may outlast a restart of the whole cluster.
FOLLOW_PATIENCE_S = 300


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pipeline", metavar="PIPELINE.json", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--host", default="127.0.0.1", show_default=True, help="Of the API.")
@click.option("--port", type=int, default=1470, show_default=True)
@click.option("--url", help="Of the API, instead of --host and --port.")
@click.option("--token", help="The client token, where one is needed [env BROADWAY_CLIENT_TOKEN].")
@click.option("--token-file", type=click.Path(path_type=Path), help="A file with the client token.")
@click.option("--wait", is_flag=True, help="Follow the run to its end.")
def cli(pipeline, host, port, url, token, token_file, wait):
    """Submit a grading run, start it, and print its id.

    Exit code: 0; 1 if the run or one of its jobs failed, or the server is lost; 2 if what was given is refused.
    """
    console = Console(stderr=True)
    client = RunClient(
        url or f"http://{host}:{port}",
        read_token(token, token_file, "BROADWAY_CLIENT_TOKEN"),
        on_retry=lambda why: console.print(f"waiting: {why}", highlight=False, markup=False),
    )
    text = read_definition(pipeline)
    run_id = client.submit(text)
    client.start(run_id)
    click.echo(run_id)
    sys.stdout.flush()
    if not wait:
        console.print("started", highlight=False)
        return
    client.patience_s = FOLLOW_PATIENCE_S
    status = show_progress(client.follow(run_id), console)
    sys.exit(0 if is_success(status) else FAILED)


def read_definition(path):
    """The file's text, which must be JSON; all else is for the server to judge. Raises RunRefused."""
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError) as error:
        raise RunRefused(f"{path} is not JSON: {error}") from error
    return text


def main():
    """Runs the command."""
    try:
        cli(prog_name="start_run")
    except RunRefused as error:
        click.echo(f"start_run: {error}", err=True)
        sys.exit(REFUSED)
    except ServerLost as error:
        click.echo(f"start_run: {error}", err=True)
        sys.exit(FAILED)
