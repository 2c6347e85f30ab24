"""The text of a body of JSON with a list of items, gone through once and item by item: never whole as objects."""

import codecs
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from worker.jobs.views import Fault
from worker.web.faults import FIRST_ROW, MOST_SHOWN, known_name, to_fault
from worker.web.http_errors import HttpError
from worker.web.json_bodies import TWICE, doubled_keys, no_constant, no_json, parse_json

MOST_ITEMS = 100_000
LONGEST_ITEM = 500_000  # characters
LONGEST_KEY = 200
LONGEST_OPTIONS = 20_000  # characters, as JSON
_LONGEST_SCALAR = 1_000
_MOST_PASSED = 1_000_000  # characters of lists and objects that should not be there, all together

# Each goes through the text once, never back: what it has taken it keeps.
_BLANKS = re.compile(r"[ \t\n\r]*+")
_FLAT = re.compile(r'\{[^"{}\[\]]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"{}\[\]]*+)*+', re.DOTALL)
_WITHIN_TEXT = re.compile(r"(?:[^\"\\]|\\.)*+", re.DOTALL)
_WITHIN_NEST = re.compile(r'[^"{}\[\]]*+')
_OPENING = re.compile(r'[^"}\]]*+')
_CLOSING = re.compile(r'[^"{\[]*+')
_SCALAR = re.compile(r"[^ \t\n\r,\]}\"\[{:]++")


class ListItem(NamedTuple):
    """An object among the items, with the values that it has. `is_twice`: the keys that it has more than once."""

    row: int
    values: dict[str, Any]
    is_twice: tuple[str, ...]


class Enough(Exception):
    """There is so much wrong that nobody reads on."""


class JsonObject(list[tuple[str, Any]]):
    """The pairs of an object, each as often as it stands there."""


class ListReader:
    """Goes through the text of a body once. `note`: told what is wrong with what it passes."""

    def __init__(self, pieces: Sequence[bytes | bytearray], note: Callable[[Fault], None]) -> None:
        self._waiting = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._note = note
        self._text = ""
        self._at = self._passed = 0
        # Of the beginning of the text, as in an editor.
        self._line = self._column = 1
        self._is_begun = False

    def items(self, take_options: Callable[[Any], None]) -> Iterator[ListItem]:
        """All of them. `take_options`: gets what stands under `options`, as parsed.

        Raises: HttpError where it is no JSON, and what `note` raises.
        """
        if self._peek() != "{":
            self._note(self._fault((), "model_type", self._kind()))
            raise Enough
        self._at += 1
        seen: set[str] = set()
        for key in self._keys():
            if key in seen:
                self._note(Fault(column=known_name(key), message=TWICE))
                self._pass()
            elif key == "items":
                yield from self._items()
            elif key == "options":
                if self._peek() == "{":
                    take_options(self._options())
                else:
                    take_options(self._kind())
                    self._pass()
            else:
                self._note(self._fault((key[:MOST_SHOWN],), "extra_forbidden", None))
                self._pass()
            seen.add(key[: LONGEST_KEY + 1])
        if "items" not in seen:
            self._note(self._fault(("items",), "missing", None))
        if self._peek():
            raise self._no_json(self._at)

    def _items(self) -> Iterator[ListItem]:
        if self._peek() != "[":
            self._note(self._fault(("items",), "list_type", self._kind()))
            self._pass()
            return
        self._at += 1
        count = 0
        for _ in self._entries("]"):
            count += 1
            if count > MOST_ITEMS:
                told = {"max_length": MOST_ITEMS, "field_type": "List"}
                self._note(self._fault(("items",), "too_long", [], told))
                raise Enough
            if self._peek() == "{":
                item = self._item(count - 1 + FIRST_ROW)
                if item is not None:
                    yield item
            else:
                self._note(self._fault(("items", count - 1), "dict_type", self._kind()))
                self._pass()
        if not count:
            told = {"min_length": 1, "actual_length": 0, "field_type": "List"}
            self._note(self._fault(("items",), "too_short", [], told))

    def _item(self, row: int) -> ListItem | None:
        text = self._object(LONGEST_ITEM)
        if text is None:
            message = f"expected an item of at most {LONGEST_ITEM:,} characters, got a longer one"
            self._note(Fault(row=row, message=message))
            raise Enough  # to pass it would take as long as to read it
        pairs = self._parsed(text)
        values = dict(pairs)
        is_twice: tuple[str, ...] = ()
        if len(values) < len(pairs):
            is_twice = tuple(doubled_keys(pairs))
        self._at += len(text)
        return ListItem(row, values, is_twice)

    def _options(self) -> Any:
        text = self._object(LONGEST_OPTIONS)
        if text is None:
            message = f"expected at most {LONGEST_OPTIONS:,} characters, got more"
            self._note(Fault(column="options", message=message))
            raise Enough
        self._parsed(text)  # tells what is no JSON, and where
        self._at += len(text)
        return parse_json(f'{{"options": {text}}}'.encode("utf-8", "surrogatepass"))["options"]

    def _parsed(self, text: str) -> JsonObject:
        """The object of this text, which begins where we are."""
        try:
            pairs: JsonObject = json.loads(text, object_pairs_hook=JsonObject, parse_constant=no_constant)
        except json.JSONDecodeError as error:
            raise self._no_json(self._at + error.pos) from None
        except RecursionError:
            raise no_json("it is nested too deeply") from None
        except ValueError:
            raise no_json("a number in it is too long") from None
        return pairs

    def _keys(self) -> Iterator[str]:
        """The keys of the object that we are in; behind each, its value is to be passed."""
        for _ in self._entries("}"):
            if self._peek() != '"':
                raise self._no_json(self._at)
            key = self._pass_text()
            if self._peek() != ":":
                raise self._no_json(self._at)
            self._at += 1
            if not self._peek():
                raise self._no_json(self._at)
            yield key

    def _entries(self, end: str) -> Iterator[None]:
        """One turn for each entry of the list or object that we are in, up to its end."""
        if self._peek() == end:
            self._at += 1
            return
        while True:
            if not self._peek():
                raise self._no_json(self._at)
            yield
            mark = self._peek()
            if mark not in (",", end):
                raise self._no_json(self._at)
            self._at += 1
            if mark == end:
                return

    def _object(self, most: int) -> str | None:
        """The text of the object that begins here; None where it is longer. We stay at its beginning."""
        while True:
            end = _FLAT.match(self._text, self._at).end()  # type: ignore[union-attr]
            mark = self._text[end : end + 1]
            if mark == "}":
                return self._text[self._at : end + 1] if end - self._at < most else None
            if mark not in ("", '"'):
                break  # something within it, or no JSON
            if len(self._text) - self._at > most:
                return None
            if not self._more():
                raise self._no_json(len(self._text))
        # With something in it, which no item has: its end is found by counting.
        return self._nested_object(most)

    def _nested_object(self, most: int) -> str | None:
        end, depth = self._at, 0
        while end - self._at <= most:
            end = _WITHIN_NEST.match(self._text, end).end()  # type: ignore[union-attr]
            mark = self._text[end : end + 1]
            if mark == '"':
                close = _WITHIN_TEXT.match(self._text, end + 1).end()  # type: ignore[union-attr]
                if self._text[close : close + 1] == '"':
                    end = close + 1
                    continue
                mark = ""
            if not mark:
                begun = end - self._at
                if len(self._text) - self._at > most:
                    return None
                if not self._more():
                    raise self._no_json(len(self._text))
                end = self._at + begun
                continue
            depth += 1 if mark in "{[" else -1
            end += 1
            if not depth:
                self._count_passed(end - self._at)
                return self._text[self._at : end]
        return None

    def _kind(self) -> Any:
        """An example of the kind of value that begins here."""
        examples: dict[str, Any] = {'"': "", "{": {}, "[": []}
        mark = self._peek()
        return examples[mark] if mark in examples else json.loads(self._scalar(), parse_constant=no_constant)

    def _pass(self) -> None:
        """Go behind the value that begins here, whatever it is."""
        mark = self._peek()
        if mark == '"':
            self._pass_text()
        elif mark in ("{", "["):
            self._pass_nest()
        else:
            self._at += len(self._scalar())

    def _scalar(self) -> str:
        """The number or word that begins here."""
        found = _SCALAR.match(self._text, self._at)
        while found is not None and found.end() == len(self._text) and self._more():
            found = _SCALAR.match(self._text, self._at)
            if found is not None and found.end() - self._at > _LONGEST_SCALAR:
                break
        text = "" if found is None else found[0]
        if len(text) > _LONGEST_SCALAR:
            raise no_json("a number in it is too long")
        try:
            json.loads(text, parse_constant=no_constant)
        except ValueError:
            raise self._no_json(self._at) from None
        return text

    def _pass_text(self) -> str:
        """Go behind the text that begins here, and give its beginning, which for a key is all of it or too much."""
        begun = ""
        self._at += 1
        while True:
            end = _WITHIN_TEXT.match(self._text, self._at).end()  # type: ignore[union-attr]
            if len(begun) <= LONGEST_KEY * 6:
                begun += self._text[self._at : end][: LONGEST_KEY * 12]
            self._at = end
            if self._text[end : end + 1] == '"':
                self._at += 1
                break
            if not self._more():
                raise self._no_json(len(self._text))
        try:
            return str(json.loads(f'"{begun}"'))
        except ValueError:
            # Cut in the middle of an escape, or with what has to be escaped.
            if len(begun) > LONGEST_KEY * 6:
                return begun
            raise self._no_json(self._at) from None

    def _pass_nest(self) -> None:
        """Go behind the list or object that begins here. What it is made of is not looked at: it is wrong by being there."""
        depth = 0
        while True:
            begun = self._at
            end = _OPENING.match(self._text, begun).end()  # type: ignore[union-attr]
            depth += self._count("{[", begun, end)
            close = _CLOSING.match(self._text, end).end()  # type: ignore[union-attr]
            closed = self._count("}]", end, close)
            if closed < depth:
                depth, self._at = depth - closed, close
            else:
                self._at = self._behind(end, depth)
                self._count_passed(self._at - begun)
                return
            self._count_passed(self._at - begun)
            if self._text[self._at : self._at + 1] == '"':
                self._pass_text_unread()
            elif self._at == len(self._text) and not self._more():
                raise self._no_json(len(self._text))

    def _count(self, marks: str, begin: int, end: int) -> int:
        return sum(self._text.count(mark, begin, end) for mark in marks)

    def _behind(self, at: int, closing: int) -> int:
        """Behind so many closing marks."""
        while closing:
            closing -= self._text[at] in "}]"
            at += 1
        return at

    def _count_passed(self, characters: int) -> None:
        self._passed += characters
        if self._passed > _MOST_PASSED:
            raise Enough

    def _pass_text_unread(self) -> None:
        self._at += 1
        while True:
            self._at = _WITHIN_TEXT.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._text[self._at : self._at + 1] == '"':
                self._at += 1
                return
            if not self._more():
                raise self._no_json(len(self._text))

    def _peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            self._at = _BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Another piece behind the text, of which what we have passed is dropped. False at the end."""
        piece = next(self._waiting, None)
        self._drop()
        try:
            text = self._decoder.decode(piece or b"", final=piece is None)
        except UnicodeDecodeError:
            raise no_json("it is not UTF-8") from None
        if not self._is_begun and text:
            # A byte order mark is no part of JSON, and some programs write one.
            self._is_begun, text = True, text.removeprefix("\ufeff")
        self._text += text
        return piece is not None

    def _drop(self) -> None:
        self._line, self._column = self._place(self._at)
        self._text, self._at = self._text[self._at :], 0

    def _place(self, at: int) -> tuple[int, int]:
        lines = self._text.count("\n", 0, at)
        if not lines:
            return self._line, self._column + at
        return self._line + lines, at - self._text.rfind("\n", 0, at)

    def _no_json(self, at: int) -> HttpError:
        line, column = self._place(at)
        return no_json(f"at line {line:,}, character {column:,} it is not JSON")

    def _fault(
        self, where: tuple[str | int, ...], kind: str, value: Any, told: dict[str, Any] | None = None
    ) -> Fault:
        return to_fault({"type": kind, "loc": where, "input": value, "ctx": told or {}, "msg": ""})
