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
        "        case 408 | 409 | 460 | 499:\n",
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
        "        is_proven = reading.is_one_answer or (reading.ids == earlier and not reading.has_moved)\n",
        "        is_proven = reading.is_one_answer or (reading.ids and not reading.has_moved)\n",
        ("tests/integration/cyclr/test_looks.py",),
    ),
    Mutant(
        "moved_list_proves_absence",
        "worker/cyclr/looks.py",
        "a list that moved while it was read proves an absence if it moved alike twice",
        "        is_proven = reading.is_one_answer or (reading.ids == earlier and not reading.has_moved)\n",
        "        is_proven = reading.is_one_answer or reading.ids == earlier or reading.has_moved\n",
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
        "limits_of_others_are_not_heard",
        "worker/cyclr/limiter.lua",
        "each process calls at the rate that it was set to itself",
        "    asked[own] = now\n",
        "    asked = { [own] = now }\n",
        ("tests/integration/test_limiter_redis.py",),
    ),
    Mutant(
        "default_counts_beside_a_set_rate",
        "worker/cyclr/limiter.lua",
        "a rate that nobody set slows down those for whom one was set",
        "  configured = rates['1'] < math.huge and rates['1'] or rates['0']\n",
        "  configured = math.min(rates['1'], rates['0'])\n",
        ("tests/integration/test_limiter_redis.py",),
    ),
    Mutant(
        "limit_is_never_forgotten",
        "worker/cyclr/limiter.lua",
        "the limit of a process that has ended slows down all others for ever",
        "    if now - at >= REMEMBERED then\n",
        "    if now - at >= 1000 * REMEMBERED then\n",
        ("tests/integration/test_limiter_redis.py",),
    ),
    Mutant(
        "lower_limit_begins_beside_slots_of_the_higher",
        "worker/cyclr/limiter_rule.py",
        "a lower limit begins while slots of the higher one are still out",
        "                book.free_at = max(book.free_at, self.now) + max(LATENESS, self.interval())\n",
        "                book.free_at = max(book.free_at, self.now)\n",
        ("tests/unit/cyclr/test_limiter_rule.py",),
    ),
    Mutant(
        "late_answer_gives_all_back",
        "worker/cyclr/limiter.py",
        "on a busy machine every item that waits for its slot goes back, and is claimed again",
        "            if isinstance(failure, _AnswerTooLate) and self._clock.since(failure.since) < _LATE_FOR_S:\n",
        "            if False:\n",
        ("tests/unit/cyclr/test_limiter.py",),
    ),
    Mutant(
        "waiter_is_forgotten",
        "worker/cyclr/limiter.py",
        "the limit of a process that waits long for its slot is forgotten, and others call faster meanwhile",
        "            await self._sleep(min(max(_SHORTEST_WAIT_S, next_in_s - within_s), _LONGEST_WAIT_S))\n",
        "            await self._sleep(max(_SHORTEST_WAIT_S, next_in_s - within_s))\n",
        ("tests/unit/cyclr/test_limiter.py",),
    ),
    Mutant(
        "command_beside_another_is_not_heard",
        "worker/cli/home.py",
        "the workers of another command make the calls of this one at their own rate",
        "        if self._needs_workers and not isinstance(self.broker, Rule):\n",
        "        if self.home.is_owned and not isinstance(self.broker, Rule):\n",
        ("tests/commands/test_two_rates.py",),
    ),
    Mutant(
        "default_is_set_in_workers",
        "worker/settings.py",
        "a default rate counts as set in the workers that a command starts",
        " if value is not None and name in self.model_fields_set\n",
        " if value is not None\n",
        ("tests/unit/test_settings.py",),
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
        "    text = scrubbed(_message(body), secrets)\n",
        "    text = _message(body)\n",
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
    # The attempt
    Mutant(
        "unknown_is_sent_again",
        "worker/installing/judging.py",
        "an install whose outcome is unknown is sent again without a look",
        "    if _is_done_once(call):\n        # Cyclr may still be working on it",
        "    if call is None:\n        # Cyclr may still be working on it",
        ("tests/end_to_end/test_lost_answers.py",),
    ),
    Mutant(
        "look_before_cyclr_has_settled",
        "worker/installing/judging.py",
        "the look after an unknown outcome does not wait for CYCLR_SETTLE_S",
        "        after_s = max(wait_s, rules.settle_s)\n",
        "        after_s = wait_s\n",
        ("tests/unit/installing/test_judging.py", "tests/end_to_end/test_lost_answers.py"),
    ),
    Mutant(
        "must_look_is_ignored",
        "worker/operations/operation.py",
        "an item that may be installed is installed without a look",
        "    return was_sent or bool(item.not_kept) or item.options.looks_first\n",
        "    return item.options.looks_first\n",
        ("tests/end_to_end/test_lost_answers.py",),
    ),
    Mutant(
        "claim_is_not_checked",
        "worker/installing/permits.py",
        "a call is sent although its claim may run out before it ends",
        '                raise GivenBack("the claim ends before a call that starts now would have to")\n',
        "                return\n",
        ("tests/unit/installing/test_permits.py", "tests/end_to_end/test_job_rules.py"),
    ),
    Mutant(
        "frozen_process_sends",
        "worker/installing/permits.py",
        "a process that was frozen while it waited for its slot sends when it wakes",
        "                if self._is_held(0.0) and self._was_seen(0.0):\n",
        "                if True:\n",
        (
            "tests/unit/installing/test_permits.py::test_a_process_that_was_frozen_while_it_waited_for_its_slot_asks_again",
        ),
    ),
    Mutant(
        "old_word_of_its_job",
        "worker/installing/permits.py",
        "a call that waited for its slot is sent although its job was paused meanwhile",
        "        return self._clock.since(self._seen_at) + in_s <= SEEN_WITHIN_S\n",
        "        return True\n",
        ("tests/unit/installing/test_permits.py::test_a_pause_is_heard_by_a_call_that_waited_for_its_slot",),
    ),
    Mutant(
        "missed_slot_gives_the_item_back",
        "worker/installing/permits.py",
        "each slot that goes by costs a settle and a claim, so that the rate collapses under load",
        "                self._holder.note_missed()\n",
        "                raise\n",
        (
            "tests/unit/installing/test_permits.py::test_a_slot_that_went_by_is_replaced_while_the_claim_holds",
        ),
    ),
    Mutant(
        "sent_counts_as_prepared",
        "worker/installing/permits.py",
        "the failure of an install is judged as that of a call that reads",
        '        return self.last_call if self.is_calling else "account"\n',
        '        return "account"\n',
        ("tests/unit/installing/test_permits.py", "tests/end_to_end/test_lost_answers.py"),
    ),
    Mutant(
        "pause_is_not_heard",
        "worker/installing/permits.py",
        "a further call is sent although the job was paused or the claim lost",
        '                raise GivenBack("the job was paused")\n',
        "                pass\n",
        ("tests/unit/installing/test_permits.py", "tests/end_to_end/test_job_rules.py"),
    ),
    Mutant(
        "cancelled_job_installs",
        "worker/installing/attempt.py",
        "an item of a cancelled job is installed when its look finds nothing",
        "            may_act=not (item.is_called_off or self._is_last_look() or self._lacks_secret),\n",
        "            may_act=not (self._is_last_look() or self._lacks_secret),\n",
        ("tests/end_to_end/test_job_rules.py",),
    ),
    Mutant(
        "name_of_another_connector_is_ours",
        "worker/cyclr/looks.py",
        "another connector under our Name counts as installed",
        "        matching = [entry for entry in self.named if is_of(connector_name, entry)]\n",
        "        matching = list(self.named)\n",
        ("tests/end_to_end/test_definite_answers.py", "tests/end_to_end/test_looks.py"),
    ),
    Mutant(
        "gives_up_without_a_look",
        "worker/domain/verdicts.py",
        "an item that may be installed fails without a last look",
        "    if not may_be_there:\n",
        "    if count:\n",
        ("tests/unit/domain/test_verdicts.py",),
    ),
    # What was sent, and whose it is
    Mutant(
        "sent_is_not_written_before_the_call",
        "worker/installing/permits.py",
        "a step goes out before the database has it that it may",
        "        if self._has_begun or not is_written:\n",
        "        if self._has_begun:\n",
        (
            "tests/unit/installing/test_permits.py::test_a_step_that_is_not_written_down_yet_is_written_before_its_call",
        ),
    ),
    Mutant(
        "sent_is_not_written_with_the_claim",
        "worker/store/claiming.py",
        "of a row that was claimed and sent nobody knows after a crash that it was",
        '        sent=bindparam("mark"),\n',
        "",
        ("tests/integration/store/test_claiming.py::test_a_claim_says_which_step_goes_out_without_a_look",),
    ),
    Mutant(
        "release_forgets_what_was_done",
        "worker/store/settling.py",
        "an interruption between two calls forgets what the first one has done",
        "    Released: _update_for({}, **_BACK_IN_THE_QUEUE),\n",
        "    Released: UpdateOfMany({'id': BigInteger(), 'claim_id': String(), **NOTED}, lambda given: update(items)"
        ".where(items.c.id == given['id'], items.c.claim_id == given['claim_id']).values(**_BACK_IN_THE_QUEUE)),\n",
        (
            "tests/integration/store/test_settling.py::test_what_is_done_and_sent_is_noted_with_every_verdict",
            "tests/end_to_end/test_job_rules.py::test_a_stop_between_two_calls_does_not_forget_what_the_first_one_did",
        ),
    ),
    Mutant(
        "mark_is_taken_back_though_it_may_be_sent",
        "worker/operations/hands.py",
        "a call without an answer counts as one that was never made",
        "                if error.did_not_act:\n",
        "                if error:\n",
        ("tests/end_to_end/test_ownership.py",),
    ),
    Mutant(
        "mark_stays_though_nothing_was_sent",
        "worker/operations/hands.py",
        "what Cyclr has surely not done counts as sent, and a customer's own connector as the row's",
        "                if error.did_not_act:\n",
        "                if not error:\n",
        ("tests/end_to_end/test_ownership.py",),
    ),
    Mutant(
        "any_id_is_ours",
        "worker/operations/finding.py",
        "a connector that was there before anything was sent is taken for the row's own",
        "highest_id is None or found.id <= highest_id:\n",
        "highest_id is None:\n",
        ("tests/end_to_end/test_ownership.py",),
    ),
    Mutant(
        "ours_whatever_it_shows",
        "worker/operations/finding.py",
        "a connector with another credential is taken for the row's own",
        "    return bool(sent) and all(standings[name] is FieldState.SAME for name in sent)\n",
        "    return bool(sent)\n",
        ("tests/end_to_end/test_ownership.py",),
    ),
    Mutant(
        "a_rescue_guesses",
        "worker/store/upkeep.py",
        "a row that had only looked when its worker was killed counts as sent",
        "items.c.sent.not_in(LEAVE_THE_TARGET_ALONE)",
        "items.c.sent.is_not(None)",
        ("tests/integration/store/test_upkeep.py::test_a_rescue_guesses_nothing_of_what_was_sent",),
    ),
    Mutant(
        "sent_is_cancelled",
        "worker/domain/verdicts.py",
        "a row of a cancelled job that has made an account, or sent something, counts as if nothing had happened",
        "    if not notes.is_begun:\n",
        "    if notes is not None:\n",
        ("tests/integration/store/test_upkeep.py::test_an_item_with_a_step_sent_or_done_is_never_cancelled",),
    ),
    Mutant(
        "cancelled_without_its_look",
        "worker/store/upkeep.py",
        "a row of a cancelled job whose install may have gone out ends without a look",
        "row.must_look or row.sent not in (None, NOTHING, ACCOUNT.name)",
        "row.must_look",
        ("tests/integration/store/test_upkeep.py::test_an_item_with_a_step_sent_or_done_is_never_cancelled",),
    ),
    Mutant(
        "overwritten_value_passes_for_the_rows",
        "worker/store/sealing.py",
        "what a row has overwritten is opened, and sent, as the row's own value",
        '    return f"{job_id}/{row_number}/undo"\n',
        '    return f"{job_id}/{row_number}"\n',
        (
            "tests/unit/store/test_sealing.py::test_what_was_overwritten_opens_for_its_row_and_its_purpose_alone",
        ),
    ),
    Mutant(
        "overwritten_value_is_kept_for_ever",
        "worker/store/upkeep.py",
        "a former credential stays in the database of a row that was done years ago",
        '(IS_UNDO_KEPT, "undo")',
        '(IS_KEPT, "undo")',
        (
            "tests/integration/store/test_upkeep.py::test_what_was_overwritten_is_wiped_once_it_was_kept_long_enough_after_its_rows_end",
        ),
    ),
    Mutant(
        "reseal_is_undone",
        "worker/store/claiming.py",
        "a row in hand writes back what it had overwritten as the old key sealed it, which nobody has any more",
        '"undo": None if notes.undo is before.undo else notes.undo',
        '"undo": notes.undo',
        (
            "tests/integration/store/test_steering.py::test_what_was_overwritten_is_sealed_with_the_first_key_too",
        ),
    ),
    Mutant(
        "rules_pause_a_job",
        "worker/store/job_states.py",
        "a file whose Names are taken pauses its job as if Cyclr had failed",
        "    ruled = job.ruled - job.ruled_at_start\n",
        "    ruled = 0\n",
        (
            "tests/integration/store/test_settling.py::test_what_fails_by_a_rule_is_neither_among_the_failed_nor_the_tried_of_that_share",
        ),
    ),
    # The tables
    Mutant(
        "lost_claim_settles",
        "worker/store/settling.py",
        "a worker whose item was rescued moves the counters",
        "    mine = list({_key(s): s for s in settlements if _key(s) in held}.values())\n",
        "    mine = list(settlements)\n",
        ("tests/integration/store/test_settling.py",),
    ),
    Mutant(
        "rescued_item_is_not_looked_for",
        "worker/store/upkeep.py",
        "an item whose worker was lost is installed again without a look",
        '            "must_look": True,\n',
        '            "must_look": items.c.must_look,\n',
        ("tests/integration/store/test_upkeep.py",),
    ),
    Mutant(
        "secret_outlives_the_install",
        "worker/store/settling.py",
        "the sealed credential of an installed item stays in the database",
        "        sealed=None,  # no secret of an installed item stays in the database\n",
        "        sealed=items.c.sealed,\n",
        ("tests/integration/store/test_settling.py",),
    ),
    Mutant(
        "any_row_may_be_unsealed",
        "worker/store/sealing.py",
        "sealed data of one row opens as that of another",
        '    return f"{job_id}/{row_number}"\n',
        '    return f"{job_id}"\n',
        ("tests/unit/store/test_sealing.py",),
    ),
    # Intake
    Mutant(
        "tried_target_is_not_looked_for",
        "worker/intake/plan.py",
        "a row whose target was tried in an earlier job is installed without a look",
        "            must_look=known is not None,\n",
        "            must_look=False,\n",
        ("tests/unit/intake/test_plan.py",),
    ),
    Mutant(
        "target_twice_in_a_file",
        "worker/intake/plan.py",
        "the same target twice in a file is accepted",
        "        first = self._targets.add(candidate.target, row.number)\n        if first is not None:\n",
        "        first = self._targets.add(candidate.target, row.number)\n        if first == -1:\n",
        ("tests/unit/intake/test_plan.py",),
    ),
    # The deployed mode
    Mutant(
        "claim_waits_for_a_locked_row",
        "worker/store/due.py",
        "a claim waits for rows that another session has locked, and takes them too",
        "    latest = _latest(select(*_COLUMNS), is_due).correlate(jobs).with_for_update(skip_locked=True)\n",
        "    latest = _latest(select(*_COLUMNS), is_due).correlate(jobs).with_for_update()\n",
        (
            "tests/integration/store/test_sessions.py::test_a_claim_leaves_alone_what_another_session_has_locked",
        ),
    ),
    Mutant(
        "claim_on_the_machines_clock",
        "worker/store/session.py",
        "claims of several machines last on each machine's own clock",
        '        now: datetime = connection.execute(text("SELECT clock_timestamp()")).scalar_one()\n',
        "        now = datetime.now(UTC)\n",
        (
            "tests/integration/store/test_sessions.py::test_a_claim_lasts_on_the_databases_clock_whatever_the_machines_own_says",
        ),
    ),
    Mutant(
        "jobs_locked_in_any_order",
        "worker/store/job_states.py",
        "a settle holds one job while it waits for another that comes before it",
        "    locked = select(jobs).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id)\n",
        "    locked = select(jobs).where(jobs.c.id.in_(job_ids)).order_by(jobs.c.id.desc())\n",
        (
            "tests/integration/store/test_sessions.py::test_a_settle_locks_its_jobs_in_one_order_also_those_that_it_only_pauses",
        ),
    ),
    Mutant(
        "repeated_claim_takes_more",
        "worker/store/claiming.py",
        "a claim whose commit came to pass and whose answer was lost takes a second set of rows",
        "        if is_repeated and (held := due.list_held(connection, claim_id)):\n",
        "        if not is_repeated and (held := due.list_held(connection, claim_id)):\n",
        ("tests/integration/store/test_lost_commits.py::test_a_claim_takes_one_set_of_items",),
    ),
    Mutant(
        "poison_row_among_others",
        "worker/store/due.py",
        "a row whose workers died is claimed together with others, which die with it",
        "_IS_INSTALL = and_(IS_QUEUED, items.c.due_at <= _NOW, items.c.deaths < DEATHS_UNTIL_ALONE)\n",
        "_IS_INSTALL = and_(IS_QUEUED, items.c.due_at <= _NOW)\n",
        (
            "tests/integration/store/test_claiming.py::test_an_item_whose_workers_died_twice_is_given_alone_and_only_to_an_idle_process",
        ),
    ),
    Mutant(
        "deaths_are_not_counted",
        "worker/store/upkeep.py",
        "a row that kills its workers is tried for ever",
        '            "deaths": items.c.deaths + 1,\n',
        '            "deaths": items.c.deaths,\n',
        (
            "tests/integration/store/test_upkeep.py::test_two_deaths_bring_an_item_back_and_the_third_alone_fails_it",
        ),
    ),
    Mutant(
        "sweep_sends_no_ticket",
        "worker/sweeping.py",
        "due rows wait for ever once their ticket was lost",
        "    if count_due(engine, instance_id, limit=1):\n",
        "    if count_due(engine, instance_id, limit=0):\n",
        (
            "tests/integration/store/test_upkeep.py::test_a_sweep_does_all_of_it_and_rings_when_something_is_due",
        ),
    ),
    Mutant(
        "ticket_for_every_ring",
        "worker/tickets.py",
        "the broker's queue grows with every ring",
        "                if self._waiting(connection.default_channel):\n",
        "                if self._waiting(connection.default_channel) < 0:\n",
        ("tests/integration/test_tickets.py::test_a_ticket_is_sent_only_while_the_queue_holds_none",),
    ),
    Mutant(
        "prolonging_is_deaf_to_a_pause",
        "worker/store/claiming.py",
        "a further call of an attempt is sent after its job was paused",
        "_STANDINGS = {JobState.RUNNING: Standing.HELD, JobState.CANCELLED: Standing.CALLED_OFF}\n",
        "_STANDINGS = {state: Standing.HELD for state in JobState} | {JobState.CANCELLED: Standing.CALLED_OFF}\n",
        (
            "tests/integration/store/test_claiming.py::test_a_prolonged_claim_hears_of_a_pause_and_of_a_cancel",
        ),
    ),
    Mutant(
        "prolonging_is_deaf_to_a_cancel",
        "worker/store/claiming.py",
        "a further call of an attempt installs after its job was cancelled",
        "_STANDINGS = {JobState.RUNNING: Standing.HELD, JobState.CANCELLED: Standing.CALLED_OFF}\n",
        "_STANDINGS = {JobState.RUNNING: Standing.HELD, JobState.CANCELLED: Standing.HELD}\n",
        (
            "tests/integration/store/test_claiming.py::test_a_prolonged_claim_hears_of_a_pause_and_of_a_cancel",
        ),
    ),
    Mutant(
        "retry_of_a_live_target",
        "worker/store/steering.py",
        "a person's retry queues a row whose target another job is installing",
        "    can = and_(wanted, is_kept, not_(_IS_LIVE_ELSEWHERE))\n",
        "    can = and_(wanted, is_kept)\n",
        (
            "tests/integration/store/test_steering.py::test_items_whose_target_is_live_in_another_job_are_left_out",
        ),
    ),
    Mutant(
        "retry_without_a_look",
        "worker/store/steering.py",
        "a person's retry installs without a look",
        '        "must_look": True,\n        "tried": False,\n',
        '        "must_look": False,\n        "tried": False,\n',
        (
            "tests/integration/store/test_steering.py::test_failed_items_begin_anew_with_a_look_and_the_job_runs_again",
        ),
    ),
    Mutant(
        "retry_keeps_the_tallies",
        "worker/store/steering.py",
        "failures by reason still count rows that are queued again",
        "    remove_failures(connection, failures)\n",
        "    remove_failures(connection, [])\n",
        ("tests/integration/store/test_tallies.py::test_a_retry_takes_all_groups_back",),
    ),
    Mutant(
        "last_key_seals",
        "worker/store/sealing.py",
        "a new first key seals nothing, so the old one can never be dropped",
        "        self._first = next(iter(keys))\n",
        "        self._first = next(reversed(list(keys)))\n",
        ("tests/integration/store/test_steering.py::test_everything_kept_is_sealed_with_the_first_key",),
    ),
    Mutant(
        "distrust_marks_nothing",
        "worker/store/steering.py",
        "after a lost commit what may have been sent is sent again without a look",
        "IS_LIVE).values(must_look=True, maybe_sent=True)\n",
        "IS_LIVE).values(maybe_sent=True)\n",
        (
            "tests/integration/store/test_steering.py::test_every_unfinished_item_is_looked_for_after_a_distrust",
        ),
    ),
    # Room, and the drain
    Mutant(
        "more_calls_than_allowed",
        "worker/installing/run.py",
        "what is claimed ahead of the room for its calls is sent at once",
        "        self._room = asyncio.Semaphore(rules.concurrency)\n",
        "        self._room = asyncio.Semaphore(2 * rules.concurrency)\n",
        (
            "tests/end_to_end/test_claims.py::test_items_are_claimed_ahead_and_no_more_calls_are_made_at_a_time",
        ),
    ),
    Mutant(
        "waits_for_room_for_ever",
        "worker/installing/attempt.py",
        "an item that finds no room is held until its claim runs out, as if its worker had died",
        "            async with asyncio.timeout(ROOM_WITHIN_S):\n",
        "            async with asyncio.timeout(None):\n",
        ("tests/end_to_end/test_claims.py::test_an_item_that_finds_no_room_is_given_back_untried",),
    ),
    Mutant(
        "workers_hear_of_no_drain",
        "worker/bootstrap/worker_process.py",
        "a SIGTERM to Celery's main process does not reach its worker processes, which go on installing",
        "            os.kill(process.pid, signal.SIGTERM)\n",
        "            os.kill(process.pid, 0)\n",
        ("tests/end_to_end/processes/test_drain.py",),
    ),
)
