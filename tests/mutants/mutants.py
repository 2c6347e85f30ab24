"""The mutants: one line each, in the places where a slip would cost a customer a connector, or a secret."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mutant:
    """`line` stands once in `file`, and becomes `broken`. `tests`: those that must notice, as pytest takes them."""

    name: str
    file: str
    breaks: str
    line: str
    broken: str
    tests: tuple[str, ...]

    def problem(self, root: Path) -> str | None:
        """Why the mutant cannot be made any more; None if it can."""
        count = (root / self.file).read_text(encoding="utf-8").count(self.line)
        return (
            None
            if count == 1
            else f"{self.name}: expected its line once in {self.file}, found it {count} times"
        )

    def apply(self, copy: Path) -> None:
        path = copy / self.file
        path.write_text(path.read_text(encoding="utf-8").replace(self.line, self.broken), encoding="utf-8")


MUTANTS = (
    # What counts as never sent
    Mutant(
        "cut_after_sending_is_never_sent",
        "worker/cyclr/transport.py",
        "a connection that is cut after the request was read counts as never sent",
        "    if isinstance(cause, aiohttp.ClientConnectorError):\n",
        "    if isinstance(cause, aiohttp.ClientConnectionError):\n",
        ("tests/integration/cyclr/test_transport.py",),
    ),
    Mutant(
        "deadline_is_never_sent",
        "worker/cyclr/exchange.py",
        "our own deadline counts as never sent",
        '            return OutcomeUnknown(f"no answer within {self._timeout_s:g} s")\n',
        '            return NeverSent(f"no answer within {self._timeout_s:g} s")\n',
        ("tests/integration/cyclr/test_client.py",),
    ),
    Mutant(
        "aiohttp_repeats_requests",
        "worker/cyclr/transport.py",
        "aiohttp repeats a request by itself when a kept connection is cut",
        "    session._retry_connection = False\n",
        "    session._retry_connection = True\n",
        ("tests/integration/cyclr/test_transport.py",),
    ),
    Mutant(
        "conflict_is_a_refusal",
        "worker/cyclr/answers.py",
        "408 and 409 count as definite refusals",
        "        case 408 | 409:\n",
        "        case 999:\n",
        ("tests/unit/cyclr/test_answers.py",),
    ),
    Mutant(
        "any_200_is_installed",
        "worker/cyclr/client.py",
        "a 200 with another Name than ours counts as installed",
        '            if fold(found.name) != fold(body["Name"]):\n',
        "            if False:\n",
        ("tests/integration/cyclr/test_client.py",),
    ),
    # Looks
    Mutant(
        "short_page_proves_absence",
        "worker/cyclr/looks.py",
        "a first page without Total-Pages proves an absence",
        "        is_last = not new if page.total_pages is None else page_number >= page.total_pages\n",
        "        is_last = len(page.items) < 100 if page.total_pages is None else page_number >= page.total_pages\n",
        ("tests/integration/cyclr/test_looks.py",),
    ),
    Mutant(
        "one_reading_proves_absence",
        "worker/cyclr/looks.py",
        "one reading of several pages proves an absence",
        "        if reading.found or reading.is_one_answer or reading.ids == earlier:\n",
        "        if reading.found or reading.is_one_answer or reading.ids:\n",
        ("tests/integration/cyclr/test_looks.py",),
    ),
    Mutant(
        "look_matches_case",
        "worker/cyclr/looks.py",
        "a Name in another case is not found",
        "            if fold(entry.name) == fold(name):\n",
        "            if entry.name == name:\n",
        ("tests/integration/cyclr/test_looks.py",),
    ),
    # The limiter and the gate
    Mutant(
        "late_slot_is_used",
        "worker/cyclr/slots.py",
        "a slot that is too late is used all the same",
        "        return self._wait_s + LATENESS_S - self._clock.since(self._asked)\n",
        "        return self._wait_s + 60 - self._clock.since(self._asked)\n",
        ("tests/unit/cyclr/test_limiter.py", "tests/integration/test_limiter_redis.py"),
    ),
    Mutant(
        "slot_before_its_time",
        "worker/cyclr/slots.py",
        "a slot starts without waiting for its time",
        "        while (wait_s := self.starts_in_s()) > 0:\n",
        "        while (wait_s := self.starts_in_s()) > 1:\n",
        ("tests/unit/cyclr/test_limiter.py",),
    ),
    Mutant(
        "gate_is_ignored",
        "worker/cyclr/slots.py",
        "calls start while the gate is closed",
        "        if (closed_for_s := self._gate.closed_for_s()) > 0:\n",
        "        if (closed_for_s := self._gate.closed_for_s()) > 3600:\n",
        ("tests/unit/cyclr/test_limiter.py", "tests/integration/test_limiter_redis.py"),
    ),
    Mutant(
        "flush_forgets_reservations",
        "worker/cyclr/limiter.lua",
        "after a flush slots are given at once, beside those that are still out",
        "    book.free_at = now + HORIZON + math.max(LATENESS, interval())\n",
        "    book.free_at = now\n",
        ("tests/unit/cyclr", "tests/integration/test_limiter_redis.py"),
    ),
    Mutant(
        "flush_lifts_the_gate",
        "worker/cyclr/limiter.lua",
        "after a flush nobody waits for the gate that the database keeps",
        "  if book.is_fresh == 1 or (book.level > 0 and now < book.probe_until) then\n",
        "  if book.level > 0 and now < book.probe_until then\n",
        ("tests/unit/cyclr", "tests/integration/test_limiter_redis.py"),
    ),
    Mutant(
        "permit_is_not_awaited",
        "worker/cyclr/exchange.py",
        "a call is sent without its permit",
        "        await permit.ready()\n",
        "        await asyncio.sleep(0)\n",
        ("tests/integration/cyclr/test_client.py",),
    ),
    # Secrets
    Mutant(
        "secret_in_a_message",
        "worker/cyclr/answers.py",
        "what was sent as a secret stands in the message that Cyclr answers",
        "    return _shortened(scrubbed(_message(body), secrets))\n",
        "    return _shortened(_message(body))\n",
        ("tests/unit/cyclr/test_answers.py", "tests/integration/cyclr/test_client.py"),
    ),
    # Processes
    Mutant(
        "orphans_live_on",
        "worker/lifeline.py",
        "a child lives on when the command is killed",
        "    if libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:\n",
        "    if libc.prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0) != 0:\n",
        ("tests/integration/embedded/test_lifeline.py",),
    ),
)
