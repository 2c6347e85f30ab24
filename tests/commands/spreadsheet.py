"""LibreOffice, as a person opens a file with it and saves it again, but without a window."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Literal

from tests.started import start_process

PROGRAM = shutil.which("soffice") or shutil.which("libreoffice")
DEADLINE_S = 120.0  # for one file; the first start makes the profile, which takes some seconds

Takes = Literal["numbers", "text"]
ENGLISH, GERMAN = "en-US", "de-DE"
_LANGUAGE_IDS = {ENGLISH: 1033, GERMAN: 1031}
_COMMA, _SEMICOLON, _QUOTE, _UTF_8, _FIRST_LINE = 44, 59, 34, 76, 1
_ALL_COLUMNS_AS_TEXT = "/".join(f"{column}/2" for column in range(1, 41))

# The locale says how numbers are written, and which language is meant where the options of a file name none.
_LOCALE = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Setup/L10N"><prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>{}</value></prop></item>
</oor:items>
"""


class Spreadsheet:
    """One installation, with a profile of its own in `folder`. `locale`: whose numbers and delimiter it writes."""

    def __init__(self, folder: Path, locale: str = ENGLISH) -> None:
        assert PROGRAM is not None
        self._program = PROGRAM
        self._folder = folder
        self._delimiter = _SEMICOLON if locale == GERMAN else _COMMA
        self._language_id = _LANGUAGE_IDS[locale]
        (folder / "profile" / "user").mkdir(parents=True)
        settings = folder / "profile" / "user" / "registrymodifications.xcu"
        settings.write_text(_LOCALE.format(locale), encoding="utf-8")

    def save(
        self,
        path: Path,
        *,
        takes: Takes = "numbers",
        delimiter: str | None = None,
        language: str | None = None,
    ) -> None:
        """Opens the CSV, and saves it in its place. `takes`: what it makes of cells, as a person chooses when it is opened:
        numbers of all that look like one, or text of all. `delimiter`, `language`: those of the file, where they are not
        the locale's.
        """
        read = _options(
            self._delimiter if delimiter is None else ord(delimiter),
            self._language_id if language is None else _LANGUAGE_IDS[language],
            columns=_ALL_COLUMNS_AS_TEXT if takes == "text" else "",
            # Quoted fields are not text for being quoted, and dates are not looked for: what its dialogue proposes.
            switches="false,false",
        )
        # Quotes where they are needed, numbers as numbers, cells as they are shown: what its dialogue proposes.
        write = _options(self._delimiter, self._language_id, columns="", switches="false,true,true")
        saved = self._folder / "saved" / path.name
        saved.unlink(missing_ok=True)
        said = self._start(
            f"-env:UserInstallation={(self._folder / 'profile').as_uri()}",
            "--headless",
            f"--infilter=CSV:{read}",
            "--convert-to",
            f"csv:Text - txt - csv (StarCalc):{write}",
            "--outdir",
            str(saved.parent),
            str(path),
        )
        assert saved.exists(), said  # its exit code is 0 whatever happens
        shutil.move(saved, path)

    def _start(self, *words: str) -> str:
        process = start_process(
            [self._program, *words],
            cwd=self._folder,
            env={**os.environ, "HOME": str(self._folder), "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the program is a script that starts the others
            process.communicate()
            raise
        return said


def _options(delimiter: int, language_id: int, *, columns: str, switches: str) -> str:
    """Source: "CSV Filter Options" in LibreOffice's help (text/shared/guide/csv_params), read 2026-11-30."""
    return f"{delimiter},{_QUOTE},{_UTF_8},{_FIRST_LINE},{columns},{language_id},{switches}"
