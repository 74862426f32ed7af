"""The command line of `broadway`."""

import sys

import click
from click.shell_completion import get_completion_class

from broadway.cli.course import config, course
from broadway.cli.job import job
from broadway.cli.operate import audit, cluster, grader
from broadway.cli.outcome import DETACHED, FAILED, NOT_FOUND, REFUSED, UNAVAILABLE, USAGE, Problem
from broadway.cli.run import run
from broadway.cli.verify import verify
from broadway.errors import BroadwayError, NotFound, Refused

SHELLS = ("bash", "zsh", "fish")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Drive a Broadway: submit grading runs, follow them, read what came of them.

    Servers and tokens come from flags, the environment (BROADWAY_URL, BROADWAY_TOKEN, BROADWAY_CLUSTER_TOKEN,
    BROADWAY_COURSE, BROADWAY_PROFILE) or a profile in ~/.config/broadway/config.toml.

    Exit codes: 0 all passed, 1 some failed, 2 usage, 3 not found, 4 refused, 5 unavailable, 130 interrupted or
    detached.
    """


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(broadway completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise Problem(f"there is no completion for {shell}")
    click.echo(kind(cli, {}, "broadway", "_BROADWAY_COMPLETE").source())


for _command in (run, job, course, grader, config, cluster, audit, verify, completion):
    cli.add_command(_command)


def guarded(command: click.Command, name: str, arguments: list[str] | None = None) -> int:
    """Runs a command; returns its exit code. Each error is one sentence on stderr."""
    try:
        command(args=arguments, prog_name=name, standalone_mode=False)
        return 0
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return USAGE
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx is not None else name
        return _say(name, f"{error.format_message().rstrip('.')}: see {path} --help", USAGE)
    except click.ClickException as error:
        return _say(name, error.format_message(), USAGE)
    except Problem as error:
        return _say(name, str(error), error.code)
    except BroadwayError as error:
        kinds = ((NotFound, NOT_FOUND), (Refused, REFUSED), (BroadwayError, UNAVAILABLE))
        return _say(name, str(error), next(code for kind, code in kinds if isinstance(error, kind)))
    except (KeyboardInterrupt, click.Abort):
        return _say(name, "interrupted", DETACHED)
    except BrokenPipeError:
        sys.stdout = None  # nothing more is flushed at the end
        return FAILED


def _say(name: str, sentence: str, code: int) -> int:
    shown = "".join(letter if letter.isprintable() else " " for letter in sentence)
    click.echo(f"{name}: {shown}", err=True)
    return code


def main() -> None:
    """Runs the command."""
    sys.exit(guarded(cli, "broadway"))
