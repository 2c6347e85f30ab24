"""What can be typed. Each command is declared beside its code, which is loaded when it is called."""

import gc
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

# The module of each command, and what it does in a line, so that `--help` need not load any of them.
COMMANDS = {
    "demo": ("demo", "Watch the main job against a simulated Cyclr."),
    "check": ("check", "Say all that is wrong with a file. Changes nothing."),
    "run": ("run", "Install what a file asks for, or fill in what is missing."),
    "update": ("run", "Change what is installed as a file asks."),
    "connectors": ("catalogue", "List Cyclr's catalogue."),
    "accounts": ("catalogue", "List the accounts that Cyclr has."),
    "template": ("catalogue", "Write a CSV ready to fill for one connector."),
    "simulator": ("simulator", "Run a stand-in for Cyclr on this machine."),
    "submit": ("run", "Hand a file to the workers of a deployment."),
    "watch": ("watching", "See how a job goes, until it ends."),
    "jobs": ("showing", "List the unfinished jobs, and the last 20."),
    "status": ("showing", "Say how a job stands."),
    "items": ("showing", "List a job's rows."),
    "failures": ("showing", "Say why rows failed."),
    "results": ("showing", "Write a job's result file."),
    "pause": ("steer", "Let a job rest."),
    "resume": ("steer", "Let a paused job go on."),
    "cancel": ("steer", "End a job for good."),
    "retry": ("steer", "Try a job's failed rows again."),
    "forget": ("steer", "Delete all data of a job that has ended."),
    "new-sealing-key": ("upkeep", "Make a key for CYCLR_BULK_SEALING_KEYS."),
    "reseal": ("upkeep", "Seal all credentials with the first key."),
    "distrust": ("upkeep", "Look before every unfinished row."),
    "sweep": ("process", "Run a deployment's sweep until it is stopped."),
    "healthy": ("upkeep", "Say whether a deployment's worker on this machine lives."),
    "serve": ("serve", "Serve the HTTP API and the dashboard."),
    "api-keys": ("api_keys", "Make, list and revoke API keys."),
}


class Commands(TyperGroup):
    """Names all commands, and loads the one that is called."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, (_, short_help) in COMMANDS.items():
            self.add_command(TyperCommand(name, short_help=short_help))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and load_command(command.name or ""), rest


def load_command(name: str) -> Any:
    """The command of this name, or the group of commands. Its module declares it in its `app`."""
    group = typer.main.get_group(import_module(f"worker.cli.{COMMANDS[name][0]}").app)
    return group.commands.get(name, group)


app = typer.Typer(
    cls=Commands,
    help="Bring many customer accounts to the Cyclr connectors that a file asks for: never twice, never lost, one true result for every row.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would show secrets
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    # \b keeps the lines of a paragraph as they are, here and in the texts of the commands.
    epilog="""\b
Begin with:
  cyclr-bulk demo                           see it work, with nothing set up
  cyclr-bulk template NAME > accounts.csv   a file to fill
  cyclr-bulk check accounts.csv             what is wrong with it, if anything
  cyclr-bulk run accounts.csv --first 5     the first rows, to begin with
  cyclr-bulk update keys.csv                new keys for what is installed

Settings come from the environment or from .env in the current folder: CYCLR_API_URL, CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET are needed.""",
)


def _say_version(is_asked: bool) -> None:
    if is_asked:
        from importlib.metadata import version

        from worker.cli.terminal import tell

        tell(f"cyclr-bulk {version('cyclr-bulk')}")
        raise typer.Exit


@app.callback()
def _before_any_command(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say which version this is."),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of the command."""
    # It would walk all that is loaded again and again, and find nothing: a seventh of the time in which a command starts.
    gc.disable()
    from worker.cli.terminal import use_lasting_streams
    from worker.lifeline import write_no_core_files

    write_no_core_files()
    use_lasting_streams()
    app()
