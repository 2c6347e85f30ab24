"""The demo's job: the same steps as of any run, and what to type next for a real one."""

import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from worker.cli.check import check, show_check
from worker.cli.files import ResultPath
from worker.cli.home import TendedHome
from worker.cli.report import conclude_run
from worker.cli.run import load
from worker.cli.terminal import ALL_DONE, say
from worker.cli.watching import see_through
from worker.domain.options import RunOptions
from worker.domain.states import JobState, Outcome
from worker.domain.words import OUTCOMES, outcome_name
from worker.embedded import Home, Services
from worker.intake import open_source
from worker.settings import CyclrSettings
from worker.store.tallies import OutcomeCount, list_outcomes


def install(
    stack: ExitStack, settings: CyclrSettings, home: Home, services: Services | None, file: Path
) -> tuple[TendedHome, str]:
    """The home, tended while `stack` lasts, and the id of the job that runs in it."""
    place = stack.enter_context(TendedHome(settings, needs_workers=True, home=home, services=services))
    options = RunOptions()
    checked = check(place, open_source(file), options)
    show_check(place, checked)
    return place, load(stack, place, checked, options)


def conclude(home: TendedHome, job_id: str, file: Path, *, how_to_go_on: str) -> int:
    """See the job through, say how it ended and what to type next; the exit code."""
    job = see_through(home, job_id)
    code = conclude_run(
        home,
        job,
        ResultPath(file, None),
        options=RunOptions(),
        how_to_go_on=how_to_go_on,
        how_to_retry=("The failed rows were meant to fail: the result file says for each what to do.",),
    )
    _explain(list_outcomes(home.database.engine, job.id) or ())
    _say_what_next(file)
    return ALL_DONE if job.state is JobState.COMPLETED else code


def _explain(outcomes: Sequence[OutcomeCount]) -> None:
    """What each word of the summary means, in a line."""
    say("")
    say("Of the rows that are done:")
    for each in outcomes:
        meaning = OUTCOMES[Outcome(each.outcome)]
        say(f"  {outcome_name(each.outcome) + ':':<12}{meaning}")


def _say_what_next(file: Path) -> None:
    say("")
    say("For a real run, put these into .env (or the environment):")
    say("  CYCLR_API_URL=https://api.cyclr.com     the API domain of your instance")
    say("  CYCLR_CLIENT_ID=...                     from Cyclr's console: Settings > OAuth Client Credentials")
    say("  CYCLR_CLIENT_SECRET=...")
    say("then type:")
    say("  cyclr-bulk connectors                   what can be installed")
    say("  cyclr-bulk template NAME > accounts.csv a file to fill")
    say("  cyclr-bulk run accounts.csv --first 5   the first rows, after a check and a question")
    say("  cyclr-bulk update keys.csv              new keys for what is installed")
    if shutil.which("cyclr-bulk") is None:
        say(f"Here cyclr-bulk is {sys.argv[0]}.")
    say(f"The demo's own file, as an example: {file}")
