"""The mutants of files: lines that keep a credential in its customer's account, and rows from getting lost."""

from tests.mutants.mutants import Mutant

_SAME_ROW = "tests/unit/intake/test_same_row.py"
_SWALLOWED = "tests/unit/intake/test_swallowed.py"
_SHEETS = "tests/end_to_end/cli/test_spreadsheet_files.py"

FILE_MUTANTS = (
    Mutant(
        "stored_key_for_another_account",
        "worker/intake/same_row.py",
        "the stored credential of one account is installed in the account that a spreadsheet made of its id",
        "        if row.account_id != stored.account_id:\n",
        "        if not row.account_id:\n",
        (_SAME_ROW, _SHEETS),
    ),
    Mutant(
        "stored_key_for_another_connector",
        "worker/intake/same_row.py",
        "the stored credential of one connector is sent to another",
        "        if not self._is_same_connector(row, stored, connector):\n",
        "        if not stored.connector:\n",
        (_SAME_ROW,),
    ),
    Mutant(
        "stored_key_under_another_rows_name",
        "worker/intake/same_row.py",
        "Names that were swapped give each the other's credential",
        "        if fold(name) != fold(stored.name) and namesake is not None:\n",
        "        if fold(name) == fold(stored.name) and namesake is not None:\n",
        (_SAME_ROW,),
    ),
    Mutant(
        "stored_key_of_another_instance",
        "worker/intake/same_row.py",
        "a sandbox's credentials are installed in production",
        "        if stored.instance_id != self._instance_id:\n",
        "        if not stored.instance_id:\n",
        (_SAME_ROW,),
    ),
    Mutant(
        "copied_rows_take_one_key",
        "worker/intake/same_row.py",
        "a row that was copied gives its credential twice",
        "        first = self._survey.repeated.find(stored_key(row.stored_at))\n",
        "        first = None\n",
        (_SAME_ROW,),
    ),
    Mutant(
        "half_filled_in_is_free",
        "worker/intake/rows.py",
        "a row that brings its credential and takes a stored property goes to any account",
        "    return not withheld_columns(row, header) and not row.secrets.keys().isdisjoint(AUTH_COLUMNS)\n",
        "    return not row.secrets.keys().isdisjoint(AUTH_COLUMNS)\n",
        (_SAME_ROW,),
    ),
    Mutant(
        "installed_rows_are_believed",
        "worker/intake/plan.py",
        "a row whose id was changed is left out as installed, since the other account has the connector",
        "        if not differing and known is not None and self._is_done(known):\n",
        "        if known is not None and self._is_done(known):\n",
        (_SAME_ROW,),
    ),
    Mutant(
        "swallowed_rows_are_text",
        "worker/intake/swallowed.py",
        "rows that a stray quote has swallowed are a text, and never installed",
        "        if connector and fold(connector) in self._usual.connectors:\n",
        "        if connector and connector in ():\n",
        (_SWALLOWED,),
    ),
    Mutant(
        "swallowed_rows_of_the_kind",
        "worker/intake/swallowed.py",
        "with one connector for all rows nobody sees that rows were swallowed",
        "        return self._is_account(account_id) or (is_whole and self._is_of_the_kind(account_id, cells))\n",
        "        return self._is_account(account_id)\n",
        (_SWALLOWED,),
    ),
    Mutant(
        "swallowed_keys_are_shown",
        "worker/intake/columns.py",
        "the credentials in a cell that has swallowed rows stand in the result file",
        "        return tuple(NOT_EXPORTED if cell and at >= position else cell for at, cell in enumerate(masked))\n",
        "        return masked\n",
        (_SWALLOWED,),
    ),
    Mutant(
        "moved_keys_are_shown",
        "worker/intake/swallowed.py",
        "what is left of a row behind a quote shows its credential, and asks Cyclr for a connector of that name",
        "    if line.broken or any('\"' in cell for cell in line.cells):\n",
        "    if line.broken:\n",
        (_SWALLOWED,),
    ),
    Mutant(
        "comments_swallow_rows",
        "worker/intake/files.py",
        "a comment with a quote takes the rows below it along",
        "            and not self.broken\n",
        "            and self.broken is not None\n",
        (_SWALLOWED,),
    ),
    Mutant(
        "doubted_accounts_are_created",
        "worker/intake/plan.py",
        "a date, a rounded number or a look-alike becomes a new account",
        '        is_problem = self._is_missing(row) and "account_id" not in self._options.as_written\n',
        "        is_problem = False\n",
        (_SHEETS,),
    ),
    Mutant(
        "account_that_nobody_can_call",
        "worker/cyclr/client.py",
        "an account is created under an id that no later call can name",
        "        require_account_id(account_id)\n",
        "",
        ("tests/integration/cyclr/test_client.py",),
    ),
)
