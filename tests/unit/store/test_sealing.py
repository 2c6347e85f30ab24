import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.store.sealing import SealBroken, Sealer

OLD, NEW = {"old": b"1" * 32}, {"new": b"2" * 32}
texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)


@settings(max_examples=300)
@given(st.dictionaries(texts, texts, max_size=6), st.text("abc-123", max_size=16), st.integers(1, 10**9))
def test_what_is_sealed_is_opened_the_same(secrets: dict[str, str], job_id: str, row_number: int):
    sealer = Sealer(OLD)
    sealed = sealer.seal(secrets, job_id=job_id, row_number=row_number)
    assert sealer.open(sealed, job_id=job_id, row_number=row_number) == secrets


@settings(max_examples=200)
@given(st.text("abcdefghijklmnop", min_size=6, max_size=40))
def test_nothing_of_it_can_be_read(secret: str):
    sealed = Sealer(OLD).seal({"api_key": secret}, job_id="j", row_number=2)
    assert secret.encode() not in sealed
    assert b"api_key" not in sealed
    assert sealed.startswith(b"old:")


def test_the_same_secret_is_sealed_differently_every_time():
    sealer = Sealer(OLD)
    once, again = (sealer.seal({"api_key": "k"}, job_id="j", row_number=2) for _ in range(2))
    assert once != again


@pytest.mark.parametrize(("job_id", "row_number"), [("j", 3), ("k", 2), ("j/2", 2), ("", 2)])
def test_it_opens_only_for_its_own_row(job_id: str, row_number: int):
    sealed = Sealer(OLD).seal({"api_key": "k"}, job_id="j", row_number=2)
    with pytest.raises(SealBroken, match="sealed for another row, or changed"):
        Sealer(OLD).open(sealed, job_id=job_id, row_number=row_number)


def test_another_key_does_not_open_it():
    sealed = Sealer(OLD).seal({"api_key": "k"}, job_id="j", row_number=2)
    with pytest.raises(SealBroken, match="sealed with a key that is not configured"):
        Sealer(NEW).open(sealed, job_id="j", row_number=2)
    with pytest.raises(SealBroken, match="sealed for another row, or changed"):
        Sealer({"old": b"3" * 32}).open(sealed, job_id="j", row_number=2)


def test_after_a_rotation_the_first_key_seals_and_the_old_one_still_opens():
    before = Sealer(OLD).seal({"api_key": "k"}, job_id="j", row_number=2)
    rotated = Sealer(NEW | OLD)
    assert rotated.open(before, job_id="j", row_number=2) == {"api_key": "k"}
    after = rotated.seal({"api_key": "k"}, job_id="j", row_number=2)
    assert after.startswith(b"new:")
    assert Sealer(NEW).open(after, job_id="j", row_number=2) == {"api_key": "k"}


@settings(max_examples=300)
@given(st.data())
def test_any_change_of_a_byte_or_cut_is_noticed(data: st.DataObject):
    sealed = bytearray(Sealer(OLD).seal({"api_key": "k"}, job_id="j", row_number=2))
    place = data.draw(st.integers(0, len(sealed) - 1))
    if data.draw(st.booleans()):
        sealed[place] ^= data.draw(st.integers(1, 255))
    else:
        del sealed[place:]
    assert Sealer(OLD).find(bytes(sealed), job_id="j", row_number=2) is None
    with pytest.raises(SealBroken):
        Sealer(OLD).open(bytes(sealed), job_id="j", row_number=2)


def test_what_is_wiped_is_not_found():
    assert Sealer(OLD).find(None, job_id="j", row_number=2) is None
    sealed = Sealer(OLD).seal({}, job_id="j", row_number=2)
    assert Sealer(OLD).find(sealed, job_id="j", row_number=2) == {}


OVERWRITTEN = {"former": {"api_key": "old", "property.Region": None}, "shown": {"Id": 7, "Name": "Acme"}}


def test_what_was_overwritten_opens_for_its_row_and_its_purpose_alone():
    sealer = Sealer(OLD)
    sealed = sealer.seal_undo(OVERWRITTEN, job_id="j", row_number=2)
    assert sealer.open_undo(sealed, job_id="j", row_number=2) == OVERWRITTEN
    assert b"old" not in sealed.removeprefix(b"old:")
    for opened in (
        lambda: sealer.open(sealed, job_id="j", row_number=2),
        lambda: sealer.open_undo(sealed, job_id="j", row_number=3),
        lambda: sealer.open_undo(sealed, job_id="k", row_number=2),
        lambda: sealer.open_undo(
            sealer.seal({"api_key": "k"}, job_id="j", row_number=2), job_id="j", row_number=2
        ),
    ):
        with pytest.raises(SealBroken, match="sealed for another row, or changed"):
            opened()
