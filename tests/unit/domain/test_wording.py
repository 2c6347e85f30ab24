import pytest

from worker.domain.words import counted, in_words, listed, rate, sentence


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (1_234_567, "1,234,567 rows")]
)
def test_counts_have_separators_and_the_right_number(count: int, text: str) -> None:
    assert counted(count, "row") == text


def test_a_plural_may_be_given() -> None:
    assert counted(1, "look before them", "looks before them") == "1 look before them"
    assert counted(2, "look before them", "looks before them") == "2 looks before them"


def test_a_list_says_how_many_it_does_not_name() -> None:
    assert listed(["acme"], 1) == "acme"
    assert listed(["acme", "globex"], 2) == "acme, globex"
    assert listed(["acme", "globex"], 1_202) == "acme, globex and 1,200 more"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1 s"),
        (8.4, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (125, "2 min 5 s"),
        (3_600, "1 h"),
        (12_030, "3 h 20 min"),
    ],
)
def test_durations_are_said_in_two_units_at_most(seconds: float, text: str) -> None:
    assert in_words(seconds) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the name is taken", "The name is taken."),
        ("Refused.", "Refused."),
        ("Why?", "Why?"),
        ("  ", ""),
        ("api_key differs", "api_key differs."),
        ("property.Region, api_key were set", "property.Region, api_key were set."),
        ("no room. go away", "No room. go away."),
    ],
)
def test_a_message_becomes_one_sentence(text: str, said: str) -> None:
    assert sentence(text) == said


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (97.44, "97.4"),
        (10.0, "10"),
        (1_200.0, "1,200"),
        (1.0, "1"),
        (0.5, "0.5"),
        (0.034, "0.034"),
        (0.0, "0"),
    ],
)
def test_a_rate_is_never_said_to_be_nothing_where_there_is_some(per_second: float, text: str) -> None:
    assert rate(per_second) == text
