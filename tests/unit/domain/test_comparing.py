"""A row beside what its account has: how each field stands, and what is done about it. Names, never values."""

import pytest

from worker.domain.comparing import (
    Change,
    Decision,
    OwnCalls,
    Rights,
    compare,
    decide,
    fields_of,
    is_living,
    is_same,
    outcome_of,
)
from worker.domain.connectors import AccountConnector, InstalledProperty
from worker.domain.states import Code
from worker.domain.steps import CREDENTIAL, NEW_PROPERTY, PROPERTY

MASK = "********"


def found(**fields: object) -> AccountConnector:
    values: dict[str, object] = {
        "id": 7,
        "name": "Mail",
        "connector_name": "Mail",
        "is_authenticated": True,
        "auth_value": "key-1",
        "description": "Main",
        "properties": (InstalledProperty("Region", "EU", 41), InstalledProperty("Extra", "x", 42)),
    }
    return AccountConnector(**(values | fields))  # type: ignore[arg-type]


def with_region(value: str | None) -> AccountConnector:
    return found(properties=(InstalledProperty("Region", value, 41),))


BARE = found(auth_value=None, is_authenticated=False, properties=(), description=None)
ROW = {"api_key": "key-1", "property.Region": "EU", "description": "Main"}
TOKENS = {"access_token": "a-1", "refresh_token": "r-1"}
OVERWRITE = Rights(overwrites=True)
OURS = Rights(is_ours=True)
SET_KEY = Change(CREDENTIAL, ("api_key",))
SET_REGION = Change(PROPERTY, ("property.Region",), 41)
ADD_REGION = Change(NEW_PROPERTY, ("property.Region",))


def test_the_fields_of_a_row_are_its_columns_and_its_description() -> None:
    assert fields_of({"api_key": "k"}, "Main") == {"api_key": "k", "description": "Main"}
    assert fields_of({"api_key": "k"}, None) == {"api_key": "k"}
    assert fields_of({}, "") == {"description": ""}


# How a field stands.


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        ("EU", "EU"),
        (" EU ", "EU"),
        ("True", "true"),
        ("FALSE", "false "),
        ('{"a":1,"b":[2]}', '{ "b": [2], "a": 1 }'),
        ("[]", "[ ]"),
    ],
)
def test_values_are_the_same(shown: str, asked: str) -> None:
    assert is_same(shown, asked)


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        ("EU", "eu"),
        ("true", "false"),
        ("true", "1"),
        ("1", "1.0"),
        ('{"a":true}', '{"a":1}'),
        ('{"a":1}', '{"a":2}'),
        ("{" * 9, "{" * 8),
        ("[" * 5_000, "[" * 5_001),
        ("", "EU"),
    ],
)
def test_values_are_not_the_same(shown: str, asked: str) -> None:
    assert not is_same(shown, asked)


@pytest.mark.parametrize(
    ("there", "standings"),
    [
        (found(), ["same", "same", "same"]),
        (found(auth_value="key-2"), ["other", "same", "same"]),
        (found(auth_value="key-2", is_authenticated=False), ["other", "same", "same"]),
        (found(auth_value=None), ["not_shown", "same", "same"]),
        (found(auth_value=""), ["not_shown", "same", "same"]),
        (found(auth_value=MASK), ["not_shown", "same", "same"]),
        (found(auth_value="key-***"), ["not_shown", "same", "same"]),
        (found(auth_value="•••••"), ["not_shown", "same", "same"]),
        (found(auth_value=None, is_authenticated=False), ["missing", "same", "same"]),
        # It is there and does not authenticate: it may, once it is set again.
        (found(is_authenticated=False), ["missing", "same", "same"]),
        (with_region("US"), ["same", "other", "same"]),
        (with_region(MASK), ["same", "not_shown", "same"]),
        (with_region(""), ["same", "missing", "same"]),
        (with_region(None), ["same", "missing", "same"]),
        (found(properties=(InstalledProperty("region", "EU", 41),)), ["same", "missing", "same"]),
        (found(properties=()), ["same", "missing", "same"]),
        (found(description=None), ["same", "same", "other"]),
        (found(description="Other"), ["same", "same", "other"]),
    ],
)
def test_each_field_stands_in_one_of_four_ways(there: AccountConnector, standings: list[str]) -> None:
    assert list(compare(there, ROW).values()) == standings


def test_what_cyclr_is_known_to_show_otherwise_is_not_shown() -> None:
    there = found(auth_value="KEY-1", properties=(), description="MAIN")
    assert list(compare(there, ROW, ("api_key", "property.Region", "description")).values()) == [
        "not_shown",
        "not_shown",
        "not_shown",
    ]
    # What shows the value shows it, and where nothing authenticates nothing is set.
    assert compare(found(), ROW, tuple(ROW)) == dict.fromkeys(ROW, "same")
    assert compare(BARE, {"api_key": "key-1"}, ("api_key",)) == {"api_key": "missing"}


def test_a_login_is_compared_as_it_is_sent_and_named_by_both_columns() -> None:
    row = {"username": "svc", "password": "pw"}
    assert compare(found(auth_value="c3ZjOnB3"), row) == {"username": "same", "password": "same"}
    assert compare(found(auth_value="c3ZjOnB4"), row) == {"username": "other", "password": "other"}


def test_an_empty_description_is_none() -> None:
    assert compare(found(description=None), {"description": ""}) == {"description": "same"}


@pytest.mark.parametrize(
    "row",
    [TOKENS, {"access_token": "a-1"}, {"auth_value": '{"AccessToken": "a-1"}'}],
)
def test_living_credentials_are_never_compared(row: dict[str, str]) -> None:
    assert is_living(row)
    for there in (found(auth_value=None), found(), found(auth_value='{"AccessToken": "a-1"}')):
        assert set(compare(there, row).values()) == {"not_shown"}
    assert set(compare(found(is_authenticated=False), row).values()) == {"missing"}


@pytest.mark.parametrize("row", [{"api_key": "k"}, {"auth_value": "{}"}, {"auth_value": "AccessToken"}, {}])
def test_other_credentials_are_static(row: dict[str, str]) -> None:
    assert not is_living(row)


# What is done: the table of `run`.


def decided(
    there: AccountConnector,
    row: dict[str, str] = ROW,
    rights: Rights = Rights(),  # noqa: B008 - a value
    past: OwnCalls = OwnCalls(),  # noqa: B008
    shown_otherwise: tuple[str, ...] = (),
) -> Decision:
    return decide(there, row, rights, past, shown_otherwise)


def test_what_is_there_as_asked_is_left_alone() -> None:
    assert decided(found()) == Decision()
    assert decided(found(), {}) == Decision()


def test_what_is_missing_is_set_properties_first() -> None:
    assert decided(BARE, {"api_key": "key-1", "property.Region": "EU"}) == Decision((ADD_REGION, SET_KEY))
    assert decided(with_region(""), {"property.Region": "EU"}) == Decision((SET_REGION,))
    assert decided(found(auth_value=None, is_authenticated=False), ROW) == Decision((SET_KEY,))


def test_nothing_at_all_is_set_beside_another_value() -> None:
    there = found(
        auth_value=None, is_authenticated=False, properties=(InstalledProperty("Region", "US", 41),)
    )
    assert decided(there) == Decision(differs=("property.Region",), refusal=Code.DIFFERS)
    there = found(auth_value="key-2", properties=(), description="Other")
    assert decided(there) == Decision(differs=("api_key", "description"), refusal=Code.DIFFERS)


def test_another_description_alone_is_named_and_left_alone() -> None:
    assert decided(found(description="Other")) == Decision(differs=("description",))
    there = found(description=None, auth_value=None, is_authenticated=False)
    assert decided(there) == Decision((SET_KEY,), differs=("description",))


def test_what_is_not_shown_is_named_and_left_alone() -> None:
    there = found(auth_value=None, properties=(InstalledProperty("Region", MASK, 41),))
    assert decided(there) == Decision(differs=("api_key (not shown)", "property.Region (not shown)"))


@pytest.mark.parametrize("rights", [OVERWRITE, OURS])
def test_other_values_are_set_where_that_is_asked_for_or_the_row_has_made_it(rights: Rights) -> None:
    there = found(
        auth_value="key-2", properties=(InstalledProperty("Region", "US", 41),), description="Other"
    )
    both = Change(CREDENTIAL, ("api_key", "description"))
    assert decided(there, rights=rights) == Decision((SET_REGION, both))


@pytest.mark.parametrize("rights", [OVERWRITE, OURS])
def test_what_is_not_shown_counts_as_another_value_then(rights: Rights) -> None:
    there = found(auth_value=None, properties=(InstalledProperty("Region", MASK, 41),))
    assert decided(there, rights=rights) == Decision((SET_REGION, SET_KEY))


def test_what_the_row_does_not_name_is_never_set() -> None:
    there = found(
        auth_value="key-2", properties=(InstalledProperty("Region", "US", 41),), description="Other"
    )
    row = {"property.Region": "EU"}
    assert decided(there, row, OVERWRITE) == Decision((SET_REGION,))


def test_a_credential_is_not_set_where_the_method_is_unknown() -> None:
    unknown = Rights(knows_method=False)
    refused = Decision(differs=("api_key",), refusal=Code.METHOD_UNKNOWN)
    assert decided(BARE, rights=unknown, row={"api_key": "key-1", "property.Region": "EU"}) == refused
    assert decided(found(auth_value="key-2"), rights=Rights(overwrites=True, knows_method=False)) == refused
    # Where none is set it does not matter, nor in what the row has made.
    assert decided(found(), rights=unknown) == Decision()
    assert decided(found(properties=()), rights=unknown) == Decision((ADD_REGION,))
    assert decided(BARE, {"api_key": "k"}, Rights(is_ours=True, knows_method=False)) == Decision((SET_KEY,))


# What the row's own calls have come to.


def set_by_us(*names: str) -> OwnCalls:
    return OwnCalls(is_set=frozenset(names))


def test_what_was_set_and_is_not_shown_is_not_set_again() -> None:
    there = found(auth_value=None, properties=(InstalledProperty("Region", MASK, 41),))
    past = set_by_us("api_key", "property.Region")
    assert decided(there, past=past) == Decision()
    assert decided(there, rights=OVERWRITE, past=past) == Decision()


def test_what_cyclr_made_of_a_value_is_not_set_again() -> None:
    there = found(properties=(InstalledProperty("Region", "Europe", 41),))
    region = ("property.Region",)
    assert decided(there, rights=OVERWRITE, past=set_by_us(*region), shown_otherwise=region) == Decision()


def test_a_credential_that_does_not_authenticate_is_set_once() -> None:
    there = found(auth_value=None, is_authenticated=False)
    assert decided(there, past=set_by_us("api_key")) == Decision()
    assert decided(found(is_authenticated=False), past=set_by_us("api_key")) == Decision()


@pytest.mark.parametrize("was", ["other", "not_shown", "missing"])
def test_what_may_have_been_replaced_is_set_again_where_it_is_not_shown(was: str) -> None:
    sent = OwnCalls(before={"api_key": was})
    assert decided(found(auth_value=None), rights=OVERWRITE, past=sent) == Decision((SET_KEY,))


def test_where_there_was_nothing_what_is_there_counts_as_set_and_nothing_is_overwritten() -> None:
    sent = OwnCalls(before={"api_key": "missing", "property.Region": "missing"})
    there = found(auth_value=None, properties=(InstalledProperty("Region", MASK, 41),))
    assert decided(there, past=sent) == Decision()
    assert decided(there, past=sent).as_asked == ("api_key", "property.Region", "description")


def test_another_value_is_left_alone_though_it_was_missing_before_our_call() -> None:
    # Somebody else has set it meanwhile.
    sent = OwnCalls(before={"api_key": "missing"})
    refused = Decision(differs=("api_key",), refusal=Code.DIFFERS)
    assert decided(found(auth_value="key-2"), past=sent) == refused


# Living credentials.

SET_TOKENS = Change(CREDENTIAL, ("access_token", "refresh_token"))
LEFT = ("access_token (not shown)", "refresh_token (not shown)")
REPLACE = Rights(overwrites=True, replaces_tokens=True)


def test_tokens_are_set_where_nothing_authenticates() -> None:
    assert decided(BARE, TOKENS) == Decision((SET_TOKENS,))


@pytest.mark.parametrize("rights", [Rights(), OVERWRITE, Rights(replaces_tokens=True)])
def test_tokens_that_are_there_stay(rights: Rights) -> None:
    assert decided(found(auth_value=None), TOKENS, rights) == Decision(differs=LEFT)


def test_tokens_are_replaced_where_both_options_say_so() -> None:
    assert decided(found(auth_value=None), TOKENS, REPLACE) == Decision((SET_TOKENS,))


def maybe_sent(was: str, former: str | None = None, *, knows_former: bool = True) -> OwnCalls:
    before = {"access_token": was, "refresh_token": was}
    return OwnCalls(before=before, former_auth_value=former, knows_former=knows_former)


@pytest.mark.parametrize(
    ("there", "past"),
    [
        (found(auth_value=None), maybe_sent("missing")),
        (found(auth_value="renewed"), maybe_sent("missing", knows_former=False)),
        (found(auth_value="renewed"), maybe_sent("not_shown", "the-old-ones")),
        (found(auth_value=None), maybe_sent("not_shown", "the-old-ones")),
    ],
)
def test_tokens_that_may_have_been_sent_count_as_set_where_others_are_there(
    there: AccountConnector, past: OwnCalls
) -> None:
    assert decided(there, TOKENS, REPLACE, past) == Decision()


def test_tokens_are_sent_again_where_the_former_ones_are_there_yet() -> None:
    there = found(auth_value="the-old-ones")
    assert decided(there, TOKENS, REPLACE, maybe_sent("not_shown", "the-old-ones")) == Decision((SET_TOKENS,))
    there = found(auth_value=None, is_authenticated=False)
    assert decided(there, TOKENS, past=maybe_sent("missing")) == Decision((SET_TOKENS,))


@pytest.mark.parametrize(
    ("there", "past"),
    [
        (found(auth_value=None), maybe_sent("not_shown", None)),
        (found(auth_value=MASK), maybe_sent("not_shown", MASK)),
        (found(auth_value="some"), maybe_sent("not_shown", knows_former=False)),
    ],
)
def test_tokens_are_never_sent_twice_where_nobody_can_tell(there: AccountConnector, past: OwnCalls) -> None:
    refused = Decision(differs=("access_token", "refresh_token"), refusal=Code.OUTCOME_UNKNOWN)
    assert decided(there, TOKENS, REPLACE, past) == refused


# How a row ends.


@pytest.mark.parametrize(
    ("before", "changed", "outcome"),
    [
        ({}, (), "unchanged"),
        ({"api_key": "missing"}, (), "unchanged"),
        ({"api_key": "missing", "property.X": "missing"}, ("api_key", "property.X"), "filled_in"),
        ({"api_key": "missing", "property.X": "other"}, ("api_key", "property.X"), "updated"),
        ({"api_key": "missing", "property.X": "other"}, ("api_key",), "filled_in"),
        ({"property.X": "not_shown"}, ("property.X",), "updated"),
    ],
)
def test_the_outcome_is_by_what_was_there_before(
    before: dict[str, str], changed: tuple[str, ...], outcome: str
) -> None:
    assert outcome_of(before, changed) == outcome
