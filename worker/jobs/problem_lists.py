"""The rows of a checked file that have problems, as a file to read and to sort: nothing that could be handed in."""

from collections.abc import Iterator
from dataclasses import replace

from worker.domain.rows import RefusedRow, Ways
from worker.intake import Findings, Memory, iter_plan, iter_problem_lines
from worker.jobs.checking import Checked
from worker.jobs.results import in_pieces


def iter_problem_list(checked: Checked, *, instance_id: str, memory: Memory, ways: Ways) -> Iterator[str]:
    """CSV text in pieces, with a byte order mark in front; the file is read once more. `ways`: for the problems.

    Raises: FileChanged.
    """
    plan = iter_plan(
        checked.source,
        checked.options,
        instance_id=instance_id,
        survey=checked.survey,
        catalogue=checked.catalogue,
        accounts=checked.accounts,
        memory=memory,
        findings=Findings(),
    )
    rows = (
        (
            row.number,
            row.cells,
            [str(replace(each.told(ways), row_number=None, spans=(), count=1)) for each in row.problems],
        )
        for row in plan
        if isinstance(row, RefusedRow)
    )
    return in_pieces(iter_problem_lines(checked.source.header, rows))
