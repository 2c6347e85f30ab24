import pytest

from worker.domain.targets import look_alike, skeleton, why_no_account_id


@pytest.mark.parametrize(
    "account_id",
    ["acme-1", "00123", "snjallgogn.is", "JO Test 1", "a/b?c=1", "Müller", "株式会社", "a" * 300],
)
def test_visible_characters_and_plain_spaces_make_an_id(account_id):
    assert why_no_account_id(account_id) is None


@pytest.mark.parametrize(
    ("account_id", "said"),
    [
        ("ac\u00a0me", "an account id cannot hold an invisible character (U+00A0): type the id anew"),
        ("ac\u200bme", "an account id cannot hold an invisible character (U+200B): type the id anew"),
        ("ac\u2028me", "an account id cannot hold an invisible character (U+2028): type the id anew"),
        ("\u202eacme", "an account id cannot hold an invisible character (U+202E): type the id anew"),
        ("a\nb", "an account id cannot hold an invisible character (U+000A): type the id anew"),
        ("", "an account id cannot be empty"),
        (" ", "an account id cannot be empty"),
        ("..", "'..' cannot be an account id: an address cannot name it"),
    ],
)
def test_what_no_call_could_name_is_no_id(account_id, said):
    assert why_no_account_id(account_id) == said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme-1", "acme\u20131"),
        ("acme-1", "acme\u22121"),
        ("acme-1", "acme 1"),
        ("acme-1", "acme1"),
        ("acme-1", "acme_1"),
        ("acme-1", "acme - 1"),
        ("acme-1", "аcme-1"),
        ("acme-1", "acme-l"),
        ("acme-10", "acme-1O"),
        ("2024-001", "2024001"),
        ("ACME-1", "acme\u20131"),
    ],
)
def test_ids_that_a_person_takes_for_each_other_look_alike(one, other):
    assert look_alike(one, other)
    assert look_alike(other, one)
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("acme-1", "acme-1"),
        ("acme-1", "ACME-1"),
        ("1-11", "11-1"),
        ("acme-1", "acme-2"),
        ("a.1", "a1"),
        ("Müller", "Muller"),
    ],
)
def test_others_do_not(one, other):
    assert not look_alike(one, other)
