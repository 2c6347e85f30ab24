"""A body of JSON, read so that nothing of it goes missing: of a key that is there twice, a parser keeps the last one alone."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute

from worker.jobs.views import Fault
from worker.web.faults import FIRST_ROW, SHOWN_FAULTS, known_name
from worker.web.http_errors import HttpError, invalid_request

MOST_BYTES = 16_000  # of what is read as a whole; a list of items is not
TWICE = "expected it once, got it twice or more in one object: which value is meant?"


def parse_json(body: bytes) -> Any:
    """What the body says. Raises: HttpError (422) where it is no JSON, or where an object has a key twice."""
    doubled: dict[int, list[str]] = {}
    kept: list[dict[str, Any]] = []  # so that no other object gets the id of one of these

    def to_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            doubled[id(made)] = doubled_keys(pairs)
            kept.append(made)
        return made

    try:
        # A byte order mark is no part of JSON, and some programs write one.
        parsed = json.loads(body.decode("utf-8-sig"), object_pairs_hook=to_object, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise no_json(f"at line {error.lineno:,}, character {error.colno:,} it is not JSON") from None
    except UnicodeDecodeError:
        raise no_json("it is not UTF-8") from None
    except RecursionError:
        raise no_json("it is nested too deeply") from None
    except ValueError:
        raise no_json("a number in it is too long") from None
    if doubled:
        faults = list(_faults(parsed, doubled))
        detail = "An object of the JSON has a key twice, so that nobody can tell which value is meant."
        raise HttpError(422, "invalid_request", detail, errors=faults[:SHOWN_FAULTS], error_count=len(faults))
    return parsed


class JsonRoute(APIRoute):
    """A route that takes a small body of JSON, read as `parse_json` does."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def check_and_handle(request: Request) -> Response:
            if takes_body and "json" in request.headers.get("content-type", ""):
                body = await request.body()
                if len(body) > MOST_BYTES:
                    raise HttpError(413, "too_large", f"Expected at most {MOST_BYTES:,} bytes, got more.")
                if body:
                    parse_json(body)
            answer: Response = await handle(request)
            return answer

        return check_and_handle


def no_constant(constant: str) -> Any:
    """Python takes NaN and Infinity, JSON does not. Raises: HttpError (422)."""
    raise no_json(f"{constant} is no number of JSON")


def no_json(why: str) -> HttpError:
    """For a body that is no JSON, and why."""
    fault = Fault(message=f"expected a body of JSON; {why}")
    return invalid_request(fault)


def doubled_keys(pairs: Iterable[tuple[str, Any]]) -> list[str]:
    seen: set[str] = set()
    return list(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]


def _faults(parsed: Any, doubled: dict[int, list[str]]) -> Iterator[Fault]:
    """One for each such key, in the order of the body."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(parsed, ())]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, dict):
            for key in doubled.get(id(value), ()):
                yield _fault(path, key)
            within: list[tuple[str | int, Any]] = list(value.items())
        elif isinstance(value, list):
            within = list(enumerate(value))
        else:
            continue
        waiting.extend(
            (each, (*path, key)) for key, each in reversed(within) if isinstance(each, dict | list)
        )


def _fault(path: tuple[str | int, ...], key: str) -> Fault:
    row, within = None, path
    match path:
        case ("items", int(number), *rest):
            row, within = number + FIRST_ROW, tuple(rest)
    column = ".".join(str(each) if isinstance(each, int) else known_name(each) for each in (*within, key))
    return Fault(row=row, column=column, message=TWICE)
