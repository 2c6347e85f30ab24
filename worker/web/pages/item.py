"""A row: what was asked for, and what happened, in the order of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.domain import words
from worker.domain.rows import NOT_EXPORTED
from worker.domain.states import ItemState, JobState
from worker.domain.words import in_words, sentence
from worker.store.connectors import JobConnector, get_connector
from worker.store.jobs import JobStatus, find_stored_item
from worker.store.listing import AttemptMade, Item, find_item, list_attempts
from worker.web.api.parameters import JobId, RowNumber, require_job
from worker.web.guards import GivenPlace, PageReader
from worker.web.http_errors import HttpError
from worker.web.pages.accounts import account_address
from worker.web.pages.rendering import Notice, moment, on_page, render, with_names

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a row, or will. `kind`: for the style sheet."""

    kind: str
    heading: str
    text: str
    at: datetime | None = None
    detail: str = ""


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
    attempts = list_attempts(engine, job_id, row_number)
    handed_in = with_names(f"as row {item.row:,} of {{}}", job.source_name)
    is_ours = job.instance_id == place.database.instance_id
    return render(
        request,
        "pages/item.html",
        section="jobs",
        job=job,
        item=item,
        notice=_how_it_stands(job, item),
        account_address=account_address(item.account_id),
        facts=list(_facts(job, item, get_connector(engine, asked.connector_id), asked.cells)),
        effects=list(_effects(item, kept_for_h=place.settings.cyclr_secret_retention_h)),
        story=[
            Event("", "Handed in", handed_in, job.created_at),
            *map(_attempt, attempts),
            *_what_comes(job, item),
        ],
        can_retry=is_ours and item.state in (ItemState.FAILED, ItemState.CANCELLED) and job.can_be_retried,
    )


def _how_it_stands(job: JobStatus, item: Item) -> Notice:
    """And what to do next."""
    match item.state:
        case ItemState.INSTALLED:
            kind = "" if item.is_authenticated is False else "good"
            how, *more = item.how_done
            # What stands beside an installed row: the connector is there under another Name.
            more += [item.message or ""] if item.code else []
            text = " ".join(map(sentence, more)) or "There is nothing to do."
            return Notice(kind, text, heading=sentence(how))
        case ItemState.FAILED:
            message = sentence(item.message) if item.message else ""
            to_do = on_page(item.advice or "")
            advice = with_names(f"{{}} {to_do}", message) if message else to_do
            return Notice("bad", advice, heading=f"Failed: {words.of_code(item.code).title}.")
        case ItemState.CANCELLED:
            return Notice("", item.advice or "", heading=sentence(item.message or item.state))
        case ItemState.RUNNING:
            return Notice("", "Load the page again in a moment.", heading="In hand of a worker just now.")
        case ItemState.HELD if job.state is not JobState.PAUSED:
            return Notice("", "It goes on by itself once what it waits for is there.", heading="Held back.")
    if job.state is JobState.PAUSED:
        pause = sentence(job.pause_message or "")
        return Notice(
            "warn",
            f"{pause} It goes on when the job is resumed.",
            heading="It waits, since the job is paused.",
        )
    if item.is_held:
        return Notice("", "Only the first rows of the file were to be done.", heading="Held back.")
    if item.tried:
        text = f"{sentence(item.message or '')} There is nothing to do.".strip()
        return Notice("warn", text, heading="It is tried again by itself.")
    return Notice("", "There is nothing to do.", heading="It waits for its turn.")


def _facts(
    job: JobStatus, item: Item, connector: JobConnector, cells: Sequence[str]
) -> Iterator[tuple[str, str, str]]:
    """Name, value, and what is copied, in words; empty: nothing."""
    version = f" {connector.version}" if connector.version else ""
    yield "Account", item.account_id, "the account id"
    yield "Connector", f"{connector.name}{version}", ""
    yield "Name", item.name, ""
    if item.account_connector_id is not None:
        yield "Id at Cyclr", str(item.account_connector_id), "Cyclr's id"
    if item.account_created:
        yield "The account", "was created for this row", ""
    for column, cell in zip(job.columns, cells, strict=False):
        if (
            cell
            and not column.startswith("_")
            and column.casefold() not in ("account_id", "connector", "name")
        ):
            yield column, "kept secret" if cell == NOT_EXPORTED else cell, ""


def _effects(item: Item, *, kept_for_h: float) -> Iterator[tuple[str, str]]:
    """What the row has done to what was there, and what it has left alone: by names of fields, never values."""
    if item.changed:
        yield "Changed", ", ".join(item.changed)
    if item.differs:
        yield "Other than asked, left alone", ", ".join(item.differs)
    if item.undo_kept:
        ends_at = item.settled_at and item.settled_at + timedelta(hours=kept_for_h)
        yield "What was overwritten", f"kept sealed until {moment(ends_at)}" if ends_at else "kept sealed"


def _attempt(attempt: AttemptMade) -> Event:
    kind, heading, then = words.VERDICTS.get(attempt.verdict, ("", attempt.verdict, ""))
    said = sentence(attempt.reason) if attempt.reason else ""
    details = [words.CALLS.get(attempt.call, attempt.call).removeprefix("the ")]
    details += [f"Cyclr answered {attempt.http_status}"] if attempt.http_status else []
    details.append(f"took {_seconds(attempt.took_s)}")
    text = f"{said} {then}".strip()
    return Event(kind, heading, text, attempt.started_at, ", ".join(details))


def _what_comes(job: JobStatus, item: Item) -> Iterator[Event]:
    if item.state == ItemState.RUNNING:
        yield Event("", "Now", "A worker has it in hand.")
    elif item.state == ItemState.QUEUED and job.state is JobState.RUNNING and item.tried and not item.is_held:
        yield Event("", "Next", "It is tried again at this time, or as soon as its turn comes.", item.due_at)
    elif item.state == ItemState.CANCELLED and item.settled_at is not None:
        yield Event("cancelled", "Cancelled", "The job was cancelled.", item.settled_at)


def _seconds(took_s: float) -> str:
    return f"{took_s:.1f} s" if took_s < 10 else in_words(took_s)
