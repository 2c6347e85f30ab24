"""What can be typed. Each command is a few lines: the work is in the module it imports."""

# In the texts below \b keeps the lines of a paragraph as they are.

from pathlib import Path
from typing import Annotated

import typer

from worker.cli import job_commands, web_commands
from worker.cli.arguments import (
    AsWrittenOption,
    ConnectorOption,
    FileArgument,
    FirstOption,
    IfPresentOption,
    LookFirstOption,
    SkipInvalidOption,
    YesOption,
)
from worker.domain.options import IfPresent

app = typer.Typer(
    help="Install Cyclr connectors into many customer accounts: never twice, never lost, one true result for every row.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would show secrets
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Begin with:
  cyclr-bulk demo                           see it work, with nothing set up
  cyclr-bulk template NAME > accounts.csv   a file to fill
  cyclr-bulk check accounts.csv             what is wrong with it, if anything
  cyclr-bulk run accounts.csv --first 5     the first rows, to begin with

Settings come from the environment or from .env in the current folder: CYCLR_API_URL, CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET are needed.""",
)

DEMO_EXAMPLES = """\b
Example:
  cyclr-bulk demo --accounts 2000"""

CHECK_EXAMPLES = """\b
Examples:
  cyclr-bulk check accounts.csv
  cyclr-bulk check accounts.csv --connector Mailchimp
  cyclr-bulk check accounts.csv --as-written account_id

\b
Exit codes:
  0  it can run
  2  the file or a setting is wrong, or Cyclr cannot be asked"""

RUN_EXAMPLES = """\b
Examples:
  cyclr-bulk run accounts.csv --first 5
  cyclr-bulk run accounts.csv --connector Mailchimp --yes
  cyclr-bulk run accounts.csv --as-written account_id
  cyclr-bulk run accounts.results.csv     the rows that failed, once more

\b
Exit codes:
  0  all rows are installed; some may wait for the customer's authorisation
  1  some rows failed or were refused
  2  the file, a setting or the usage is wrong: nothing was installed
  3  stopped before the end, or declined; run it again to go on"""

CONNECTORS_EXAMPLES = """\b
Examples:
  cyclr-bulk connectors mail
  cyclr-bulk connectors --json > catalogue.json"""

TEMPLATE_EXAMPLES = """\b
Example:
  cyclr-bulk template Mailchimp > accounts.csv"""

SIMULATOR_EXAMPLES = """\b
Example:
  cyclr-bulk simulator --port 8765 --sample 100"""


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        from worker.cli.exits import tell

        tell(f"cyclr-bulk {version('cyclr-bulk')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    pass


@app.command(short_help="Watch the main job against a simulated Cyclr.", epilog=DEMO_EXAMPLES)
def demo(
    accounts: Annotated[
        int,
        typer.Option(min=1, max=100_000, metavar="N", help="How many accounts the sample file holds."),
    ] = 500,
) -> None:
    """Watch the main job run against a simulated Cyclr: nothing to set up, nothing real is touched."""
    from worker.cli.demo import run_demo

    run_demo(accounts)


@app.command(short_help="Say all that is wrong with a file. Changes nothing.", epilog=CHECK_EXAMPLES)
def check(
    file: FileArgument,
    connector: ConnectorOption = None,
    look_first: Annotated[
        bool, typer.Option("--look-first", help="Count with a look before every install.")
    ] = False,
    as_written: AsWrittenOption = None,
) -> None:
    """Read FILE, ask Cyclr about its connectors and accounts, and say all that is wrong. Changes nothing."""
    from worker.cli.check import check_command
    from worker.jobs.options import RunOptions

    options = RunOptions(connector=connector, look_first=look_first, as_written=frozenset(as_written or ()))
    check_command(file, options)


@app.command(short_help="Install what a file asks for.", epilog=RUN_EXAMPLES)
def run(
    file: FileArgument,
    connector: ConnectorOption = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.csv",
            help="Where the result file goes. An earlier result file there is replaced. Default: beside FILE,"
            " named NAME.results.csv.",
        ),
    ] = None,
    first: FirstOption = None,
    skip_invalid: SkipInvalidOption = False,
    look_first: LookFirstOption = False,
    if_present: IfPresentOption = IfPresent.INSTALL,
    as_written: AsWrittenOption = None,
    yes: YesOption = False,
) -> None:
    """Install what FILE asks for, into the instance named by CYCLR_API_URL, and write a result for every row.

    Run it again after any interruption: it goes on where it was.
    """
    from worker.cli.run import run_command
    from worker.jobs.options import RunOptions

    options = RunOptions(
        connector=connector,
        skip_invalid=skip_invalid,
        look_first=look_first,
        if_present=if_present,
        first=first,
        as_written=frozenset(as_written or ()),
    )
    run_command(file, options, results, is_sure=yes)


@app.command(short_help="List Cyclr's catalogue.", epilog=CONNECTORS_EXAMPLES)
def connectors(
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="Part of a name.", show_default=False)
    ] = None,
    account: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The account to ask for. Default: any.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array, for programs.")] = False,
) -> None:
    """List Cyclr's catalogue: ids, names, versions, methods and account properties."""
    from worker.cli.catalogue import connectors_command

    connectors_command(query, account, as_json=as_json)


@app.command(short_help="Write a CSV ready to fill for one connector.", epilog=TEMPLATE_EXAMPLES)
def template(
    connector: Annotated[str, typer.Argument(metavar="CONNECTOR", help="Name or id.", show_default=False)],
    account: Annotated[
        str | None,
        typer.Option(metavar="ID", help="The account to ask for. Default: any.", show_default=False),
    ] = None,
) -> None:
    """Write a CSV ready to fill for one connector, with an example line, to stdout."""
    from worker.cli.catalogue import template_command

    template_command(connector, account)


@app.command(short_help="Run a stand-in for Cyclr on this machine.", epilog=SIMULATOR_EXAMPLES)
def simulator(
    port: Annotated[int, typer.Option(min=0, max=65_535, metavar="P", help="0: any free one.")] = 8765,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Where it listens. It has no password: let nobody else reach it."
        ),
    ] = "127.0.0.1",
    sample: Annotated[
        int,
        typer.Option(
            min=0, max=100_000, metavar="N", help="Begin with the demo's world of so many accounts."
        ),
    ] = 0,
) -> None:
    """Run a stand-in for Cyclr on this machine, in memory, until Ctrl-C."""
    from worker.cli.simulator import simulator_command

    simulator_command(host, port, sample)


app.add_typer(job_commands.app)
app.add_typer(web_commands.app)
