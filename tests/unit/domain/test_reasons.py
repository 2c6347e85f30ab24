from worker.domain.reasons import cut, in_common, reason_key


def together(one: str, other: str) -> str | None:
    """What both messages say; None where they are two reasons."""
    if key(one) != key(other):
        return None
    return "".join(in_common(cut(one), cut(other)))


def key(message: str | None, code: str = "refused", http_status: int | None = 400) -> str:
    return reason_key(code, http_status, message, can_retry_help=False)


def test_messages_that_differ_in_a_quoted_name_are_one_reason() -> None:
    taken = "the Name '{}' is taken in this account by another connector, 'Tidewater Ledger'"
    assert together(taken.format("Northwind Mail"), taken.format("O'Brien's Mail")) == (
        "the Name '…' is taken in this account by another connector, 'Tidewater Ledger'"
    )


def test_messages_that_differ_in_a_number_or_an_id_are_one_reason() -> None:
    assert (
        together(
            "Connector 5122 is a draft in account customer-0001.",
            "Connector 88 is a draft in account 2d077583-5c99-535b-9adc-c19b82e79859.",
        )
        == "Connector … is a draft in account …."
    )


def test_a_message_of_its_own_stays_as_it_is() -> None:
    message = "The plan includes 3 connectors."
    assert together(message, message) == message


def test_an_apostrophe_in_a_word_is_no_quote() -> None:
    assert together("The account's plan doesn't allow it.", "The account's plan doesn't exist.") is None


def test_another_code_status_or_use_of_a_retry_is_another_reason() -> None:
    alike = {key("same"), key("same", code="no_answer"), key("same", http_status=None)}
    alike.add(reason_key("refused", 400, "same", can_retry_help=True))
    assert len(alike) == 4


def test_no_message_and_half_a_character_have_reasons_too() -> None:
    assert len(key(None)) == len(key("\ud800")) == 32


def test_what_they_have_in_common_only_shrinks() -> None:
    seen = in_common(cut("account a1 has 3"), cut("account a2 has 3"))
    assert "".join(seen) == "account … has 3"
    assert "".join(in_common(seen, cut("account a1 has 4"))) == "account … has …"
