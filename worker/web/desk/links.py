"""What all faces of the desk have in common: its links, where the settings say how, and what cannot be done."""

from fastapi import Response
from fastapi.responses import StreamingResponse

from worker.bootstrap.place import Place
from worker.jobs.authorising import PURPOSE, Addresses, AuthorisationLinks, iter_mail_merge
from worker.settings import parse_sealing_keys
from worker.store.desks import find_desk
from worker.store.sealing import Signer
from worker.web.api.parameters import require_own_job
from worker.web.files import attachment, download_name
from worker.web.http_errors import HttpError

CSV = "text/csv; charset=utf-8"


def find_links(place: Place) -> AuthorisationLinks | None:
    """None where a setting that links need is missing."""
    settings = place.settings
    public_url, service_url = settings.cyclr_bulk_public_url, settings.cyclr_service_url
    username, sealing_keys = settings.cyclr_signin_username, settings.cyclr_bulk_sealing_keys
    if public_url is None or service_url is None or username is None or sealing_keys is None:
        return None
    signer = Signer(parse_sealing_keys(sealing_keys.get_secret_value()), PURPOSE)
    addresses = Addresses(public_url, service_url, username)
    return AuthorisationLinks(place.database.engine, signer, place.database.instance_id, addresses)


def require_links(place: Place) -> AuthorisationLinks:
    """Raises: HttpError (409), naming the settings that are missing."""
    links = find_links(place)
    if links is None:
        missing = "; ".join(place.settings.missing_for_desk())
        raise HttpError(409, "desk_not_set_up", f"Links for customers need settings. {missing}.")
    return links


def links_file(place: Place, job_id: str) -> Response:
    """All links of the job, for a mail merge. Raises: HttpError (404, 409)."""
    job = require_own_job(place, job_id)
    links, desk = require_links(place), find_desk(place.database.engine, job_id)
    if desk is None or not desk.holds:
        raise no_links(job_id)
    rows = iter_mail_merge(desk, links.iter_links(desk), delimiter=job.delimiter)
    return StreamingResponse(rows, media_type=CSV, headers=attachment(download_name(job, "links")))


def no_links(job_id: str) -> HttpError:
    return HttpError(409, "no_links", f"Job {job_id} has no links that hold: make them first.")


def no_such_row(job_id: str, row: int) -> HttpError:
    return HttpError(404, "unknown_row", f"Row {row} of job {job_id} does not wait for a customer.")
