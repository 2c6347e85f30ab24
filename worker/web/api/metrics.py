"""`/metrics`: for Prometheus. From the database and from Redis, so that every web process says the same."""

from collections.abc import AsyncIterator, Iterator, Mapping
from importlib.metadata import version
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from worker.bootstrap.place import Place
from worker.domain.pace import LimiterState
from worker.domain.server_faults import Server, ServerFault
from worker.domain.states import JobState
from worker.store.faults import takes_no_writes
from worker.store.instances import Totals, find_seen_ago_s, read_totals
from worker.store.readiness import find_database_fault, open_for_showing
from worker.store.session import Engine
from worker.store.tallies import LATENCY_BUCKETS_S, CallTally, read_call_tallies
from worker.telemetry import ALARMS
from worker.web.guards import GivenPlace, Shown, reader, reader_from
from worker.web.http_errors import error_answers

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "cyclr_bulk"

router = APIRouter(tags=["health"])


async def reader_of_figures(
    request: Request, place: GivenPlace, _shown: Shown = None
) -> AsyncIterator[Engine]:
    """The database of a caller who may read. That it takes no writes is one of the figures, so it is read all the same."""
    engine = place.database.engine
    try:
        await reader(request)
    except Exception as error:
        if not takes_no_writes(error):
            raise
    else:
        yield engine
        return
    showing = open_for_showing(engine)
    try:
        await reader_from(request, showing)
        yield showing
    finally:
        showing.dispose()


@router.get(
    "/metrics",
    operation_id="getMetrics",
    summary="Figures for Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **error_answers()},
)
async def metrics(engine: Annotated[Engine, Depends(reader_of_figures)], place: GivenPlace) -> Response:
    """Of the Cyclr instance that this process is set up for."""
    lines = await run_in_threadpool(_from_database, place, engine)
    limiter = await place.limiter_state(place.database.instance_id)
    lines += _limiter(limiter if isinstance(limiter, LimiterState) else None)
    lines += _servers(await run_in_threadpool(find_database_fault, place.database.engine), limiter)
    return Response("\n".join(lines) + "\n", media_type=MEDIA_TYPE)


def _from_database(place: Place, engine: Engine) -> list[str]:
    instance_id = place.database.instance_id
    build = {_labels(version=version("cyclr-bulk")): 1}
    lines = [
        *_metric("build_info", "gauge", "Always 1; the release of this process is in its label.", build),
        *_totals(read_totals(engine, instance_id)),
        *_calls(read_call_tallies(engine, instance_id)),
    ]
    seen_ago_s = find_seen_ago_s(engine, instance_id)
    if seen_ago_s is not None:
        text = "Since any worker process last said that it lives."
        lines += _metric("worker_seen_ago_seconds", "gauge", text, {"": seen_ago_s})
    waiting = place.count_tickets()
    if waiting is not None:
        lines += _metric(
            "tickets_waiting", "gauge", "Tickets in the broker: one at most, usually none.", {"": waiting}
        )
    return lines


def _servers(database: ServerFault | None, limiter: LimiterState | ServerFault | None) -> Iterator[str]:
    """What this process needs of others. A limiter that cannot be asked says nothing of Cyclr."""
    faults: dict[Server, ServerFault | None] = {Server.DATABASE: database, Server.REDIS: None}
    if isinstance(limiter, ServerFault):
        faults[limiter.server] = limiter
    elif limiter is not None:
        faults[Server.CYCLR] = limiter.outage
    up = {_labels(server=server): int(fault is None) for server, fault in faults.items()}
    yield from _metric(
        "server_up", "gauge", "Whether this server does what it is asked; Cyclr: no outage.", up
    )
    why = {_labels(server=each.server, **{"class": each.label}): 1 for each in faults.values() if each}
    yield from _metric("server_fault", "gauge", "1 for what ails a server now, by its class.", why)
    counts = {
        _labels(server=server, **{"class": label}): count
        for (server, label), count in sorted(ALARMS.counts().items())
    }
    text = "What this process failed to do for a fault of a server, since it began."
    yield from _metric("server_failures_total", "counter", text, counts)


def _totals(totals: Totals) -> Iterator[str]:
    states = {_labels(state=state): totals.jobs.get(state, 0) for state in JobState}
    yield from _metric("jobs", "gauge", "Jobs by state.", states)
    items = {
        "installed": totals.installed,
        "failed": totals.failed,
        "cancelled": totals.cancelled,
        "unfinished": totals.unfinished,
    }
    by_state = {_labels(state=state): count for state, count in items.items()}
    yield from _metric("items", "gauge", "Rows by state; unfinished: queued or in hand.", by_state)
    text = "Rows taken back from workers that were lost."
    yield from _metric("rescues_total", "counter", text, {"": totals.rescues})


def _calls(tallies: list[CallTally]) -> Iterator[str]:
    """A histogram; its `_count` is the number of calls by outcome."""
    name = f"{PREFIX}_call_duration_seconds"
    yield f"# HELP {name} Calls of Cyclr by call and outcome, of attempts that were settled."
    yield f"# TYPE {name} histogram"
    for tally in tallies:
        for le, count in zip(LATENCY_BUCKETS_S, tally.within, strict=True):
            yield f"{name}_bucket{_labels(call=tally.call, outcome=tally.outcome, le=f'{le:g}')} {count}"
        labels = _labels(call=tally.call, outcome=tally.outcome)
        yield f"{name}_bucket{_labels(call=tally.call, outcome=tally.outcome, le='+Inf')} {tally.count}"
        yield f"{name}_sum{labels} {tally.took_s:.6f}"
        yield f"{name}_count{labels} {tally.count}"


def _limiter(state: LimiterState | None) -> list[str]:
    lines = [
        *_metric(
            "limiter_up",
            "gauge",
            "Whether the limiter can be asked; if not, nobody calls.",
            {"": int(state is not None)},
        )
    ]
    if state is None:
        return lines
    for name, text, value in (
        ("limiter_calls_per_second", "The rate now.", state.rate_per_second),
        (
            "limiter_configured_calls_per_second",
            "The lowest rate that a process which calls was set to.",
            state.pace.per_second,
        ),
        ("gate_closed_seconds", "For so long nobody calls.", state.gate_closed_for_s),
        ("outage_level", "Outages of Cyclr in a row; 0: it answers.", state.outage_level),
    ):
        lines += _metric(name, "gauge", text, {"": value})
    return lines


def _metric(name: str, kind: str, text: str, values: Mapping[str, float]) -> Iterator[str]:
    """`values`: labels in their braces, or nothing -> the value."""
    yield f"# HELP {PREFIX}_{name} {text}"
    yield f"# TYPE {PREFIX}_{name} {kind}"
    for labels, value in values.items():
        yield f"{PREFIX}_{name}{labels} {value:.10g}"


def _labels(**labels: str) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
