"""Which encoding a file is in: a byte order mark, else strict UTF-8, else Windows-1252 with a warning."""

import codecs
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

CHUNK_BYTES = 1 << 18
_HEAD_BYTES = 4096

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NOT_TEXT = (
    (b"PK\x03\x04", "an Excel workbook or a zip archive"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip archive"),
)
_MARK = rb"(?:\xef\xbb\xbf)*\s*"
_OTHER_TEXT = (
    (
        re.compile(_MARK + rb"<(?:!--|(?:!doctype|html|head|meta|body|table)\b)", re.IGNORECASE),
        "this is HTML, not CSV: export the sheet as CSV",
    ),
    (re.compile(_MARK + rb"<\?xml\b", re.IGNORECASE), "this is XML, not CSV: export the sheet as CSV"),
    (
        re.compile(_MARK + rb"(?:\[\s*[{\[\]\"]|\{\s*\")"),
        "this is JSON, not CSV: export the sheet as CSV, or hand the list to the HTTP API",
    ),
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a first pass over the bytes found. `encoding`: for `open`; None where `fault` says why."""

    content_hash: str
    encoding: str | None
    fault: str | None = None
    warning: str | None = None


class _Trial:
    """Decodes the whole file in one encoding, strictly, to see whether it can be that one."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding
        self.failed_in_line: int | None = None
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._lines = 1

    def feed(self, chunk: bytes, *, final: bool) -> None:
        if self.failed_in_line is not None:
            return
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            self.failed_in_line = self._lines + error.object[: error.start].count(b"\n")
        self._lines += chunk.count(b"\n")


def detect_content(stream: BinaryIO) -> Content:
    """Reads the stream to its end, a piece at a time: its SHA-256 and its encoding."""
    head = stream.read(_HEAD_BYTES)
    digest = hashlib.sha256()
    trials = [_Trial(encoding) for encoding in _candidates(head)]
    for chunk in _chunks(head, stream):
        digest.update(chunk)
        for trial in trials:
            trial.feed(chunk, final=False)
    for trial in trials:
        trial.feed(b"", final=True)
    return _judge(digest.hexdigest(), head, trials)


def _chunks(head: bytes, stream: BinaryIO) -> Iterator[bytes]:
    chunk = head
    while chunk:
        yield chunk
        chunk = stream.read(CHUNK_BYTES)


def _candidates(head: bytes) -> tuple[str, ...]:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return (encoding,)
    return _unmarked_utf16(head) or ("utf-8", "cp1252")


def _unmarked_utf16(head: bytes) -> tuple[str, ...]:
    # Text of western languages has a zero in nearly every second byte; anything else has none.
    units = len(head) // 2
    low, high = head[0::2].count(0), head[1::2].count(0)
    if units and high > 0.4 * units and low < 0.05 * units:
        return ("utf-16-le",)
    if units and low > 0.4 * units and high < 0.05 * units:
        return ("utf-16-be",)
    return ()


def _judge(content_hash: str, head: bytes, trials: list[_Trial]) -> Content:
    for mark, what in _NOT_TEXT:
        if head.startswith(mark):
            return Content(content_hash, None, f"expected a CSV file, got {what}: export the sheet as CSV")
    text = head.lstrip(b"\xff\xfe").replace(b"\0", b"")  # of UTF-16 too, as far as it is ASCII
    for pattern, fault in _OTHER_TEXT:
        if pattern.match(text):
            return Content(content_hash, None, fault)
    for trial in trials:
        if trial.failed_in_line is None:
            warning = None if trial is trials[0] else _guess_warning(trials[0])
            return Content(content_hash, trial.encoding, warning=warning)
    first = trials[0]
    expected = "UTF-16" if first.encoding.startswith("utf-16") else "UTF-8"
    return Content(
        content_hash,
        None,
        f"expected text in {expected}, got other bytes in line {first.failed_in_line}: save it as 'CSV UTF-8'",
    )


def _guess_warning(failed: _Trial) -> str:
    return (
        f"the file is not UTF-8 (line {failed.failed_in_line}), so it was read as Windows-1252: "
        "look at the names with accents, or save it as 'CSV UTF-8'"
    )
