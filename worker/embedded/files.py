"""Folders and files that only their owner may read."""

import os
import shutil
import stat
from pathlib import Path

from worker.embedded.errors import HomeUnusable

FOLDER_MODE = 0o700
FILE_MODE = 0o600


def make_private_folder(path: Path, *, known_by: str) -> None:
    """Make the folder, or close an existing one to others. A second call is safe.

    known_by: the name of a file that says that an existing folder is ours. A folder that holds other people's work is
    never closed to them behind their back.

    Raises: HomeUnusable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=FOLDER_MODE, exist_ok=True)
    except FileExistsError as error:
        raise HomeUnusable(path, "expected a folder, got a file; choose another path") from error
    except OSError as error:
        raise HomeUnusable(path, f"it cannot be made ({error.strerror}); choose another path") from error
    if os.name == "posix":
        _close_to_others(path, known_by)


def _close_to_others(path: Path, known_by: str) -> None:
    found = path.stat()
    # For root too: whoever owns the folder could put another database or key in it, and a link in a file's place.
    if os.geteuid() != found.st_uid:
        raise HomeUnusable(
            path,
            f"it belongs to user id {found.st_uid}; run this as that user, or choose a folder of your own",
        )
    if stat.S_IMODE(found.st_mode) & 0o077 == 0:
        return
    if not (path / known_by).exists() and any(path.iterdir()):
        raise HomeUnusable(
            path,
            "it holds other files and others may read it; choose an empty folder, or run chmod 700 on it if they should not",
        )
    path.chmod(FOLDER_MODE)


def write_private(path: Path, text: str, *, is_synced: bool = False) -> None:
    """Write the whole file in one step, mode 600: a reader sees the old text or the new one, never a part.

    is_synced: the text outlives a power cut too.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    try:
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            file.write(text)
            if is_synced:
                file.flush()
                os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        # A full disk does not say where it is full.
        raise OSError(error.errno, error.strerror, str(path)) from None
    if is_synced and os.name == "posix":
        _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_log(path: Path) -> int:
    """A descriptor that appends to the log file, mode 600. The caller closes it."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)


def limit_log(path: Path, *, limit_bytes: int) -> bool:
    """Whether the log file had grown past its limit and was moved to `<name>.1`, over an older one.

    The file is emptied in place, since the process that writes it keeps it open; what it writes meanwhile is lost.
    """
    if not path.exists() or path.stat().st_size <= limit_bytes:
        return False
    older = path.with_name(f"{path.name}.1")
    with (
        path.open("rb") as source,
        os.fdopen(os.open(older, os.O_WRONLY | os.O_CREAT, FILE_MODE), "wb") as kept,
    ):
        # Its end only: a log that grew very large between two looks must not fill the disk twice.
        source.seek(-limit_bytes, os.SEEK_END)
        kept.truncate(0)
        shutil.copyfileobj(source, kept)
    os.truncate(path, 0)
    return True
