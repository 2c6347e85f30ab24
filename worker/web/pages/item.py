"""A row: what was asked for, and what happened, in the order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.domain import words
from worker.domain.rows import NOT_EXPORTED
from worker.domain.states import ItemState, JobState
from worker.domain.wording import in_words, sentence
from worker.store.connectors import JobConnector, get_connector
from worker.store.jobs import JobStatus, find_stored_item
from worker.store.listing import AttemptMade, Item, find_item, list_attempts
from worker.web.api.parameters import JobId, RowNumber
from worker.web.guards import GivenPlace, PageReader
from worker.web.http_errors import HttpError
from worker.web.pages.job import require_job
from worker.web.pages.jobs import other_host
from worker.web.pages.looks import can_be_retried
from worker.web.pages.rendering import render, with_names

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened, or will. `kind`: for the style sheet."""

    kind: str
    heading: str
    text: str
    at: datetime | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """`to_copy`: what is copied, in words; empty: nothing."""

    name: str
    value: str
    to_copy: str = ""


@dataclass(frozen=True, slots=True)
class ItemView:
    row_number: int
    account_id: str
    state_name: str
    state_in_words: str
    kind: str
    headline: str
    next_step: str
    facts: Sequence[Fact]
    story: Sequence[Step]


@router.get("/jobs/{job_id}/items/{row_number}")
def item_page(
    request: Request, job_id: JobId, row_number: RowNumber, caller: PageReader, place: GivenPlace
) -> Response:
    engine = place.database.engine
    job = require_job(place, job_id)
    item, asked = find_item(engine, job_id, row_number), find_stored_item(engine, job_id, row_number)
    if item is None or asked is None:
        raise HttpError(
            404, "unknown_item", f"Job {job_id} has no row {row_number}; rows count as in the file."
        )
    facts = list(_facts(job, item, get_connector(engine, asked.connector_id), asked.cells))
    view = _view(job, item, facts, list_attempts(engine, job_id, row_number))
    is_ours = other_host(job, place) is None
    return render(
        request,
        "pages/item.html",
        section="jobs",
        job=job,
        item=view,
        can_retry=is_ours and item.state in (ItemState.FAILED, ItemState.CANCELLED) and can_be_retried(job),
    )


def _view(job: JobStatus, item: Item, facts: Sequence[Fact], attempts: Sequence[AttemptMade]) -> ItemView:
    name, label = item.state_in_words
    kind, headline, next_step = _verdict(job, item)
    return ItemView(
        row_number=item.row,
        account_id=item.account_id,
        state_name=name,
        state_in_words=label,
        kind=kind,
        headline=headline,
        next_step=next_step,
        facts=facts,
        story=[
            Step(
                "",
                "Handed in",
                with_names(f"as row {item.row:,} of {{}}", job.source_name),
                job.created_at,
            )
        ]
        + [_step(attempt) for attempt in attempts]
        + list(_what_comes(job, item)),
    )


def _verdict(job: JobStatus, item: Item) -> tuple[str, str, str]:
    """How the row stands: the kind of notice, a headline, and what to do next."""
    match item.state:
        case ItemState.INSTALLED:
            kind = "" if item.is_authenticated is False else "good"
            how, *more = words.installed(
                item.outcome,
                differs=item.differs or (),
                is_authenticated=item.is_authenticated,
                to_authorise=item.to_authorise,
            )
            # What stands beside an installed row: the connector is there under another Name.
            more += [item.message or ""] if item.code else []
            return kind, sentence(how), " ".join(map(sentence, more)) or "There is nothing to do."
        case ItemState.FAILED:
            reason = words.of_code(item.code)
            message = sentence(item.message) if item.message else ""
            advice = with_names(f"{{}} {reason.advice}", message) if message else reason.advice
            return "bad", f"Failed: {reason.title}.", advice
        case ItemState.CANCELLED:
            return "", sentence(item.message or item.state), words.advice(item.state, item.code) or ""
        case ItemState.RUNNING:
            return "", "In hand of a worker just now.", "Load the page again in a moment."
        case ItemState.HELD if job.state is not JobState.PAUSED:
            return "", "Held back.", "It goes on by itself once what it waits for is there."
    if job.state is JobState.PAUSED:
        pause = sentence(words.PAUSES[job.pause_reason].title) if job.pause_reason else ""
        return "warn", "It waits, since the job is paused.", f"{pause} It goes on when the job is resumed."
    if item.is_held:
        return "", "Held back.", "Only the first rows of the file were to be installed."
    if item.tried:
        return (
            "warn",
            "It is tried again by itself.",
            f"{sentence(item.message or '')} There is nothing to do.".strip(),
        )
    return "", "It waits for its turn.", "There is nothing to do."


def _facts(job: JobStatus, item: Item, connector: JobConnector, cells: Sequence[str]) -> Iterator[Fact]:
    version = f" {connector.version}" if connector.version else ""
    yield Fact("Account", item.account_id, "the account id")
    yield Fact("Connector", f"{connector.name}{version}")
    yield Fact("Name", item.name)
    if item.account_connector_id is not None:
        yield Fact("Id at Cyclr", str(item.account_connector_id), "Cyclr's id")
    if item.account_created:
        yield Fact("The account", "was created for this row")
    for column, cell in zip(job.columns, cells, strict=False):
        if (
            cell
            and not column.startswith("_")
            and column.casefold() not in ("account_id", "connector", "name")
        ):
            yield Fact(column, "kept secret" if cell == NOT_EXPORTED else cell)


_VERDICTS = {
    "installed": ("installed", "Installed"),
    "retry": ("retrying", "Not yet: nothing was installed"),
    "look_first": ("retrying", "No clear answer: it may be installed"),
    "give_up": ("failed", "Failed"),
    "called_off": ("cancelled", "Cancelled: a look found nothing installed"),
}
_THEN = {
    "retry": "It is tried again.",
    "look_first": "The account is looked into before anything is sent again.",
}


def _step(attempt: AttemptMade) -> Step:
    kind, heading = _VERDICTS.get(attempt.verdict, ("", attempt.verdict))
    said = sentence(attempt.reason) if attempt.reason else ""
    details = [words.CALLS.get(attempt.call, attempt.call).removeprefix("the ")]
    details += [f"Cyclr answered {attempt.http_status}"] if attempt.http_status else []
    details.append(f"took {_seconds(attempt.took_s)}")
    text = f"{said} {_THEN.get(attempt.verdict, '')}".strip()
    return Step(kind, heading, text, attempt.started_at, ", ".join(details))


def _what_comes(job: JobStatus, item: Item) -> Iterator[Step]:
    if item.state == ItemState.RUNNING:
        yield Step("", "Now", "A worker has it in hand.")
    elif item.state == ItemState.QUEUED and job.state is JobState.RUNNING and item.tried and not item.is_held:
        yield Step("", "Next", "It is tried again at this time, or as soon as its turn comes.", item.due_at)
    elif item.state == ItemState.CANCELLED and item.settled_at is not None:
        yield Step("cancelled", "Cancelled", "The job was cancelled.", item.settled_at)


def _seconds(took_s: float) -> str:
    return f"{took_s:.1f} s" if took_s < 10 else in_words(took_s)
