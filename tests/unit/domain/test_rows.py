import json

from worker.domain.rows import Problem, auth_value, properties
from worker.domain.targets import target_key


def test_basic_credentials_are_sent_as_base64_of_utf8():
    assert auth_value({"username": "zoë", "password": "pä:ss"}) == "em/Dqzpww6Q6c3M="


def test_own_tokens_are_sent_as_the_json_string_that_cyclr_documents():
    sent = auth_value({"access_token": "a", "refresh_token": "r", "expires": "2027-01-01T00:00:00Z"})
    assert json.loads(sent) == {"AccessToken": "a", "RefreshToken": "r", "Expires": "2027-01-01T00:00:00Z"}


def test_auth_value_and_api_key_are_sent_as_they_are():
    assert auth_value({"auth_value": "{}"}) == "{}"
    assert auth_value({"api_key": "k"}) == "k"


def test_no_credential_is_none():
    assert auth_value({"property.Region": "eu"}) is None


def test_properties_are_named_by_their_target_name():
    assert properties({"property.Region": "eu", "api_key": "k"}) == {"Region": "eu"}


def test_a_problem_says_where_as_the_spreadsheet_shows_it():
    problem = Problem(14, "account_id", "expected an account id, got an empty cell")
    assert str(problem) == "row 14, column account_id: expected an account id, got an empty cell"


def test_targets_ignore_case_width_and_outer_space():
    assert target_key("i", " Acme ", "MailChimp") == target_key("i", "acme", "ｍａｉｌchimp ")


def test_targets_of_different_names_or_instances_differ():
    assert len({target_key("i", "a", "n"), target_key("i", "a", "m"), target_key("j", "a", "n")}) == 3


def test_account_and_name_cannot_run_into_each_other():
    assert target_key("i", "ab", "c") != target_key("i", "a", "bc")
