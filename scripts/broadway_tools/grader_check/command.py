"""The command line of scripts/grader-check."""

import json
import secrets
import shlex
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import click

from broadway_tools.grader_check.always import ALWAYS
from broadway_tools.grader_check.api import Api
from broadway_tools.grader_check.connection_scenarios import CONNECTION_SCENARIOS, SHUTDOWN, NoGrader, play_register
from broadway_tools.grader_check.grader_process import GraderProcess
from broadway_tools.grader_check.http_server import HttpServer
from broadway_tools.grader_check.job_scenarios import JOB_SCENARIOS
from broadway_tools.grader_check.report import as_json, as_text, exit_status, make_rows
from broadway_tools.grader_check.scenario import BROKEN, Finding, Scenario, Session, Settings, Stuck
from broadway_tools.grader_check.sentences import BY_NAME
from broadway_tools.options import read_token
from broadway_tools.processes import interrupt_on_signals

REGISTER = Scenario("register", "the registration, answered 503 at first", play_register)
SCENARIOS = [REGISTER, *JOB_SCENARIOS, *CONNECTION_SCENARIOS, SHUTDOWN]
NAMES = [scenario.name for scenario in SCENARIOS]
SLOW_S = 40
BY_HAND_S = 300  # the time to start a grader by hand

POSITIVE = click.IntRange(1)
OPTIONS = (
    click.option("--host", default="127.0.0.1", help="Address to listen on."),
    click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on; 0: a free one."),
    click.option("--url", help="URL by which the grader reaches this server [from --host and --port]."),
    click.option(
        "--token", help="The cluster token [env BROADWAY_CLUSTER_TOKEN, else a random one, which is printed]."
    ),
    click.option("--token-file", type=click.Path(path_type=Path), help="A file with the cluster token."),
    click.option("--command", help="Starts the grader; {url} and {token} are replaced. No shell is involved."),
    click.option(
        "--only", type=click.Choice(NAMES), metavar="NAME", multiple=True, help="Only this scenario; may be repeated."
    ),
    click.option(
        "--skip", type=click.Choice(NAMES), metavar="NAME", multiple=True, help="Not this scenario; may be repeated."
    ),
    click.option("--slow", is_flag=True, help=f"The slow answer takes {SLOW_S} s instead of {Settings.slow_s:g}."),
    click.option("--image", default=Settings.image, help="Image of all stages. It needs sh, od and sha256sum."),
    click.option("--timeout", type=click.FloatRange(1), default=Settings.timeout_s, help="Longest wait, in seconds."),
    click.option("--heartbeat", type=POSITIVE, default=2, help="Interval that the grader is given, in seconds."),
    click.option("--retry-after", type=POSITIVE, default=Settings.retry_after_s, help="Of answers with 503."),
    click.option(
        "--json",
        "json_path",
        type=click.Path(path_type=Path, dir_okay=False, writable=True),
        help="Also writes the findings to this file.",
    ),
    click.option("--list", "is_list", is_flag=True, help="Prints the scenarios, and exits."),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def cli(**given):
    """Check a grader of the classic protocol: be its server, play scenarios, and print which sentences of
    docs/protocol.md the grader keeps.

    Without --command, start the grader with the printed URL and token. The grader must run at least one job at a time,
    and must have no other server.

    Exit code: 0 if all sentences that were seen are kept; 1 if one is broken or no grader registers; 2 if the usage is
    wrong.
    """
    options = SimpleNamespace(**given)
    if options.is_list:
        click.echo("\n".join(f"{scenario.name:<18} {scenario.title}" for scenario in SCENARIOS))
        return
    sys.exit(check(options))


for _option in OPTIONS:
    cli = _option(cli)


def check(options) -> int:
    """Plays the scenarios and prints the report. Returns the exit status. Raises UsageError."""
    session = make_session(options)
    try:
        seconds = play(session, chosen(options))
    except NoGrader:
        click.echo(f"grader-check: no grader has registered in {session.settings.register_s:g} s", err=True)
        seconds = {}
    finally:
        if session.grader:
            session.grader.stop()
        session.server.close()
    if not seconds and not session.findings:
        return 1
    rows = make_rows(session.findings)
    click.echo(as_text(rows, is_partial=bool(options.only or options.skip)))
    ends = session.grader.ends if session.grader else []
    if options.json_path:
        text = json.dumps(as_json(rows, seconds, ends), indent=2, ensure_ascii=False) + "\n"
        options.json_path.write_text(text, encoding="utf-8")
    return exit_status(rows) if seconds else 1


def make_session(options) -> Session:
    """A session whose server listens; the grader is not started. Raises UsageError."""
    given = read_token(options.token, options.token_file, "BROADWAY_CLUSTER_TOKEN")
    token = given or secrets.token_hex(16)
    api = Api(token, options.heartbeat)
    server = HttpServer(api, options.host, options.port)
    try:
        server.open()
    except OSError as error:
        raise click.UsageError(f"can't listen on {options.host}:{options.port}: {error}") from error
    url = options.url or server.url
    grader = None
    if options.command:
        grader = GraderProcess(command_words(options.command, url, token))
    else:
        shown = "of your choice" if given else token
        click.echo(f"Start the grader with the URL {url} and the cluster token {shown}", err=True)
    return Session(api, server, grader, make_settings(options), [])


def make_settings(options) -> Settings:
    """The settings of all scenarios."""
    return Settings(
        image=options.image,
        timeout_s=options.timeout,
        retry_after_s=options.retry_after,
        slow_s=SLOW_S if options.slow else Settings.slow_s,
        register_s=options.timeout + options.retry_after if options.command else BY_HAND_S,
    )


def command_words(command: str, url: str, token: str) -> list[str]:
    """The words of --command, with the URL and the token in their places. Raises UsageError."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--command: {error}") from error
    return [word.replace("{url}", url).replace("{token}", token) for word in words]


def chosen(options) -> list[Scenario]:
    """The scenarios of --only and --skip."""
    return [
        each for each in SCENARIOS if (not options.only or each.name in options.only) and each.name not in options.skip
    ]


def play(session: Session, scenarios: list[Scenario]) -> dict[str, float]:
    """Plays the scenarios one after the other. Returns their durations in seconds. Raises NoGrader, UsageError."""
    seconds = {}
    if REGISTER not in scenarios:
        session.scenario = REGISTER.name
        register(session, is_refused=False)
    for scenario in [*scenarios, ALWAYS]:
        start, before = time.monotonic(), len(session.findings)
        session.scenario = scenario.name
        try:
            register(session) if scenario is REGISTER else scenario.play(session)
        except Stuck:
            pass
        seconds[scenario.name] = time.monotonic() - start
        state = describe(session.findings[before:])
        click.echo(f"{scenario.name:<18} {state:<10} {seconds[scenario.name]:5.1f} s  {scenario.title}", err=True)
    expect_no_ends(session)
    return seconds


def describe(findings: list[Finding]) -> str:
    """The number of binding sentences that one scenario found broken."""
    broken = {each.sentence for each in findings if each.outcome == BROKEN and BY_NAME[each.sentence].is_binding}
    return f"{len(broken)} broken" if broken else "kept"


def register(session: Session, is_refused: bool = True) -> None:
    """Starts the grader, if that is asked for, and plays its registration. Raises NoGrader, UsageError."""
    try:
        play_register(session, is_refused)
    except OSError as error:
        raise click.UsageError(f"--command: {error}") from error


def expect_no_ends(session: Session) -> None:
    """Adds the advice about a started grader that ended by itself."""
    if session.grader:
        ends = session.grader.ends
        session.expect("stays-up", not ends, f"it ended {len(ends)} times by itself; exit statuses: {ends}")


def main():
    """Runs the command. A terminating signal ends the started grader too."""
    interrupt_on_signals()
    cli(prog_name="grader-check")
