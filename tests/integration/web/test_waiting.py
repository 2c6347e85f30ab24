"""Uploads that wait: sealed, whole or nothing, gone after an hour."""

import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from tests.integration.store.databases import SEALER
from worker.store.session import Engine, reading, writing
from worker.store.submissions import Upload
from worker.store.tables import upload_pieces, uploads
from worker.web.waiting import PIECE_BYTES, UploadGone, WaitingUploads

SECRET = b"api_key-5f1c-very-secret"
CONTENT = (b"account_id,api_key\n" + b"acme," + SECRET + b"\n") * 60_000  # more than two pieces


@pytest.fixture
def folder(engine: Engine, tmp_path: Path) -> Path | None:
    return tmp_path / "uploads" if engine.dialect.name == "sqlite" else None


@pytest.fixture
def waiting(engine: Engine, folder: Path | None) -> WaitingUploads:
    return WaitingUploads(engine, SEALER, folder)


def hand_in(waiting: WaitingUploads, content: bytes = CONTENT) -> Upload:
    writer = waiting.begin(api_key_id="key-1", source_name="file.csv")
    for start in range(0, len(content), 100_003):
        writer.write(content[start : start + 100_003])
    return writer.finish()


def stored(engine: Engine, folder: Path | None) -> list[bytes]:
    """All that is kept of contents, as it lies there."""
    if folder is not None:
        return [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []
    with reading(engine) as connection:
        return [bytes(sealed) for sealed in connection.execute(select(upload_pieces.c.sealed)).scalars()]


def test_an_upload_is_read_as_often_as_asked(waiting: WaitingUploads):
    upload = hand_in(waiting)
    assert len(CONTENT) > 2 * PIECE_BYTES
    assert (upload.size_bytes, upload.pieces) == (len(CONTENT), 3)
    for _ in range(2):
        with waiting.open(upload) as stream:
            assert stream.read() == CONTENT


def test_nothing_of_an_upload_lies_there_in_clear(
    waiting: WaitingUploads, engine: Engine, folder: Path | None
):
    hand_in(waiting)
    kept = stored(engine, folder)
    assert sum(map(len, kept)) > len(CONTENT)
    assert not any(SECRET in data or b"account_id" in data for data in kept)


def test_files_are_for_their_owner_alone(waiting: WaitingUploads, folder: Path | None):
    hand_in(waiting)
    if folder is not None:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()] == [0o600]


def test_only_whole_uploads_of_ones_own_are_found(waiting: WaitingUploads):
    upload = hand_in(waiting)
    assert waiting.find(upload.id, api_key_id="key-1") == upload
    assert waiting.find(upload.id, api_key_id="key-2") is None
    unfinished = waiting.begin(api_key_id="key-1", source_name="file.csv")
    unfinished.write(CONTENT)
    assert waiting.find(unfinished._upload.id, api_key_id="key-1") is None


def test_an_abandoned_upload_leaves_nothing(waiting: WaitingUploads, engine: Engine, folder: Path | None):
    writer = waiting.begin(api_key_id="key-1", source_name="file.csv")
    writer.write(CONTENT)
    writer.abandon()
    writer.abandon()
    assert stored(engine, folder) == []


def test_an_upload_is_gone_after_an_hour(waiting: WaitingUploads, engine: Engine, folder: Path | None):
    old, young = hand_in(waiting), hand_in(waiting)
    assert old.expires_at - old.created_at == timedelta(hours=1)
    past = datetime.now(UTC) - timedelta(seconds=1)
    expired = update(uploads).where(uploads.c.id == old.id).values(expires_at=past)
    writing(engine, lambda connection: connection.execute(expired))
    assert waiting.find(old.id, api_key_id="key-1") is None
    waiting.delete_expired()
    with reading(engine) as connection:
        assert connection.execute(select(uploads.c.id)).scalars().all() == [young.id]
    assert len(stored(engine, folder)) == (3 if folder is None else 1)
    with waiting.open(old) as stream, pytest.raises(UploadGone):
        stream.read()


def test_what_nobody_knows_any_more_is_deleted(waiting: WaitingUploads, folder: Path | None, engine: Engine):
    known = hand_in(waiting)
    if folder is not None:
        (folder / "left-by-a-kill.sealed").write_bytes(b"x")
    waiting.delete_expired()
    with waiting.open(known) as stream:
        assert stream.read() == CONTENT
    assert len(stored(engine, folder)) == (3 if folder is None else 1)


def test_an_upload_that_was_cut_short_or_changed_is_not_read(
    waiting: WaitingUploads, engine: Engine, folder: Path | None
):
    for damage in ("shortened", "changed"):
        upload = hand_in(waiting)
        if folder is not None:
            path = folder / f"{upload.id}.sealed"
            length = path.stat().st_size
            if damage == "shortened":
                last = length - (len(CONTENT) - 2 * PIECE_BYTES) - (length - len(CONTENT)) // 3
                os.truncate(path, last)
            else:
                data = bytearray(path.read_bytes())
                data[length // 2] ^= 1
                path.write_bytes(data)
        else:
            with engine.begin() as connection:
                mine = upload_pieces.c.upload_id == upload.id
                if damage == "shortened":
                    connection.execute(upload_pieces.delete().where(mine, upload_pieces.c.number == 2))
                else:
                    first = select(upload_pieces.c.sealed).where(mine, upload_pieces.c.number == 0)
                    sealed = connection.execute(first).scalar_one()
                    swapped = update(upload_pieces).where(mine, upload_pieces.c.number == 1)
                    connection.execute(swapped.values(sealed=sealed))
        with waiting.open(upload) as stream, pytest.raises(UploadGone):
            stream.read()
