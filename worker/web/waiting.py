"""Uploads that wait sealed: in the home's folder, mode 600, or in a deployment's database. Never in clear."""

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from worker.embedded.home import make_private_folder
from worker.embedded.processes import FILE_MODE
from worker.store.sealing import SealBroken, Sealer
from worker.store.session import Engine
from worker.store.submissions import (
    Upload,
    add_piece,
    begin_upload,
    complete_upload,
    delete_expired_uploads,
    delete_upload,
    find_upload,
    iter_pieces,
    list_upload_ids,
    list_uploads,
    prolong_upload,
)

PIECE_BYTES = 1 << 20
LENGTH_BYTES = 4


class UploadGone(OSError):
    """The upload was deleted, or cannot be opened any more."""

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, "the upload is no longer kept: hand the file in again")


class WaitingUploads:
    """The uploads of one place. Every method blocks: it is called in a thread."""

    def __init__(self, engine: Engine, sealer: Sealer, folder: Path | None) -> None:
        self._engine = engine
        self._sealer = sealer
        self._pieces: DatabasePieces | FilePieces = (
            DatabasePieces(engine) if folder is None else FilePieces(folder)
        )

    def begin(self, *, api_key_id: str, source_name: str) -> "UploadWriter":
        upload = begin_upload(self._engine, api_key_id=api_key_id, source_name=source_name)
        return UploadWriter(self, upload)

    def find(self, upload_id: str, *, api_key_id: str) -> Upload | None:
        """The whole upload that this API key handed in; None where it is gone, not whole yet or another's."""
        return find_upload(self._engine, upload_id, api_key_id=api_key_id)

    def list(self, *, api_key_id: str) -> list[Upload]:
        """The whole uploads that this API key handed in and that are still kept, the newest first."""
        return list_uploads(self._engine, api_key_id=api_key_id)

    def prolong(self, upload: Upload) -> None:
        """Keep it for an hour from now. Raises: UploadGone."""
        if not prolong_upload(self._engine, upload.id):
            raise UploadGone

    def delete(self, upload_id: str) -> None:
        """A second call is safe."""
        self._pieces.delete(upload_id)
        delete_upload(self._engine, upload_id)

    def delete_expired(self) -> None:
        """What is older than an hour, and what nobody knows any more."""
        delete_expired_uploads(self._engine)
        kept = (
            self._pieces.upload_ids()
        )  # before those that are known: an upload is known before its first piece
        for upload_id in kept - list_upload_ids(self._engine):
            self._pieces.delete(upload_id)

    def open(self, upload: Upload) -> BinaryIO:
        """Its bytes from the start. What is read raises UploadGone where a piece is missing or changed."""
        return PieceStream.buffered(self._iter_opened(upload))

    def _iter_opened(self, upload: Upload) -> Iterator[bytes]:
        number = 0
        for number, sealed in enumerate(self._pieces.iter(upload.id), start=1):
            try:
                yield self._sealer.open_bytes(sealed, _belongs_to(upload.id, number - 1))
            except SealBroken:
                raise UploadGone from None
        if number != upload.pieces:
            raise UploadGone

    def _add(self, upload_id: str, number: int, data: bytes) -> None:
        self._pieces.add(upload_id, number, self._sealer.seal_bytes(data, _belongs_to(upload_id, number)))

    def _complete(self, upload_id: str, size_bytes: int, pieces: int) -> Upload:
        upload = complete_upload(self._engine, upload_id, size_bytes=size_bytes, pieces=pieces)
        if upload is None:
            raise UploadGone
        return upload


class UploadWriter:
    """Takes the bytes of one upload as they come, and seals a piece whenever one is full."""

    def __init__(self, waiting: WaitingUploads, upload: Upload) -> None:
        self._waiting = waiting
        self._upload = upload
        self._buffer = bytearray()
        self._pieces = 0
        self.size_bytes = 0

    def write(self, data: bytes) -> None:
        self._buffer += data
        self.size_bytes += len(data)
        while len(self._buffer) >= PIECE_BYTES:
            self._seal(PIECE_BYTES)

    def finish(self) -> Upload:
        """The whole upload. Raises: UploadGone."""
        if self._buffer:
            self._seal(len(self._buffer))
        return self._waiting._complete(self._upload.id, self.size_bytes, self._pieces)

    def abandon(self) -> None:
        """Nothing of it is left. A second call is safe."""
        self._waiting.delete(self._upload.id)

    def _seal(self, size_bytes: int) -> None:
        data = bytes(memoryview(self._buffer)[:size_bytes])
        del self._buffer[:size_bytes]
        self._waiting._add(self._upload.id, self._pieces, data)
        self._pieces += 1


class DatabasePieces:
    """Rows of a table: every process of a deployment can read them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, upload_id: str, number: int, sealed: bytes) -> None:
        add_piece(self._engine, upload_id, number, sealed)

    def iter(self, upload_id: str) -> Iterator[bytes]:
        return iter_pieces(self._engine, upload_id)

    def delete(self, upload_id: str) -> None:
        """They go with their upload."""

    def upload_ids(self) -> set[str]:
        """None without its upload."""
        return set()


class FilePieces:
    """A file for each upload, mode 600 in a folder of mode 700: the length of each piece, then the piece."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, upload_id: str, number: int, sealed: bytes) -> None:
        make_private_folder(self._folder, known_by="")
        flags = os.O_WRONLY | os.O_CREAT | (os.O_EXCL if number == 0 else os.O_APPEND)
        with os.fdopen(os.open(self._path(upload_id), flags, FILE_MODE), "wb") as file:
            file.write(len(sealed).to_bytes(LENGTH_BYTES))
            file.write(sealed)

    def iter(self, upload_id: str) -> Iterator[bytes]:
        try:
            file = self._path(upload_id).open("rb")
        except FileNotFoundError:
            return
        with file:
            while length := file.read(LENGTH_BYTES):
                yield file.read(int.from_bytes(length))

    def delete(self, upload_id: str) -> None:
        self._path(upload_id).unlink(missing_ok=True)

    def upload_ids(self) -> set[str]:
        return {path.stem for path in self._folder.glob("*.sealed")}

    def _path(self, upload_id: str) -> Path:
        return self._folder / f"{upload_id}.sealed"


class PieceStream(io.RawIOBase):
    """Pieces as a stream of bytes."""

    @classmethod
    def buffered(cls, pieces: Iterator[bytes]) -> BinaryIO:
        return io.BufferedReader(cls(pieces), PIECE_BYTES)

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._piece:
            following = next(self._pieces, None)
            if following is None:
                return 0
            self._piece = memoryview(following)
        taken = self._piece[: len(buffer)]
        buffer[: len(taken)] = taken
        self._piece = self._piece[len(taken) :]
        return len(taken)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        super().close()


def _belongs_to(upload_id: str, number: int) -> str:
    return f"upload/{upload_id}/{number}"
