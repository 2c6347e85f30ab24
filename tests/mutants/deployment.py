"""The mutants of a deployment: lines that keep strangers from steering workers, and workers from being restarted for nothing."""

from tests.mutants.mutants import Mutant

_HEALTHY = "tests/end_to_end/fleet/test_healthy.py"

DEPLOYMENT_MUTANTS = (
    Mutant(
        "redis_steers_workers",
        "worker/tickets.py",
        "whoever can write to Redis can stop workers and ask them for what they know",
        "        worker_enable_remote_control=False,  #",
        "        worker_enable_remote_control=True,  #",
        (_HEALTHY,),
    ),
    Mutant(
        "away_database_restarts_workers",
        "worker/cli/upkeep.py",
        "a database that is away has every worker restarted, with rows in hand",
        'no worker is better for a restart.")\n            return\n',
        'no worker is better for a restart.")\n            raise typer.Exit(SOME_FAILED) from None\n',
        (_HEALTHY,),
    ),
    Mutant(
        "workers_vouch_for_each_other",
        "worker/store/instances.py",
        "a worker that hangs counts as well while one of another machine lives",
        "        if machine is not None:\n",
        "        if machine is None:\n",
        (_HEALTHY,),
    ),
)
