"""What can be typed. Each command is a few lines: the work is in the module it imports."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Install Cyclr connectors into many customer accounts: never twice, never lost, one true result for every row.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would show secrets
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A CSV with one row per account.", show_default=False)
]
ConnectorOption = Annotated[
    str | None,
    typer.Option("--connector", metavar="NAME", help="Name or id of the connector, for all rows."),
]


class IfPresent(StrEnum):
    INSTALL = "install"
    SKIP = "skip"


@app.command(epilog="Example: cyclr-bulk demo --accounts 2000")
def demo(
    accounts: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many accounts the sample file holds.")
    ] = 500,
) -> None:
    """Watch the main job run against a simulated Cyclr: nothing to set up, nothing real is touched."""
    from worker.cli.demo import run_demo

    run_demo(accounts)


@app.command(epilog="Example: cyclr-bulk check accounts.csv --connector Mailchimp")
def check(
    file: FileArgument,
    connector: ConnectorOption = None,
    look_first: Annotated[
        bool, typer.Option("--look-first", help="Count with a look before every install.")
    ] = False,
) -> None:
    """Read FILE, ask Cyclr about its connectors and accounts, and say all that is wrong. Changes nothing.

    Exit code 0: it can run. 2: it cannot.
    """
    from worker.cli.check import check_command
    from worker.jobs.options import RunOptions

    check_command(file, RunOptions(connector=connector, look_first=look_first))


@app.command(
    epilog="Example: cyclr-bulk run accounts.csv --first 5    Exit codes: 0 all installed, 1 some rows failed or were"
    " refused, 2 file, settings or usage wrong and nothing installed, 3 stopped before the end or declined."
)
def run(
    file: FileArgument,
    connector: ConnectorOption = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT.csv", help="Where the result file goes. Default: FILE.results.csv beside FILE."
        ),
    ] = None,
    first: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Install N rows, then pause; run again to go on.")
    ] = None,
    skip_invalid: Annotated[
        bool,
        typer.Option(
            "--skip-invalid", help="Install the good rows; the result file holds the others' problems."
        ),
    ] = False,
    look_first: Annotated[
        bool,
        typer.Option("--look-first", help="Look into each account before the install. Doubles the calls."),
    ] = False,
    if_present: Annotated[
        IfPresent,
        typer.Option(
            help="What to do where the same connector is there under another Name. `skip` looks first."
        ),
    ] = IfPresent.INSTALL,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
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
        skip_if_present=if_present is IfPresent.SKIP,
        first=first,
    )
    run_command(file, options, results, is_sure=yes)


@app.command(epilog="Example: cyclr-bulk connectors mail --json")
def connectors(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="Part of a name.", show_default=False)
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


@app.command(epilog="Example: cyclr-bulk template Mailchimp > accounts.csv")
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


@app.command(epilog="Example: cyclr-bulk simulator --port 8765 --sample 100")
def simulator(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="On 127.0.0.1. 0: any free one.")] = 8765,
    sample: Annotated[
        int, typer.Option(min=0, max=100_000, help="Begin with the demo's world of so many accounts.")
    ] = 0,
) -> None:
    """Run a stand-in for Cyclr on this machine, in memory, until Ctrl-C."""
    from worker.cli.simulator import simulator_command

    simulator_command(port, sample)
