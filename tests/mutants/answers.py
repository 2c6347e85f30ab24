"""The mutants of hostile input: what one answer or one request may cost, and what may reach a terminal."""

from tests.mutants.mutants import Mutant

_ANSWERS = "tests/hostile/test_answers.py"
_BODIES = "tests/hostile/test_json_bodies.py"
_TERMINAL = "tests/hostile/test_terminal.py"

ANSWER_MUTANTS = (
    Mutant(
        "gzip_without_bound",
        "worker/cyclr/transport.py",
        "a megabyte of an answer is unpacked into a gigabyte",
        "        if came > most_bytes or len(body) > most_bytes:\n",
        "        if came > most_bytes:\n",
        (f"{_ANSWERS}::test_a_gzip_of_gigabytes_is_left_at_the_bound",),
    ),
    Mutant(
        "any_packing_is_read",
        "worker/cyclr/transport.py",
        "an answer that is packed otherwise is read as if it were not",
        '    if packing not in ("gzip", "identity"):\n',
        '    if packing in ("",):\n',
        (
            f"{_ANSWERS}::test_an_answer_packed_otherwise_than_asked_for_leaves_the_outcome_unknown",
            f"{_ANSWERS}::test_two_headers_are_two_encodings",
        ),
    ),
    Mutant(
        "half_a_gzip_is_read",
        "worker/cyclr/transport.py",
        "the beginning of an answer is taken for the whole of it",
        "    if unpack is not None and not unpack.has_ended:\n",
        "    if unpack is not None and not came:\n",
        (f"{_ANSWERS}::test_a_damaged_gzip_leaves_the_outcome_unknown",),
    ),
    Mutant(
        "unreadable_refusal_is_believed",
        "worker/cyclr/answers.py",
        "a row is given up as refused whose Name is in use by its own lost install",
        "    if answer.fault and not answer.is_cut and status != 401:\n",
        "    if answer.fault and status == 401:\n",
        (f"{_ANSWERS}::test_an_unreadable_400_may_have_said_that_the_name_is_in_use",),
    ),
    Mutant(
        "stale_answer_is_believed",
        "worker/cyclr/transport.py",
        "an empty list that a proxy sent twice says of another account that nothing is installed there",
        "            if protocol is not None and not protocol.should_close and not _has_news(connection.transport):\n",
        "            if protocol is not None:\n",
        (f"{_ANSWERS}::test_an_answer_that_came_later_is_not_that_of_the_next_call",),
    ),
    Mutant(
        "part_of_a_list_is_taken_for_all",
        "worker/web/json_items.py",
        "what was read of a list before reading ended becomes a job",
        "        if not has_ended:\n            raise HttpError",
        "        if False:\n            raise HttpError",
        (f"{_BODIES}::test_a_part_is_never_taken_for_the_whole",),
    ),
    Mutant(
        "faults_without_end",
        "worker/web/json_items.py",
        "each of a million wrong values is told",
        "        if found >= SHOWN_FAULTS or len(self._columns) > MOST_COLUMNS:\n",
        "        if len(self._columns) > MOST_COLUMNS:\n",
        (f"{_BODIES}::test_reading_ends_at_the_thousandth_fault",),
    ),
    Mutant(
        "printed_as_it_came",
        "worker/cli/terminal.py",
        "an upload's name sets the title of the operator's terminal, or clears it",
        "        self.write_as_it_is(visible(text))\n",
        "        self.write_as_it_is(text)\n",
        (f"{_TERMINAL}::test_whatever_is_written_to_a_stream_of_the_command_is_made_visible",),
    ),
    Mutant(
        "names_make_lines",
        "worker/cli/terminal.py",
        "a connector's name makes a line that says that all is installed",
        '    stream.write(f"{visible_line(text)}\\n")\n',
        '    stream.write(f"{visible(text)}\\n")\n',
        (f"{_TERMINAL}::test_what_is_said_is_a_line",),
    ),
)
