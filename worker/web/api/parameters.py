"""What several addresses take. Texts hold no NUL, which PostgreSQL cannot even compare with."""

from typing import Annotated, Literal

from fastapi import Form, Path, Query
from pydantic import Field

from worker.domain.options import AS_WRITTEN_COLUMNS
from worker.domain.reasons import KEY_PATTERN
from worker.web.faults import JOB_ID, NO_NUL, UPLOAD_ID

LARGEST_ROW = 2_147_483_647
LARGEST_PAGE = 1_000
PAGE = 100

JobId = Annotated[str, Path(pattern=JOB_ID, examples=["261121-k3x9qd"])]
RowNumber = Annotated[
    int, Path(ge=1, le=LARGEST_ROW, description="The row of the file: the header is row 1.", examples=[2])
]
Limit = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most.")]
AsWritten = Literal[AS_WRITTEN_COLUMNS]  # type: ignore[valid-type]  # the words are told once
Reason = Annotated[
    str | None,
    Query(pattern=KEY_PATTERN, description="Only failed rows of this reason: its key, as in `failures`."),
]
Text = Annotated[str | None, Query(max_length=1_000, pattern=NO_NUL)]
# The same of pages, where what is not asked for is an empty text.
PageText = Annotated[str, Query(max_length=1_000, pattern=NO_NUL)]
FormText = Annotated[str, Form(max_length=1_000, pattern=NO_NUL)]
UploadId = Annotated[str, Path(pattern=UPLOAD_ID)]
# Any text: what is none of ours is told as a wrong cursor, whatever form it has.
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before this one.")]
NextCursor = Annotated[
    str | None, Field(description="`cursor` of the next page; null: this is the last one.")
]

FILE_NAME = {
    "Content-Disposition": {"description": "The file's name.", "schema": {"type": "string"}}
}  # header of an answer that is a file
