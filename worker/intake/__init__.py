"""A file becomes rows: `open_source`, `survey` to know what to ask, then `iter_plan` with the answers."""

from worker.intake.files import FileChanged, Line, Source, Unreadable, open_source, read_source
from worker.intake.findings import Accounts, Findings, SurveyedAccount
from worker.intake.fit import Fit, Memory, StoredAt, connector_key, fit_row
from worker.intake.plan import Catalogue, iter_plan
from worker.intake.survey import AskedAccounts, Listening, Survey, survey
from worker.intake.writing import ResultRow, iter_problem_lines, iter_result_lines, template

__all__ = [
    "Accounts",
    "AskedAccounts",
    "Catalogue",
    "FileChanged",
    "Findings",
    "Fit",
    "Line",
    "Listening",
    "Memory",
    "ResultRow",
    "Source",
    "StoredAt",
    "Survey",
    "SurveyedAccount",
    "Unreadable",
    "connector_key",
    "fit_row",
    "iter_plan",
    "iter_problem_lines",
    "iter_result_lines",
    "open_source",
    "read_source",
    "survey",
    "template",
]
