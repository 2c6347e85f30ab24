import pytest

from worker.cli.place import NotAnswered
from worker.cyclr import errors
from worker.cyclr.errors import CyclrError, LimiterAway, NeverSent, NotStarted


def test_says_who_was_asked_what_happened_and_what_to_do() -> None:
    failure = NotAnswered("api.cyclr.example", NeverSent("connection refused"))
    assert str(failure) == (
        "api.cyclr.example: Cyclr was not reached: connection refused. Check CYCLR_API_URL and the network."
    )


def test_what_is_no_fault_of_cyclr_can_be_tried_again() -> None:
    assert str(NotAnswered("api.cyclr.example", LimiterAway())).endswith(
        ", so nobody calls Cyclr. Try again."
    )


@pytest.mark.parametrize("name", sorted(vars(errors)))
def test_every_answer_of_cyclr_has_its_own_advice(name: str) -> None:
    kind = vars(errors)[name]
    is_answer = isinstance(kind, type) and issubclass(kind, CyclrError) and not issubclass(kind, NotStarted)
    if is_answer and kind not in (CyclrError, errors.NameInUse):
        assert "advice" in vars(kind)
