"""Mutants of alarms and starts: where a slip would leave an operator blind, or end what nobody starts again."""

from tests.mutants.mutants import Mutant

_ALARMS = "tests/unit/test_alarms.py"
_FAULTS = "tests/integration/store/test_faults.py"
_FLEET = "tests/outages/test_alarms.py"

ALARM_MUTANTS = (
    Mutant(
        "fault_is_never_said",
        "worker/telemetry.py",
        "nobody may call, and no process says so",
        "            log.warning(AWAY[fault.server], **fields)\n",
        "            del fields\n",
        (_ALARMS,),
    ),
    Mutant(
        "fault_is_said_each_time",
        "worker/telemetry.py",
        "a server that is away fills the disk with its alarms",
        "        if at is not None and self._clock.since(at) < SAID_EVERY_S:\n",
        "        if at is not None and self._clock.since(at) < 0:\n",
        (_ALARMS,),
    ),
    Mutant(
        "fault_of_a_row_is_quoted",
        "worker/store/faults.py",
        "what was to be stored stands in the log, in the database's own sentence",
        '        said = "" if state[:2] in _OF_ROWS else sentence(cause.diag.message_primary or str(cause))\n',
        "        said = sentence(cause.diag.message_primary or str(cause))\n",
        (_FAULTS,),
    ),
    Mutant(
        "start_ends_where_the_database_is_away",
        "worker/bootstrap/starting.py",
        "a process that starts while the database is away ends, and nothing takes its place",
        "            if fault.is_hopeless:\n                raise\n",
        "            if fault is not None:\n                raise\n",
        (f"{_FLEET}::test_what_starts_while_all_is_away_waits_says_so_and_goes_on",),
    ),
    Mutant(
        "wrong_password_is_waited_for",
        "worker/domain/server_faults.py",
        "a process with a wrong password waits for ever",
        'HOPELESS = frozenset({"28P01 invalid_password", ',
        "HOPELESS = frozenset({",
        (f"{_FLEET}::test_a_wrong_password_or_database_ends_the_process_in_words",),
    ),
    Mutant(
        "library_writes_beside_the_log",
        "worker/telemetry.py",
        "what a library logs with an error stands in the log with all that its text holds",
        "    if record.exc_info:\n        return sentence(str(record.msg))\n",
        "",
        ("tests/unit/test_telemetry.py",),
    ),
)
