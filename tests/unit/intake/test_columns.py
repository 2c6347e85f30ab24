import pytest

from tests.unit.intake.making import faults, source
from worker.intake.columns import canonical


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Account ID", "account_id"),
        (" ACCOUNT-NAME ", "account_name"),
        ("api\u00a0key", "api_key"),
        ("Property.ClientId", "property.ClientId"),
        ("PROPERTY. a.B-c d", "property.a.B-c d"),
        ("_State", "_state"),
    ],
)
def test_compares_names_without_case_and_keeps_the_case_of_a_target_name(typed, name):
    assert canonical(typed) == name


def test_warns_of_unknown_columns_by_name_with_a_guess():
    found = source("account_id,Apikey,Colour,_id\nacme,x,red,1\n")
    assert [str(warning) for warning in found.warnings] == [
        "column Apikey: unknown, it is ignored, its values are not exported; did you mean api_key?",
        "columns Colour, _id are unknown, they are ignored",
    ]


def test_columns_that_say_the_same_are_told_once():
    unknown = ",".join(f"own {number}" for number in range(297))
    found = source(f"account_id,my secret,{unknown},,,,other key\nacme{',x' * 302}\n")
    assert [str(warning) for warning in found.warnings] == [
        "columns 300, 301, 302 have no names and are ignored",
        "columns my secret, other key are unknown, they are ignored, their values are not exported",
        "columns own 0, own 1, own 2, own 3, own 4, own 5, own 6, own 7, own 8, own 9 and 287 more are unknown, "
        "they are ignored",
    ]
    assert [warning.count for warning in found.warnings] == [3, 2, 297]


@pytest.mark.parametrize("more", ["", "_changed,"])  # the version before had no `_changed`
def test_the_columns_of_a_result_file_are_known(more: str):
    found = source(
        "account_id,_job,_row,_state,_outcome,_code,_message,_account_connector_id,_attempts,"
        f"_authenticated,_differs,{more}_account_created\n"
    )
    assert found.warnings == ()
    assert found.header.is_result


def test_an_unnamed_column_is_a_warning_and_one_at_the_end_is_none():
    found = source("account_id,,name,,\nacme,x,y,,\n")
    assert found.columns == ("account_id", "", "name")
    assert [str(warning) for warning in found.warnings] == ["column 2 has no name and is ignored"]


def test_the_same_column_twice_is_a_problem_however_it_is_written():
    assert faults("account_id,API key,api-key\n") == [
        "column api_key: expected it once, got it as 'API key' and as 'api-key'"
    ]


def test_properties_that_differ_in_case_are_two():
    assert faults("account_id,property.region,property.Region\n") == []
    assert faults("account_id,property.region,Property.region\n") == [
        "column property.region: expected it once, got it as 'property.region' and as 'Property.region'"
    ]


def test_a_property_needs_a_name():
    assert faults("account_id,property.\n") == [
        "column property.: expected the TargetName of a property after the dot"
    ]


def test_without_account_id_it_names_what_was_found():
    assert faults("account,Connector\n") == [
        "column account_id: expected this column, got account, Connector"
    ]


def test_a_file_without_a_header_shows_none_of_its_data():
    assert faults("acme,MailChimp,sk_live_1\n") == [
        "column account_id: expected this column, got a first line of 3 cells that begins with 'acme' "
        "and holds no column name; is the header missing?"
    ]
    assert faults("acme:MailChimp:sk_live_1\n") == [
        "column account_id: expected this column, got a first line of 1 cell and holds no column name; "
        "is the header missing?"
    ]
