"""The page of a dropped file: what is asked of its check stays asked, and what may be asked further."""

import gc
import io

import httpx
import pytest
from openpyxl import Workbook

from tests.end_to_end.harness import MAIL
from tests.integration.web.site import Site, wait_until
from tests.integration.web.test_permissions import session_of, signed_in
from worker.domain.options import AS_WRITTEN_COLUMNS, RunOptions
from worker.simulator.server import SimulatorThread
from worker.web import handing_in
from worker.web.guards import FORM_TOKEN
from worker.web.pages.checks import AS_WRITTEN

CSV = "account_id,connector,api_key\nacme,Northwind Mail,key-acme-5f1c\n"
TICK = '<input type="checkbox" name="as_written" value="{}">'
GIVEN = '<input type="checkbox" name="{}" value="yes" checked>'
CHOSEN = '<input type="radio" name="operation" value="{}" checked>'
FLAGS = [
    *("no_look", "overwrite", "beside", "look_again"),
    *("replace_tokens", "assume_method", "allow_undeclared", "no_undo"),
]
TAKEN = '<input type="checkbox" name="as_written" value="{}" checked>'


class Visit:
    """Somebody who has signed in, drops a file and looks at its page."""

    def __init__(self, site: Site) -> None:
        self._site = site
        key = site.key()
        session = session_of(site, key)
        self._caller = site.app.state.access.find_caller(key)
        self._form_token = site.app.state.access.form_token(session)
        self.client = signed_in(site, session)
        self.upload_id = ""
        self.query = ""

    @property
    def address(self) -> str:
        return f"/uploads/{self.upload_id}"

    def drop(self, content: str | bytes = CSV, name: str = "accounts.csv", **options: str) -> None:
        fields = {name: (None, value) for name, value in options.items()}
        form = {FORM_TOKEN: (None, self._form_token), **fields, "file": (name, content)}
        answer = self.client.post("/jobs/new", files=form)
        assert answer.status_code == 303, answer.text
        upload_id, mark, query = answer.headers["location"].removeprefix("/uploads/").partition("?")
        self.upload_id, self.query = upload_id, mark + query

    def look(self, query: str = "") -> str:
        """The page when the check is done."""
        page = ""

        def is_checked() -> bool:
            nonlocal page
            page = self.client.get(self.address + query).text
            return "<progress" not in page

        wait_until(is_checked)
        return page

    def post(self, deed: str, **fields: object) -> httpx.Response:
        return self.client.post(f"{self.address}/{deed}", data={FORM_TOKEN: self._form_token, **fields})

    def doubt(self, options: RunOptions, *columns: str) -> None:
        """The check made with these options has found values that a spreadsheet may have made."""
        upload = self._site.waiting.find(self.upload_id, api_key_id=self._caller.key_id)
        deed = self._site.app.state.handing_in.find_check(upload, options)
        deed.result().findings.doubted.update(columns)


@pytest.fixture
def visit(site: Site) -> Visit:
    return Visit(site)


def test_there_are_words_for_every_column_that_may_be_taken_as_written():
    assert set(AS_WRITTEN) == set(AS_WRITTEN_COLUMNS)


def test_what_is_doubted_may_be_taken_as_written_and_nothing_else(visit: Visit):
    visit.drop()
    assert "as_written" not in visit.look()
    visit.doubt(RunOptions(), "account_id")
    page = visit.look()
    assert TICK.format("account_id") in page
    assert "Take account ids as they are written" in page
    assert TAKEN.format("connector_version") not in page
    assert TICK.format("connector_version") not in page
    visit.doubt(RunOptions(), "connector_version")
    assert "Take connector versions as they are written" in visit.look()


def test_what_is_ticked_is_checked_anew_and_stays_asked(visit: Visit):
    visit.drop()
    visit.look()
    visit.doubt(RunOptions(), "account_id", "connector_version")
    # Another check, which has doubts of its own; what was ticked may be taken back.
    page = visit.look("?as_written=account_id")
    assert TICK.format("account_id") not in page
    assert "<dt>Taken as written</dt><dd>account ids</dd>" in page
    assert page.count(TAKEN.format("account_id")) == 1
    visit.doubt(RunOptions(as_written=frozenset({"account_id"})), "connector_version")
    page = visit.look("?as_written=account_id")
    # The second tick goes with the first, in the one form that checks again and that starts.
    assert page.count('id="start"') == 1
    form = page.partition('id="start"')[2].partition("</form>")[0]
    assert TICK.format("connector_version") in form
    assert TAKEN.format("account_id") in form
    page = visit.look("?as_written=account_id&as_written=connector_version")
    assert "<dd>account ids and connector versions</dd>" in page


def test_a_doubted_id_is_told_with_the_tick_that_helps(visit: Visit):
    visit.drop("account_id,account_name,connector,api_key\n12345.0,New,Northwind Mail,k\n")
    page = visit.look()
    assert "write the id that is meant, or tick “Take account ids as they are written” above" in page
    assert TICK.format("account_id") in page
    assert "--as-written" not in page


def test_a_file_without_a_connector_is_told_with_the_field_that_helps(visit: Visit):
    visit.drop("account_id,api_key\nacme,key-acme-5f1c\n")
    page = visit.look()
    assert "got neither: add it, or name one connector for all rows above" in page
    assert '<label for="connector">One connector for all rows</label>' in page
    assert "--connector" not in page


def test_warnings_of_the_check_stay_with_the_job(visit: Visit):
    visit.drop("account_id,connector,api_key,colour\nacme,Northwind Mail,key-acme-5f1c,red\n")
    visit.look()
    visit.post("start")
    visit.look()
    [job] = visit.client.get("/v1/jobs").json()["jobs"]
    page = visit.client.get(f"/jobs/{job['id']}").text
    warnings = page.partition('id="warnings"')[2].partition("</details>")[0]
    assert "1 warning of the check" in warnings
    assert "<code>colour</code>" in warnings
    assert "unknown, it is ignored" in warnings


def test_a_tick_and_a_connector_for_all_rows_keep_each_other(visit: Visit):
    visit.drop("account_id,api_key\nacme,key-acme-5f1c\n")
    query = "?connector=Northwind+Mail&as_written=account_id"
    page = visit.look(query)
    assert page.count(TAKEN.format("account_id")) == 1
    visit.doubt(RunOptions(connector=MAIL, as_written=frozenset({"account_id"})), "connector_version")
    form = visit.look(query).partition('id="start"')[2].partition("</form>")[0]
    assert 'name="connector" value="Northwind Mail"' in form
    assert TAKEN.format("account_id") in form
    assert TICK.format("connector_version") in form


def test_a_check_that_failed_is_made_again_with_what_was_asked(visit: Visit, simulator: SimulatorThread):
    simulator.call(lambda world: setattr(world.switches, "reject_credentials", True))
    visit.drop()
    page = visit.look("?as_written=connector_version&overwrite=yes&connector=Mail")
    form = page.partition('id="start"')[2].partition("</form>")[0]
    assert f'formaction="{visit.address}/check"' in form
    assert TAKEN.format("connector_version") in form
    assert GIVEN.format("overwrite") in form
    assert '<input type="hidden" name="connector" value="Mail">' in form
    assert 'id="do-start"' not in form
    again = visit.post("check", as_written=["connector_version"], connector="Mail", overwrite="yes")
    assert (
        again.headers["location"]
        == f"{visit.address}?connector=Mail&overwrite=yes&as_written=connector_version"
    )


def test_what_is_to_be_done_and_how_is_chosen_with_the_file_and_stays_chosen(visit: Visit):
    page = visit.client.get("/jobs/new").text
    assert CHOSEN.format("install") in page
    assert all(f'name="{name}" value="yes"' in page for name in FLAGS)
    visit.drop(operation="update", replace_tokens="yes")
    assert visit.query == "?operation=update&replace_tokens=yes"
    form = visit.look(visit.query).partition('id="start"')[2].partition("</form>")[0]
    assert CHOSEN.format("update") in form
    assert [name for name in FLAGS if GIVEN.format(name) in form] == ["replace_tokens"]
    assert "Changes connectors that are there to what the file says. Nothing is created." in form
    assert "Keep nothing of what is overwritten: it cannot be put back then." in form


def test_a_start_with_other_options_than_those_of_the_check_is_checked_first(visit: Visit):
    visit.drop()
    visit.look()
    answer = visit.post("start", overwrite="yes")
    assert answer.headers["location"] == f"{visit.address}?overwrite=yes"
    assert visit.client.get("/v1/jobs").json()["jobs"] == []
    page = visit.look("?overwrite=yes")
    assert '<input type="hidden" name="checked" value="overwrite=yes">' in page
    assert (
        "<dt>Values overwritten</dt><dd>1<small>at most; what they were is kept for 72 h</small></dd>" in page
    )
    visit.post("start", overwrite="yes", checked="overwrite=yes", first="1")
    wait_until(lambda: visit.client.get(f"{visit.address}?overwrite=yes").status_code == 303)
    [job] = visit.client.get("/v1/jobs").json()["jobs"]
    assert job["options"]["overwrite"] is True


def test_options_that_do_not_go_together_are_told_where_they_are_ticked_and_nothing_is_checked(
    visit: Visit, simulator: SimulatorThread
):
    visit.drop()
    before = len(simulator.ledger.calls)
    page = visit.look("?no_look=yes&overwrite=yes&connector=Mail")
    assert "These options do not go together." in page
    told = page.partition('id="fault-overwrite">')[2].partition("<")[0]
    assert told == "Overwrite needs the look that No look leaves out: give one of the two."
    assert (
        'name="overwrite" value="yes" checked aria-invalid="true" aria-describedby="fault-overwrite"' in page
    )
    assert '<input type="hidden" name="connector" value="Mail">' in page
    assert 'id="do-start"' not in page
    for deed in ("start", "check"):
        answer = visit.post(deed, no_look="yes", overwrite="yes", checked="no_look=yes&overwrite=yes")
        assert answer.headers["location"] == f"{visit.address}?no_look=yes&overwrite=yes"
    assert visit.client.get("/v1/jobs").json()["jobs"] == []
    assert len(simulator.ledger.calls) == before


def test_an_option_that_is_none_is_refused_and_another_field_is_left_alone(visit: Visit):
    visit.drop()
    assert visit.client.get(f"{visit.address}?operation=remove").status_code == 422
    assert visit.client.get(f"{visit.address}?overwrite=maybe").status_code == 422
    assert visit.client.get(f"{visit.address}?connector=a%00").status_code == 422
    assert visit.client.get(f"{visit.address}?from=mail").status_code == 200


def test_a_check_that_failed_is_told_on_the_page_and_not_in_the_log(
    visit: Visit, simulator: SimulatorThread, caplog: pytest.LogCaptureFixture
):
    simulator.call(lambda world: setattr(world.switches, "reject_credentials", True))
    visit.drop()
    assert "Cyclr refuses CYCLR_CLIENT_ID and CYCLR_CLIENT_SECRET" in visit.look()
    # An exception that nobody has looked at is logged with its text when it is cleared away.
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_start_takes_as_written_what_its_form_says(visit: Visit):
    visit.drop()
    visit.look("?as_written=account_id")
    # Only the check made with this has a problem.
    visit.doubt(RunOptions(as_written=frozenset({"account_id"})), "account_id")
    started = visit.post("start", as_written=["account_id"], checked="as_written=account_id")
    assert started.headers["location"] == f"{visit.address}?as_written=account_id"
    wait_until(lambda: visit.client.get(started.headers["location"]).status_code == 303)
    assert "/jobs/" in visit.client.get(started.headers["location"]).headers["location"]


def test_a_column_that_cannot_be_taken_as_written_is_told_so(visit: Visit):
    visit.drop()
    assert visit.client.get(f"{visit.address}?as_written=name").status_code == 422
    assert visit.post("start", as_written=["name"]).status_code == 422


def test_the_page_names_the_first_accounts_that_are_created(visit: Visit):
    rows = [f"new-{number},Northwind Mail,key-1,Ltd\n" for number in range(1, 8)]
    visit.drop("account_id,connector,api_key,account_name\n" + "".join(rows))
    page = visit.look()
    told = "7, created first: new-1, new-2, new-3, new-4, new-5 and 2 more"
    assert f"<dt>New accounts</dt><dd>{told}</dd>" in page
    assert "7 installs, 7 to create accounts" in page


def test_a_page_says_so_where_too_many_files_are_being_checked(visit: Visit, monkeypatch: pytest.MonkeyPatch):
    visit.drop()
    visit.look()
    monkeypatch.setattr(handing_in, "MOST_WAITING", 0)
    for answer in (visit.post("start"), visit.post("check", connector=MAIL)):
        assert answer.status_code == 503
        assert "Too many files are being checked just now. Try again in a moment." in answer.text


def workbook(*sheets: str) -> bytes:
    """Each sheet has one row, of an account that is called like the sheet."""
    book = Workbook()
    book.remove(book.active)
    for name in sheets:
        page = book.create_sheet(name)
        page.append(["account_id", "connector", "api_key"])
        page.append([name, "Northwind Mail", "key-5f1c"])
    kept = io.BytesIO()
    book.save(kept)
    return kept.getvalue()


def test_a_workbook_has_a_menu_of_its_sheets(visit: Visit) -> None:
    visit.drop(workbook("acme", "globex"), name="accounts.xlsx")
    page = visit.look()
    # What is shown is not asked for, so that it can be started as it stands.
    assert '<option value="" selected>acme</option><option value="globex">globex</option>' in page
    assert '<td class="cell">acme</td>' in page
    page = visit.look("?sheet=globex")
    assert '<option value="acme">acme</option><option value="globex" selected>globex</option>' in page
    assert '<td class="cell">globex</td>' in page


def test_a_file_without_sheets_has_no_menu_of_them(visit: Visit) -> None:
    visit.drop()
    assert 'name="sheet"' not in visit.look()


def test_columns_of_other_names_are_shown_with_three_values_and_a_menu_of_what_they_are(visit: Visit) -> None:
    rows = "".join(f"acme-{number};Northwind Mail;key-{number}-5f1c\n" for number in range(4))
    visit.drop(f"Kontonummer;Konnektor;API-Schlüssel\n{rows}")
    page = visit.look()
    assert "perhaps &#39;Kontonummer&#39; is account_id" in page
    assert "or choose below what each column is" in page
    assert '<option value="" selected>by its name: not used</option>' in page
    assert '<option value="Kontonummer=account_id">account_id (perhaps)</option>' in page
    assert page.count('<td class="cell">acme-') == 3
    assert page.count('<td class="cell masked">hidden</td>') == 3
    assert "5f1c" not in page

    answer = visit.post(
        "check", map=["Kontonummer=account_id", "Konnektor=connector", "API-Schlüssel=api_key", ""]
    )
    query = answer.headers["location"].removeprefix(visit.address)
    page = visit.look(query)
    assert '<option value="Kontonummer=account_id" selected>account_id</option>' in page
    assert "All 4 rows have problems." in page  # there are no such accounts
    assert "5f1c" not in page


def test_the_rows_with_problems_can_be_downloaded_without_their_secrets(visit: Visit) -> None:
    visit.drop(CSV + ",Northwind Mail,key-2-5f1c\n")
    page = visit.look()
    assert f'href="{visit.address}/problems.csv"' in page
    answer = visit.client.get(f"{visit.address}/problems.csv")
    assert answer.headers["content-disposition"].startswith('attachment; filename="accounts.problems.csv"')
    assert answer.content.decode("utf-8-sig").splitlines() == [
        "row,account_id,connector,_problems",
        '3,,Northwind Mail,"column account_id: expected an account id, got an empty cell"',
    ]
    answer = visit.client.get(f"{visit.address}/problems.csv?no_look=yes")
    assert answer.status_code == 409  # nothing was checked with these options
    visit.drop()
    assert "problems.csv" not in visit.look()
