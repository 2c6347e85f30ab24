"""The home folder of the embedded mode: who owns it, what is kept there, and what the last owner left behind.

Its folders and files are for their owner alone.
"""

import base64
import os
import re
import secrets
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import SecretStr

from worker.clock import Clock
from worker.domain.failures import ToldFailure
from worker.embedded.processes import FILE_MODE, Runtime
from worker.settings import CyclrSettings

FOLDER_MODE = 0o700


class HomeUnusable(ToldFailure):
    """The home folder cannot be used as it is: choose another or mend it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"home folder {path}: {reason}")
        self.path = path
        self.reason = reason


class LeftoverAlive(ToldFailure):
    """A process of an earlier command cannot be ended: a person has to."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(
            f"{name} (process {pid}) was left behind by an earlier command and does not end; end it, then try again"
        )
        self.name = name
        self.pid = pid


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


SOCKET_FOLDER_PREFIX = "cyclr-bulk-"

_IN_USE = "in use"
_END_LEFTOVER_WITHIN_S = 10.0
_MAKE_KEY_WITHIN_S = 30.0
_WATCH_WITHIN_S = 5.0
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


class Home:
    """One folder, mode 700. One process owns it at a time, for as long as it lives or until it lets go."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Raises: HomeUnusable."""
        self.path = path.expanduser().absolute()
        self._clock = clock
        self._last_use: str | None = None
        make_private_folder(self.path, known_by="home.lock")
        for folder in (self.logs_path, self._watches_path):
            make_private_folder(folder, known_by="")
        self._lock = _lock(self.path / "home.lock")

    @property
    def database_path(self) -> Path:
        return self.path / "cyclr-bulk.db"

    @property
    def logs_path(self) -> Path:
        return self.path / "logs"

    @property
    def _watches_path(self) -> Path:
        return self.path / "watches"

    # Ownership

    def try_own(self) -> bool:
        """Whether this process owns the home now. Cheap and without waiting; a second call is safe.

        The kernel takes the ownership away with the process's life, by kill -9 too.
        """
        if self._lock.is_locked:
            return True
        if not _try_lock(self._lock, self.path):
            return False
        self._last_use = self._read("last-use")
        write_private(self.path / "last-use", _IN_USE)
        return True

    @property
    def is_owned(self) -> bool:
        """Whether this process owns the home."""
        return self._lock.is_locked

    @property
    def is_in_use(self) -> bool:
        """Whether a living process owns the home, this one or another. Nothing is changed by asking."""
        if self._lock.is_locked:
            return True
        if not _try_lock(self._lock, self.path):
            return True
        self._lock.release()
        return False

    def release(self) -> None:
        """Let the home go. A second call is safe. Without `mark_stopped` the next owner takes it for a crash."""
        self._lock.release()

    @property
    def was_stopped_cleanly(self) -> bool:
        """Whether, when this process became the owner, nothing of an earlier one could still be calling Cyclr.

        True for a home that was never used.
        """
        return self.is_owned and self._last_use != _IN_USE

    @property
    def stopped_at(self) -> datetime | None:
        """When the owner before stopped cleanly; None where it did not, or where there was none."""
        if not self.was_stopped_cleanly or self._last_use is None:
            return None
        return datetime.fromisoformat(self._last_use)

    def mark_stopped(self) -> None:
        """Write down that the owner has made its last call. To be called by the owner, before `release`."""
        write_private(self.path / "last-use", self._clock.now().isoformat())

    # What the owner runs

    def write_runtime(self, runtime: Runtime) -> None:
        write_private(self._runtime_path, runtime.to_text())

    def find_runtime(self) -> Runtime | None:
        """What the owner runs, or ran when it was killed; None where it runs no service, or not yet."""
        text = self._read(self._runtime_path.name)
        return None if text is None else Runtime.find(text)

    def find_workers_began_ago_s(self) -> float | None:
        """Seconds since the owner of the home has started its workers; None where it has not, or there is none."""
        runtime = self.find_runtime()
        if runtime is None or runtime.workers_began_at is None:
            return None
        return max(0.0, (self._clock.now() - runtime.workers_began_at).total_seconds())

    def forget_runtime(self) -> None:
        """Remove the record of the owner's services and the folder of their socket. A second call is safe."""
        runtime = self.find_runtime()
        if runtime is not None:
            _remove_socket_folder(runtime.socket_folder)
        self._runtime_path.unlink(missing_ok=True)

    def end_leftovers(self) -> tuple[str, ...]:
        """End what a killed owner left behind; the names of the services that were still alive.

        To be called by a new owner, before it starts anything. A process that only has the id of an old one is left alone.

        Raises: LeftoverAlive.
        """
        self._forget_dead_watches()
        runtime = self.find_runtime()
        if runtime is None:
            self._runtime_path.unlink(missing_ok=True)
            return ()
        ended = []
        for name, mark in runtime.children.items():
            if not mark.is_alive:
                continue
            if not mark.end(within_s=_END_LEFTOVER_WITHIN_S):
                raise LeftoverAlive(name, mark.pid)
            ended.append(name)
        self.forget_runtime()
        return tuple(ended)

    @property
    def _runtime_path(self) -> Path:
        return self.path / "runtime.json"

    # Jobs that somebody watches

    @contextmanager
    def watch(self, job_id: str) -> Iterator[None]:
        """Be known as a living command that sees to this job. Several commands may watch one job."""
        path = self._watches_path / f"{_checked(job_id)}.{uuid.uuid4().hex[:12]}"
        lock = _lock(path)
        # Not at once: another command may hold it for the moment in which it looks whether we are alive.
        lock.acquire(timeout=_WATCH_WITHIN_S, poll_interval=0.01)
        try:
            yield
        finally:
            lock.release()
            path.unlink(missing_ok=True)

    def is_watched(self, job_id: str) -> bool:
        """Whether a living command watches this job. A running job that nobody watches was abandoned."""
        return any(not _remove_if_dead(path) for path in self._watches_path.glob(f"{_checked(job_id)}.*"))

    def _forget_dead_watches(self) -> None:
        for path in self._watches_path.iterdir():
            _remove_if_dead(path)

    # The sealing key

    def sealing_key(self, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
        """The home's sealing key, as `CYCLR_BULK_SEALING_KEYS` holds it; made, mode 600, where there is none.

        However many processes ask at once, all get the same key.

        Raises: HomeUnusable where the file is there and empty: a new key would not open what the old one sealed.
        """
        with _lock(self.path / "sealing-key.lock").acquire(timeout=_MAKE_KEY_WITHIN_S):
            key = self._read("sealing-key")
            if key is None:
                key = f"home-{random_bytes(4).hex()}:{base64.b64encode(random_bytes(32)).decode()}"
                # Synced: a key lost by a power cut loses every credential that it sealed.
                write_private(self.path / "sealing-key", key, is_synced=True)
        if not key:
            raise HomeUnusable(self.path, "the file sealing-key is empty; put the key back from a copy")
        return key

    def settings(self, settings: CyclrSettings) -> CyclrSettings:
        """The settings with the home's database and sealing key."""
        return settings.model_copy(
            update={
                "database_url": SecretStr(f"sqlite:///{self.database_path}"),
                "cyclr_bulk_sealing_keys": SecretStr(self.sealing_key()),
            }
        )

    def _read(self, name: str) -> str | None:
        try:
            return (self.path / name).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None


def _lock(path: Path) -> FileLock:
    # No fallback: a lock that is only a file outlives a kill -9. Not thread-local: whichever thread may release it.
    return FileLock(path, mode=FILE_MODE, thread_local=False, fallback_to_soft=False)


def _try_lock(lock: FileLock, path: Path) -> bool:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    except OSError as error:
        raise HomeUnusable(
            path, f"it cannot be locked ({error.strerror}); choose a folder on a local disk"
        ) from error
    return True


def _remove_if_dead(path: Path) -> bool:
    """Whether no living process held the watch; its file is gone then."""
    lock = _lock(path)
    if not _try_lock(lock, path.parent):
        return False
    with suppress(PermissionError):  # Windows removes no open file
        path.unlink(missing_ok=True)
    lock.release()
    return True


def _remove_socket_folder(folder: Path) -> None:
    # The name is checked since the path comes from a file: nothing else is ever removed.
    if folder.name.startswith(SOCKET_FOLDER_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)


def _checked(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError(f"expected a job id of letters, digits, - and _, got {job_id!r}")
    return job_id
