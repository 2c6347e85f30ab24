"""A request's body becomes a waiting upload, piece by piece: never whole in memory, never in clear on a disk."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from worker.jobs.views import Fault
from worker.store.submissions import Upload
from worker.web.faults import ONCE, known_name
from worker.web.http_errors import HttpError, invalid_request
from worker.web.waiting import UploadWriter, WaitingUploads

MOST_UPLOAD_BYTES = 1_000_000_000
MOST_JSON_BYTES = 20_000_000
MOST_JSON_BYTES_IN_ALL = 100_000_000  # in memory at once
JSON_AT_ONCE = 2
PIECE_BYTES = 1 << 16  # of a body that is kept in memory
MOST_FIELDS = 50
MOST_FIELD_BYTES = 100_000  # of all fields of a form together
LONGEST_NAME = 200
BATCH_BYTES = 1 << 18  # written at once: each write is a visit to a thread
UNNAMED = "upload.csv"


@dataclass
class ReceivedFile:
    """A file and what came with it. `content_hash`: SHA-256 of the file, in hex. `fields`: those beside it, by name."""

    upload: Upload
    content_hash: str
    fields: dict[str, str] = field(default_factory=dict)


async def receive_file(
    waiting: WaitingUploads, request: Request, *, api_key_id: str, source_name: str
) -> ReceivedFile:
    """The body, which is the file. Raises: HttpError (400, 413)."""
    _require_announced_size(request, MOST_UPLOAD_BYTES)
    async with _Receiving(waiting, api_key_id) as receiving:
        await receiving.begin(source_name)
        async for chunk in _limited(request, MOST_UPLOAD_BYTES):
            await receiving.write(chunk)
        return await receiving.finish()


async def receive_form(
    waiting: WaitingUploads,
    request: Request,
    *,
    api_key_id: str,
    check_fields: Callable[[dict[str, str]], None] = lambda _fields: None,
    lists: Collection[str] = (),
) -> ReceivedFile:
    """A `multipart/form-data` body with one file.

    `check_fields`: gets the fields that come before the file, before anything of the file is kept; all of them where no file
    comes. It may raise. `lists`: the fields that may come more than once, and then are one with commas.
    Raises: HttpError (400, 413, 415, 422).
    """
    _require_announced_size(request, MOST_UPLOAD_BYTES)
    reader = _FormReader(_boundary(request), lists)
    async with _Receiving(waiting, api_key_id) as receiving:
        async for chunk in _limited(request, MOST_UPLOAD_BYTES):
            for event, data in reader.read(chunk):
                if event == "file":
                    check_fields(reader.fields)
                    await receiving.begin(data.decode("utf-8", "replace"))
                else:
                    await receiving.write(data)
        reader.require_end()
        if not receiving.has_begun:
            check_fields(reader.fields)
        form = await receiving.finish()
        form.fields = reader.fields
        return form


async def receive_lines(
    waiting: WaitingUploads, lines: Iterable[bytes], *, api_key_id: str, source_name: str
) -> ReceivedFile:
    """A file that is made here, its lines in a thread."""
    async with _Receiving(waiting, api_key_id) as receiving:
        await receiving.begin(source_name)
        made = iter(lines)
        while batch := await run_in_threadpool(_batch_of, made):
            await receiving.write(batch)
        return await receiving.finish()


def _batch_of(lines: Iterator[bytes]) -> bytes:
    """The next lines, so many as are written at once; empty at the end."""
    batch = bytearray()
    for line in lines:
        batch += line
        if len(batch) >= BATCH_BYTES:
            break
    return bytes(batch)


class Bodies:
    """The bodies of JSON that this process has in memory, all together within a bound.

    `turn`: to be held while one is read. Others wait, so that the process has time for everybody else.
    """

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(JSON_AT_ONCE)
        self._bytes = 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[list[bytearray]]:
        """A body in pieces, kept while the context lasts. Raises: HttpError (400, 413, 503)."""
        _require_announced_size(request, MOST_JSON_BYTES)
        pieces = [bytearray()]
        own = 0
        try:
            async for chunk in _limited(request, MOST_JSON_BYTES):
                own += len(chunk)
                self._bytes += len(chunk)
                if self._bytes > MOST_JSON_BYTES_IN_ALL:
                    detail = "Too many lists are being received just now. Try again in a moment."
                    raise HttpError(503, "too_busy", detail, headers={"Retry-After": "30"})
                # A chunk may be a byte, and is an object all the same.
                if len(pieces[-1]) >= PIECE_BYTES:
                    pieces.append(bytearray())
                pieces[-1] += chunk
            yield pieces
        finally:
            self._bytes -= own


class _Receiving:
    """An upload in the making; nothing of it is left unless it is finished."""

    def __init__(self, waiting: WaitingUploads, api_key_id: str) -> None:
        self._waiting = waiting
        self._api_key_id = api_key_id
        self._writer: UploadWriter | None = None
        self._batch = bytearray()
        self._digest = hashlib.sha256()
        self._is_finished = False

    async def __aenter__(self) -> "_Receiving":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._writer is not None and not self._is_finished:
            await run_in_threadpool(self._writer.abandon)

    @property
    def has_begun(self) -> bool:
        return self._writer is not None

    async def begin(self, source_name: str) -> None:
        if self._writer is not None:
            raise HttpError(400, "one_file", "Expected one file, got several.")
        name = source_name.replace("\\", "/").rpartition("/")[2].strip()[:LONGEST_NAME] or UNNAMED
        begin = self._waiting.begin
        self._writer = await run_in_threadpool(begin, api_key_id=self._api_key_id, source_name=name)

    async def write(self, data: bytes) -> None:
        self._batch += data
        if len(self._batch) >= BATCH_BYTES:
            await self._flush()

    async def finish(self) -> ReceivedFile:
        if self._writer is None:
            raise HttpError(400, "no_file", "Expected a file in the field `file`, got none.")
        await self._flush()
        upload = await run_in_threadpool(self._writer.finish)
        self._is_finished = True
        return ReceivedFile(upload, self._digest.hexdigest())

    async def _flush(self) -> None:
        assert self._writer is not None
        data, self._batch = bytes(self._batch), bytearray()
        await run_in_threadpool(self._write, data)

    def _write(self, data: bytes) -> None:
        assert self._writer is not None
        self._digest.update(data)
        self._writer.write(data)


class _FormReader:
    """Chunks of a multipart body become events: `file` with its name, then `data`. Fields are kept."""

    def __init__(self, boundary: bytes, lists: Collection[str]) -> None:
        self.fields: dict[str, str] = {}
        self._lists = lists
        self._count = 0
        self._raw: dict[str, bytearray] = {}
        self._field_bytes = 0
        # Of the part that is being read. Without a file name it is a field.
        self._name = ""
        self._filename: bytes | None = None
        self._header_name = self._header_value = self._disposition = b""
        self._events: list[tuple[str, bytes]] = []
        self._has_ended = False
        callbacks: Any = {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError:  # a boundary that is too long
            raise _unreadable_form() from None

    def read(self, chunk: bytes) -> list[tuple[str, bytes]]:
        self._events = []
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _unreadable_form() from None
        return self._events

    def require_end(self) -> None:
        if not self._has_ended:
            raise _unreadable_form()

    def _on_part_begin(self) -> None:
        self._header_name = self._header_value = self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value.decode("utf-8", "replace").encode()
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._filename = options.get(b"filename")
        if self._filename is not None:
            self._events.append(("file", self._filename))
        elif self._count >= MOST_FIELDS:
            raise _too_many_fields()
        elif name in self._raw and name not in self._lists:
            raise invalid_request(Fault(column=known_name(name), message=ONCE))
        else:
            self._count += 1
            before = self._raw.get(name)
            self._raw[name] = bytearray() if before is None else before + b","

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._filename is not None:
            self._events.append(("data", data[start:end]))
            return
        self._field_bytes += end - start
        if self._field_bytes > MOST_FIELD_BYTES:
            raise _too_many_fields()
        self._raw[self._name] += data[start:end]

    def _on_part_end(self) -> None:
        if self._filename is None:
            self.fields[self._name] = self._raw[self._name].decode("utf-8", "replace")

    def _on_end(self) -> None:
        self._has_ended = True


async def _limited(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > most_bytes:
                raise _too_large(most_bytes)
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise HttpError(400, "cut_off", "The request ended before its body did.") from None


def _require_announced_size(request: Request, most_bytes: int) -> None:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most_bytes:
        raise _too_large(most_bytes)


def _too_large(most_bytes: int) -> HttpError:
    detail = f"Expected at most {most_bytes:,} bytes, got more: divide the file."
    return HttpError(413, "too_large", detail, headers={"Connection": "close"})


def _boundary(request: Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type", "").encode())
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not boundary:
        detail = "Expected multipart/form-data with a boundary."
        raise HttpError(415, "unsupported_media_type", detail)
    return boundary


def _unreadable_form() -> HttpError:
    return HttpError(400, "unreadable_form", "The form cannot be read: expected multipart/form-data, whole.")


def _too_many_fields() -> HttpError:
    return HttpError(
        413, "too_large", f"Expected at most {MOST_FIELDS} fields of {MOST_FIELD_BYTES:,} bytes."
    )
