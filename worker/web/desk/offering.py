"""What the desk needs of its place: its links, where the settings say how."""

from worker.bootstrap.place import Place
from worker.jobs.authorising import PURPOSE, Addresses, AuthorisationLinks
from worker.settings import CyclrSettings, parse_sealing_keys
from worker.store.jobs import JobStatus
from worker.store.listing import find_job
from worker.store.signing import Signer
from worker.web.http_errors import HttpError


def find_links(place: Place) -> AuthorisationLinks | None:
    """None where a setting that links need is missing."""
    settings, addresses = place.settings, _addresses(place.settings)
    if addresses is None or settings.cyclr_bulk_sealing_keys is None:
        return None
    keys = parse_sealing_keys(settings.cyclr_bulk_sealing_keys.get_secret_value())
    return AuthorisationLinks(
        place.database.engine, Signer(keys, PURPOSE), place.database.instance_id, addresses
    )


def require_links(place: Place) -> AuthorisationLinks:
    """Raises: HttpError (409), naming the settings that are missing."""
    links = find_links(place)
    if links is None:
        missing = "; ".join(place.settings.missing_for_desk())
        raise HttpError(409, "desk_not_set_up", f"Links for customers need settings. {missing}.")
    return links


def require_own_job(place: Place, job_id: str) -> JobStatus:
    """Raises: HttpError: 404 where there is no such job, 409 where it is for another Cyclr than this process calls."""
    job = find_job(place.database.engine, job_id)
    if job is None:
        raise HttpError(404, "unknown_job", f"There is no job {job_id[:40]} here.")
    if job.instance_id != place.database.instance_id:
        detail = f"Job {job_id} is for another Cyclr than the one that this server works for."
        raise HttpError(409, "other_instance", detail)
    return job


def _addresses(settings: CyclrSettings) -> Addresses | None:
    public_url, service_url = settings.cyclr_bulk_public_url, settings.cyclr_service_url
    username = settings.cyclr_signin_username
    if public_url is None or service_url is None or username is None:
        return None
    return Addresses(public_url, service_url, username)
