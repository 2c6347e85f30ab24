"""cyclr-bulk: a CSV of accounts becomes installed connectors.

The life of one row:

1. `cli.run.run_command` opens the file (`intake.open_source`) and has it checked (`jobs.check_file`): every row becomes
   a `PlannedRow`, a `RefusedRow` or a `SkippedRow` (`intake.iter_plan`).
2. `jobs.load_job` writes the planned rows as items, secrets sealed (`store.loading.Loader`), and the job runs.
   `tickets.Doorbell.ring` tells a worker that there may be work.
3. A worker takes the ticket (`tasks.install`) and runs the install loop for a while (`installing.run.InstallRun`):
   as many items from the database as will begin (`store.claiming.claim`), slots for them from the limiter, one
   `installing.attempt.ItemAttempt` for each.
4. An attempt goes through the steps of the job's operation (`operations.install`): the account, if asked, then the
   connector. Each is looked for (`cyclr.looks.look`) or done, and the whole ends with a `Verdict`;
   `installing.judging.judge` is the retry table.
5. `store.settling.settle` writes verdicts in groups, and only where the claim still holds.
6. `sweeping.sweep` takes back what a dead worker held, to be looked for before anything is sent again.
7. `jobs.write_result_file` writes what came of every row.
"""
