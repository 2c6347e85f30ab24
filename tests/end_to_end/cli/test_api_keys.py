"""`cyclr-bulk api-keys`: made and shown once, listed, revoked."""

import json
from datetime import datetime, timedelta

import pytest

from tests.end_to_end.cli.desk import Desk


def create(desk: Desk, name: str, *more: str) -> str:
    said = desk.say("api-keys", "create", name, *more)
    assert said.code == 0, said.err
    desk.spoken.remove(said)  # it is the one place where the key is said
    text = said.out.strip()
    desk.secrets.add(text)
    assert text not in said.err
    assert text.startswith("cbk_")
    return text


def listed(desk: Desk) -> list[dict[str, str]]:
    keys: list[dict[str, str]] = json.loads(desk.say("api-keys", "list", "--json").out)
    return keys


def test_a_key_is_shown_once_and_listed_without_its_text(desk: Desk):
    create(desk, "Ada, onboarding", "--scope", "write", "--expires", "12h")
    [key] = listed(desk)
    assert (key["name"], key["scope"], key["revoked_at"]) == ("Ada, onboarding", "write", None)
    lasts = datetime.fromisoformat(key["expires_at"]) - datetime.fromisoformat(key["created_at"])
    assert lasts == timedelta(hours=12)
    said = desk.say("api-keys", "list")
    assert "Ada, onboarding" in said.out
    assert said.err.strip() == "1 API key."


def test_a_key_reads_for_a_year_unless_told_otherwise(desk: Desk):
    create(desk, "monitoring")
    create(desk, "for ever", "--expires", "never")
    by_name = {key["name"]: key for key in listed(desk)}
    assert by_name["monitoring"]["scope"] == "read"
    assert by_name["for ever"]["expires_at"] is None
    lasts = datetime.fromisoformat(by_name["monitoring"]["expires_at"]) - datetime.fromisoformat(
        by_name["monitoring"]["created_at"]
    )
    assert lasts == timedelta(days=365)


def test_a_revoked_key_stays_listed_as_revoked(desk: Desk):
    create(desk, "Ada")
    [key] = listed(desk)
    said = desk.say("api-keys", "revoke", key["id"])
    assert (said.code, f"API key {key['id']} is revoked" in said.err) == (0, True)
    assert listed(desk)[0]["revoked_at"] is not None
    assert "revoked 20" in desk.say("api-keys", "list").out


def test_only_a_key_that_is_there_is_revoked(desk: Desk):
    said = desk.say("api-keys", "revoke", "nowhere1")
    assert said.code == 2
    assert "There is no API key nowhere1 here." in said.err


@pytest.mark.parametrize(
    "words", [("Ada", "--expires", "soon"), ("Ada", "--expires", "0d"), ("  ",), ("Ada", "--scope", "all")]
)
def test_what_cannot_be_a_key_is_not_made(desk: Desk, words: tuple[str, ...]):
    assert desk.say("api-keys", "create", *words).code == 2
    assert listed(desk) == []
