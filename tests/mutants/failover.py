"""The mutants of a failover: lines that keep a deployment from staying with a database that takes no writes."""

from tests.mutants.mutants import Mutant

_LOSSES = "tests/integration/store/test_losses.py"

FAILOVER_MUTANTS = (
    Mutant(
        "read_only_sessions_are_as_good_as_others",
        "worker/store/faults.py",
        "a session that takes no writes stays in the pool, and its process never writes again",
        "        READ_ONLY_STATE,  # a standby, or a server that is being switched over\n",
        "",
        (_LOSSES,),
    ),
    Mutant(
        "read_only_sessions_begin",
        "worker/store/session.py",
        "a session that begins while its server takes no writes is kept for ever",
        '    "target_session_attrs": "read-write",\n',
        '    "target_session_attrs": "any",\n',
        (_LOSSES,),
    ),
    Mutant(
        "lost_sessions_stay_in_the_pool",
        "worker/store/session.py",
        "only a connection that is closed leaves the pool",
        "        context.is_disconnect = True\n",
        "        return\n",
        (_LOSSES,),
    ),
    Mutant(
        "lost_sessions_stay_after_a_copy",
        "worker/store/session.py",
        "a COPY that finds its session read-only leaves it in the pool",
        "    is_lost = is_closed or is_lost_session(error)\n",
        "    is_lost = is_closed\n",
        (_LOSSES,),
    ),
    Mutant(
        "outcomes_are_thrown_away_while_the_database_is_away",
        "worker/store/settling.py",
        "what a server refuses in a failover is taken for a bad row, and its outcome is dropped",
        "        if not is_of_data(refusal):\n            raise\n",
        "",
        (_LOSSES,),
    ),
    Mutant(
        "ready_without_writing",
        "worker/store/readiness.py",
        "a process whose database takes no writes is sent requests",
        '        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "on":\n',
        '        if connection.execute(text("SHOW transaction_read_only")).scalar_one() == "":\n',
        (_LOSSES, "tests/integration/web/test_no_writes.py"),
    ),
)
