"""Texts that leave us and come back."""

import string

from worker.store.sealing import Signer

OLD, NEW = b"1" * 32, b"2" * 32


def test_what_was_signed_comes_back():
    signer = Signer({"k1": OLD}, "session")
    signed = signer.sign("key 123 ü")
    assert signer.find(signed) == "key 123 ü"
    assert set(signed) <= set(string.ascii_letters + string.digits + "-_.")


def test_a_changed_text_is_nothing():
    signer = Signer({"k1": OLD}, "session")
    signed = signer.sign("key 123")
    payload, _, mac = signed.partition(".")
    for forged in (
        "",
        ".",
        payload,
        f".{mac}",
        f"{payload}A.{mac}",
        f"{payload}.{mac}A",
        f"{mac}.{payload}",
        "ü.ü",
    ):
        assert signer.find(forged) is None


def test_a_text_for_one_purpose_is_nothing_for_another():
    assert Signer({"k1": OLD}, "form").find(Signer({"k1": OLD}, "session").sign("key 123")) is None


def test_a_new_first_key_still_knows_what_the_old_one_signed():
    signed = Signer({"k1": OLD}, "session").sign("key 123")
    assert Signer({"k2": NEW, "k1": OLD}, "session").find(signed) == "key 123"
    assert Signer({"k2": NEW}, "session").find(signed) is None
