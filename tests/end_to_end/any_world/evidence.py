"""What the ledger shows of one job, held against what must never be."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.end_to_end.any_world.scenes import REFUSALS, Line, Scene
from tests.end_to_end.any_world.table import State, as_shown, columns, is_same, standings
from worker.simulator.ledger import PROPERTY, Call, Change, Effect, Ledger

# Calls whose 200 shows an account connector whole, and those that show one property of it.
LOOKS = frozenset({"look", "account_connector"})
WHOLE = LOOKS | {"install", "change_account_connector"}
OF_A_PROPERTY = frozenset({"change_property", "add_property"})
OF_TROUBLE = frozenset({"outcome_unknown", "no_answer", "unreachable"})


@dataclass(frozen=True)
class Held:
    """An account connector at some moment."""

    connector: str
    state: State

    @property
    def name(self) -> str:
        return self.state["Name"] or ""


Holding = dict[int, Held]  # of an account, by the Id


@dataclass
class Evidence:
    """`ids`: the scene's accounts -> their ids at Cyclr. `seeded`: what each held before. `items`: as they are stored now,
    of the lines in their order. From `first_call` and `first_effect` on the ledger is of this job."""

    scene: Scene
    ids: Mapping[str, str]
    seeded: Mapping[str, Holding]
    ledger: Ledger
    first_call: int
    first_effect: int
    items: Sequence[Any] = field(default_factory=list)

    # What was there when.

    def holding(self, account: str, *, call: int | None = None, at: float | None = None) -> Holding:
        """What the account held before a call took effect, or at a moment; at the end where neither is given."""
        held = dict(self.seeded.get(account, {}))
        for effect in self.effects(account):
            if call is not None and effect.call is not None and effect.call >= call:
                continue
            if at is not None and effect.at > at:
                continue
            _apply(held, effect)
        return held

    def effects(self, account: str) -> Iterator[Effect]:
        for effect in self.ledger.effects[self.first_effect :]:
            if effect.account_id == self.ids[account] and effect.account_connector_id is not None:
                yield effect

    def calls(self, account: str) -> list[Call]:
        return [call for call in self.ledger.calls[self.first_call :] if call.account_id == self.ids[account]]

    def changes(self, account: str) -> list[Change]:
        """Those of ours that took effect, on account connectors."""
        return [
            change
            for change in self.ledger.changes(self.ids[account])
            if change.by == "caller"
            and change.took_effect
            and change.kind != "create_account"
            and change.call is not None
            and change.call >= self.first_call
        ]

    def line_of(self, change: Change) -> Line:
        """The row that this change was for."""
        account = self._account(change.account_id)
        held, names = self._held(change), self._names(account, change)
        for line in self.scene.lines:
            if line.account == account and line.name.lower() in names and line.connector == held:
                return line
        raise AssertionError(f"{change.kind} changed {names} of {account}, which no row names")

    def changes_of(self, line: Line) -> list[Change]:
        return [change for change in self.changes(line.account) if self.line_of(change) == line]

    def last_shown(self, line: Line, account_connector_id: int, before: Call | None) -> State | None:
        """The account connector as the last answer before this call showed it whole; None where none did.

        `before`: None for the last of all.
        """
        for call in reversed(self.calls(line.account)):
            if before is not None and (call.answered_at is None or call.answered_at > before.received_at):
                continue
            if not self._shows(call, account_connector_id):
                continue
            held = self.holding(line.account, at=call.answered_at).get(account_connector_id)
            if held is not None:
                return as_shown(held.state, self.scene, is_read=call.kind in LOOKS)
        return None

    def last_look(self, line: Line) -> Holding | None:
        """All that the account held when it was last looked at, as it was shown."""
        for call in reversed(self.calls(line.account)):
            if call.kind == "look" and _is_answered(call):
                holding = self.holding(line.account, at=call.answered_at)
                return {
                    key: Held(held.connector, as_shown(held.state, self.scene))
                    for key, held in holding.items()
                }
        return None

    def ours(self, line: Line) -> set[int]:
        """The account connectors that this row's own calls made."""
        return {
            change.account_connector_id
            for change in self.changes_of(line)
            if change.kind == "install" and change.account_connector_id is not None
        }

    def _shows(self, call: Call, account_connector_id: int) -> bool:
        is_of_it = call.kind == "look" or call.account_connector_id == account_connector_id
        return call.kind in WHOLE and is_of_it and _is_answered(call)

    def _account(self, account_id: str | None) -> str:
        return next(name for name, known in self.ids.items() if known == account_id)

    def _names(self, account: str, change: Change) -> set[str]:
        """All that it was ever called, without case: an admin may rename it between our look and our call."""
        seeded = self.seeded.get(account, {}).get(change.account_connector_id or 0)
        states = [seeded.state] if seeded else []
        for effect in self.effects(account):
            if effect.account_connector_id == change.account_connector_id:
                states += [state for state in (effect.before, effect.after) if state]
        return {(state["Name"] or "").lower() for state in states}

    def _held(self, change: Change) -> str:
        """The connector of what was changed."""
        for effect in self.ledger.effects[self.first_effect :]:
            if effect.account_connector_id == change.account_connector_id and effect.connector is not None:
                return effect.connector
        raise AssertionError(f"{change.kind}: no effect tells its connector")

    def item(self, line: Line) -> Any:
        return self.items[self.scene.lines.index(line)]

    # What must never be.

    def assert_nothing_is_overwritten(self) -> None:
        for account in self.ids:
            for change in self.changes(account):
                self._assert_may_change(self.line_of(change), change)

    def _assert_may_change(self, line: Line, change: Change) -> None:
        scene, where = self.scene, f"{change.kind} in {line.account}"
        asked = _asked(line)
        named = {key: value for key, value in change.named.items() if key not in ("Name", "AuthenticationId")}
        if change.kind in OF_A_PROPERTY or change.kind == "install":
            named = {key: value for key, value in named.items() if key != "id"}
        assert named.items() <= asked.items(), f"{where} names what its row does not ask: {set(named)}"
        if change.kind == "install":
            assert scene.operation == "install", f"{where}: update makes nothing"
            return
        is_whole = change.kind == "change_account_connector"
        assert not (is_whole and any(key.startswith(PROPERTY) for key in named)), f"{where} names properties"
        differing = {
            key
            for key in {*(change.before or {}), *(change.after or {})}
            if not _is_alike((change.before or {}).get(key), (change.after or {}).get(key))
        }
        free = {"Authenticated"} if "AuthValue" in named else set()
        assert differing <= {*named, *free}, (
            f"{where} changes what it does not name: {differing - set(named)}"
        )
        assert change.account_connector_id is not None
        assert change.call is not None
        if change.account_connector_id in self.ours(line):
            return
        call = self.ledger.calls[change.call]
        shown = self.last_shown(line, change.account_connector_id, call)
        assert shown is not None, f"{where}: nothing was looked at before"
        stands = standings(line, shown)
        own = self._own_before(line, change)
        for key in named:
            name = "description" if key == "Description" else key
            if key == "AuthValue" and line.is_living:
                is_there = shown["Authenticated"] == "true" and key not in own
                assert scene.may_replace_tokens or not is_there, f"{where} replaces tokens"
            elif not scene.may_overwrite:
                is_ours = key in own and stands[name] != "other"
                assert (
                    stands[name] == "missing" or is_ours or (name == "description" and stands[name] == "same")
                ), f"{where} overwrites {name}, which was {stands[name]}"
        if not scene.may_overwrite and not own:
            other = [
                name for name, standing in stands.items() if standing == "other" and name != "description"
            ]
            assert not other, f"{where}: something is set though {other} is another one there"

    def _own_before(self, line: Line, change: Change) -> set[str]:
        """What earlier calls of this row have set in this account connector."""
        return {
            key
            for earlier in self.changes_of(line)
            if (earlier.call or 0) < (change.call or 0)
            and earlier.account_connector_id == change.account_connector_id
            for key in earlier.named
        }

    def assert_never_two(self) -> None:
        """Never two for one target, never one beside another Name, living credentials once."""
        for line in self.scene.lines:
            changes = self.changes_of(line)
            made = [change for change in changes if change.kind == "install"]
            removed = {
                effect.account_connector_id
                for effect in self.effects(line.account)
                if effect.kind == "removed" or (effect.kind == "changed" and effect.by == "admin")
            }
            kept = [change for change in made if change.account_connector_id not in removed]
            assert len(kept) <= 1, f"{line.account} has {line.name!r} {len(kept)} times"
            for change in made:
                self._assert_nothing_like_it(line, change)
            sent = [c for c in changes if c.kind == "change_account_connector" and "AuthValue" in c.named]
            by_thing = Counter(change.account_connector_id for change in sent)
            assert not line.is_living or all(n == 1 for n in by_thing.values()), "tokens are sent twice"

    def _assert_nothing_like_it(self, line: Line, change: Change) -> None:
        if {"beside", "no_look"} & self.scene.options or change.call is None:
            return
        call = self.ledger.calls[change.call]
        looks = [
            look
            for look in self.calls(line.account)
            if look.kind == "look" and _is_answered(look) and (look.answered_at or 0) <= call.received_at
        ]
        if not looks:
            assert line.account not in self.seeded, f"an install into {line.account} without a look"
            return
        holding = self.holding(line.account, at=looks[-1].answered_at)
        taken = self.scene.names(line.account)
        like_it = [
            held.name
            for held in holding.values()
            if held.connector == line.connector and held.name.lower() not in taken
        ]
        assert not like_it, f"{line.account} had {line.connector} under {like_it}"

    def assert_done_is_as_asked(self) -> None:
        for line in self.scene.lines:
            item = self.item(line)
            assert item.state in ("installed", "failed"), f"{line.account} is {item.state}"
            if item.state == "installed":
                self._assert_as_asked(line, item)

    def _assert_as_asked(self, line: Line, item: Any) -> None:
        where = f"{line.account} {line.name!r} ({item.outcome})"
        assert item.account_connector_id is not None, f"{where} has no id"
        shown = self.last_shown(line, item.account_connector_id, None)
        assert shown is not None, f"{where} was never shown"
        for name, value in self._shown_since(line, item.account_connector_id):
            shown = {**shown, name: value}
        stands = standings(line, shown)
        for name, standing in stands.items():
            is_left = name == "description" and not self.scene.may_overwrite
            is_named = bool(columns(line, {name}) & set(item.differs or ()))
            assert standing in ("same", "not_shown") or (is_left and is_named), (
                f"{where}: {name} is {standing}"
            )
        has_admin = any(deed.account == line.account for deed in self.scene.deeds)
        if has_admin or not self.scene.may_overwrite:
            return
        # What is hidden was set all the same.
        held = self.holding(line.account, at=self._last_answer_at(line)).get(item.account_connector_id)
        assert held is not None, f"{where} is not there"
        for name, standing in standings(line, held.state).items():
            assert standing == "same", f"{where}: {name} is {standing}, whatever is shown"

    def _shown_since(self, line: Line, account_connector_id: int) -> Iterator[tuple[str, str | None]]:
        """What answers that show one property have shown since the last that showed the whole."""
        since: list[Call] = []
        for call in reversed(self.calls(line.account)):
            if self._shows(call, account_connector_id):
                break
            if call.kind in OF_A_PROPERTY and call.account_connector_id == account_connector_id:
                since.append(call)
        for call in reversed(since):
            held = self.holding(line.account, at=call.answered_at).get(account_connector_id)
            if _is_answered(call) and held is not None:
                shown = as_shown(held.state, self.scene, is_read=False)
                for name in call.named:
                    if name.startswith(PROPERTY):
                        yield name, shown.get(name)

    def _last_answer_at(self, line: Line) -> float:
        return max(
            call.answered_at for call in self.calls(line.account) if call.answered_at and _is_answered(call)
        )

    def assert_what_changed_is_told(self) -> None:
        for line in self.scene.lines:
            item = self.item(line)
            if item.state != "installed":
                continue
            where = f"{line.account} {line.name!r} ({item.outcome})"
            made = self.ours(line)
            changes = [c for c in self.changes_of(line) if c.kind != "install"]
            changes = [c for c in changes if c.account_connector_id == item.account_connector_id]
            is_made = item.account_connector_id in made
            if is_made:
                # Where the answer was lost and Cyclr hides what was sent, nothing proves that it is ours.
                is_lost = any(trouble.account == line.account for trouble in self.scene.troubles)
                assert item.outcome in ("created", "recovered") or (is_lost and item.is_ours is False), where
                continue
            assert item.outcome not in ("created", "recovered"), where
            assert (item.outcome == "unchanged") == (not changes), f"{where}: {len(changes)} calls changed it"
            named = {"description" if key == "Description" else key for c in changes for key in c.named}
            assert set(item.changed or ()) == columns(line, named), f"{where} says {item.changed}"
            if changes and not self.scene.deeds:
                before = standings(line, as_shown(self._first(changes), self.scene))
                other = [name for name in named if before[name] != "missing" and name != "description"]
                assert (item.outcome == "updated") == bool(other) or "description" in named, where

    def _first(self, changes: Sequence[Change]) -> State:
        return min(changes, key=lambda change: change.at).before or {}

    def assert_failures_are_true(self) -> None:
        for line in self.scene.lines:
            item = self.item(line)
            if item.state == "failed":
                self._assert_true(line, item)

    def _assert_true(self, line: Line, item: Any) -> None:
        code, where = item.code, f"{line.account} {line.name!r} failed: {item.code}, {item.message}"
        troubles = [trouble for trouble in self.scene.troubles if trouble.account == line.account]
        if code in OF_TROUBLE:
            assert troubles or self.scene.deeds, where
            return
        if code == "refused":
            is_refused = any(trouble.name in REFUSALS for trouble in troubles)
            assert is_refused or self.scene.switches.get("same_property") == "refuse", where
            return
        looked = self.last_look(line)
        assert looked is not None, where
        named = [held for held in looked.values() if held.name.lower() == line.name.lower()]
        named = [held for held in named if held.name == line.name] or named
        matching = [held for held in named if held.connector == line.connector]
        elsewhere = [
            held
            for held in looked.values()
            if held.connector == line.connector and held.name.lower() not in self.scene.names(line.account)
        ]
        if code == "differs":
            assert not self.scene.may_overwrite, where
            [held] = matching
            stands = standings(line, held.state)
            other = {name for name, standing in stands.items() if standing == "other"} - {"description"}
            assert other, where
            assert columns(line, other) <= set(item.differs) <= columns(line, other | {"description"}), where
        elif code == "present_under_other_name":
            assert not matching, where
            assert elsewhere, where
            assert "beside" not in self.scene.options, where
            assert any(held.name in item.message for held in elsewhere), where
        elif code == "name_in_use":
            assert named, where
            assert not matching, where
        elif code == "ambiguous":
            assert len(matching) > 1, where
        elif code == "not_there":
            assert self.scene.operation == "update", where
            assert not matching, where
        elif code == "method_unknown":
            assert "assume_method" not in self.scene.options, where
            assert line.auth_value is not None, where
        elif code in ("not_authenticated", "not_taken"):
            assert self.scene.deeds, where
        else:
            raise AssertionError(where)


def _asked(line: Line) -> dict[str, str | None]:
    """What a call for this row may name, in the words of the ledger."""
    asked: dict[str, str | None] = {f"{PROPERTY}{name}": value for name, value in line.properties.items()}
    if line.auth_value is not None:
        asked["AuthValue"] = line.auth_value
    if line.description:
        asked["Description"] = line.description
    return asked


def _is_alike(before: str | None, after: str | None) -> bool:
    """Nothing, and what is listed of nothing, are one; so is a value that was only written otherwise."""
    return (not before and not after) or (before is not None and after is not None and is_same(before, after))


def _is_answered(call: Call) -> bool:
    return call.status == 200 and call.fault is None and call.answered_at is not None


def _apply(held: Holding, effect: Effect) -> None:
    assert effect.account_connector_id is not None
    if effect.after is None:
        held.pop(effect.account_connector_id, None)
    else:
        held[effect.account_connector_id] = Held(effect.connector or "", effect.after)
