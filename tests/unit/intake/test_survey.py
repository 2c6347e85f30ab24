from tests.unit.intake.making import OPTIONS, source
from worker.domain.connectors import ConnectorRef
from worker.domain.options import RunOptions
from worker.intake import SurveyedAccount, survey


def problems(text, options=OPTIONS):
    return [str(problem) for problem in survey(source(text), options).problems]


def test_counts_what_a_file_holds():
    found = survey(
        source(
            "account_id,connector,connector_version,account_name\n"
            "acme,MailChimp,,\n# note\n\nbeta,Desk,v2,Beta\nacme,MailChimp,,Acme\n,MailChimp,,\n"
        ),
        OPTIONS,
    )
    assert (found.lines, found.rows, found.refused, found.empty, found.comments) == (6, 4, 1, 1, 1)
    assert found.connectors == {ConnectorRef("MailChimp"): 2, ConnectorRef("Desk", "v2"): 5}
    assert list(found.accounts) == [
        SurveyedAccount("acme", first_row=2, has_columns=True),
        SurveyedAccount("beta", first_row=5, has_columns=True),
    ]
    assert found.problems == ()


def test_a_file_without_rows_is_a_problem():
    assert problems("account_id,connector\n") == ["expected rows below the header, got none"]
    assert problems("account_id,connector\n#a,b\n#c,d\n") == [
        "expected rows below the header, got none; 2 lines begin with # and are skipped"
    ]


def test_a_connector_has_to_come_from_somewhere():
    assert problems("account_id\nacme\n") == [
        "column connector: expected this column, or one connector named for all rows, got neither: add it"
    ]
    assert problems("account_id\nacme\n", RunOptions(connector="MailChimp")) == []


def test_the_number_of_connectors_is_bounded():
    rows = "".join(f"acme,c{n}\n" for n in range(1_001))
    assert problems("account_id,Connector\n" + rows) == [
        "column Connector: expected at most 1,000 different connectors, got more; is it the right column?"
    ]
