"""The mutants of loads at the same time, and of what stands between us and PostgreSQL."""

from tests.mutants.mutants import Mutant

_MEETING = "tests/integration/store/test_meeting.py"
_POOLER = "tests/integration/store/test_pooler.py"

LOAD_MUTANTS = (
    Mutant(
        "load_believes_its_plan",
        "worker/store/loading.py",
        "what was sent for a target between the plan of a row and its load is sent again without a look",
        "            connection.execute(mine.values(must_look=True))\n",
        "            connection.execute(mine.values(must_look=False))\n",
        (f"{_MEETING}::test_a_target_that_was_tried_between_plan_and_load_is_looked_for",),
    ),
    Mutant(
        "lost_load_goes_on",
        "worker/store/loading.py",
        "a loader that was taken for dead writes on while its load is being deleted",
        "            jobs.c.loader_seen_at.is_not(None),\n",
        "",
        (
            "tests/integration/store/test_loading.py::test_a_loader_finds_its_load_lost_while_it_is_being_deleted",
        ),
    ),
    Mutant(
        "living_load_is_taken_for_dead",
        "worker/store/memory.py",
        "a load that is under way is deleted by the next one that needs its rows",
        "        return self.seen_at is None or self.silent_s >= LOADER_SILENT_S\n",
        "        return self.seen_at is None or self.silent_s >= 0\n",
        (
            f"{_MEETING}::test_a_load_under_way_is_waited_for_and_its_rows_are_refused_with_its_name",
            f"{_MEETING}::test_a_wait_ends_with_what_it_is_told",
        ),
    ),
    Mutant(
        "stopped_load_is_waited_for_for_ever",
        "worker/store/memory.py",
        "a loader that was stopped holds up all that need its rows, for ever",
        "        return self.seen_at is None or self.silent_s >= LOADER_SILENT_S\n",
        "        return self.seen_at is None\n",
        (f"{_MEETING}::test_what_a_killed_loader_left_is_in_nobodys_way_for_long",),
    ),
    Mutant(
        "taken_for_dead_though_heard_of",
        "worker/store/memory.py",
        "a loader that is heard of in the moment in which it is taken for dead loses its load",
        "                delete_load(self._engine, now.job_id, now.seen_at)\n",
        "                delete_load(self._engine, now.job_id)\n",
        (f"{_MEETING}::test_one_that_is_heard_of_in_the_moment_it_is_taken_for_dead_goes_on",),
    ),
    Mutant(
        "older_load_gives_way",
        "worker/store/loading.py",
        "two loads that come upon each other wait in a ring, or give way to each other again and again",
        "            if (load.began_at, load.job_id) < (self._began_at, self.job_id):\n",
        "            if (load.began_at, load.job_id) > (self._began_at, self.job_id):\n",
        (f"{_MEETING}::test_of_two_that_meet_each_other_the_younger_gives_way",),
    ),
    Mutant(
        "waiting_loader_is_silent",
        "worker/store/loading.py",
        "a loader that waits for another one is taken for dead",
        "            self._waiting.wait_for(load, self._be_heard)\n",
        "            self._waiting.wait_for(load)\n",
        (f"{_MEETING}::test_a_loader_that_waits_is_heard_of_meanwhile",),
    ),
    Mutant(
        "client_waits_without_end",
        "worker/web/handing_in.py",
        "a client waits for its answer as long as another load takes",
        "        if waited_s >= WAITS_FOR_LOAD_S:\n",
        "        if waited_s < 0:\n",
        (
            "tests/integration/web/test_submitting.py::"
            "test_a_load_that_has_rows_of_the_file_is_not_waited_for_longer_than_a_client_would",
        ),
    ),
    Mutant(
        "limits_of_the_session",
        "worker/store/postgres.py",
        "behind a pooler the limits of one transaction are those of another client's next one",
        "    return [f\"SET LOCAL {name} = '{value}'\" for name, value in settings.items()]\n",
        "    return [f\"SET {name} = '{value}'\" for name, value in settings.items()]\n",
        (f"{_POOLER}::test_a_job_goes_through_a_pooler_and_leaves_nothing_in_its_sessions",),
    ),
    Mutant(
        "statements_are_prepared",
        "worker/store/postgres.py",
        "statements are prepared in a session that a pooler lends to somebody else next",
        "    return int(threshold) or None if threshold.isdigit() else None\n",
        "    return int(threshold) if threshold.isdigit() else None\n",
        (f"{_POOLER}::test_a_job_goes_through_a_pooler_and_leaves_nothing_in_its_sessions",),
    ),
    Mutant(
        "any_encoding_is_taken",
        "worker/store/postgres.py",
        "a database that cannot hold the letters of a row is found out in the middle of a job",
        "        if encoding and encoding != ENCODING:\n",
        "        if encoding is None:\n",
        (f"{_POOLER}::test_a_database_that_does_not_keep_every_letter_is_refused_in_words",),
    ),
    # Two versions beside each other
    Mutant(
        "options_of_the_version_before_are_forgotten",
        "worker/store/due.py",
        "a job that the version before has loaded is installed without the looks that it asked for",
        "    return JobOptions.older(skip_invalid=False, look_first=row.look_first, skips=row.skip_if_present)\n",
        "    return JobOptions.older(skip_invalid=False, look_first=False, skips=False)\n",
        (
            "tests/integration/store/test_upgrades.py::test_options_of_a_job_of_the_version_before_mean_what_they_meant",
        ),
    ),
    Mutant(
        "any_operation_is_an_install",
        "worker/store/due.py",
        "what a later version's job asks for is installed by a worker that does not know it",
        "_IS_RUNNING = and_(jobs.c.state == JobState.RUNNING, _IS_KNOWN)\n",
        "_IS_RUNNING = jobs.c.state == JobState.RUNNING\n",
        (
            "tests/integration/store/test_claiming.py::test_what_a_later_versions_job_does_is_not_for_workers_of_this_one",
        ),
    ),
    Mutant(
        "held_target_is_anybodys",
        "worker/store/tables.py",
        "a row that is held is handed in a second time and installed twice",
        "IS_LIVE = _is_in(ItemState.QUEUED, ItemState.RUNNING, ItemState.HELD)\n",
        "IS_LIVE = _is_in(ItemState.QUEUED, ItemState.RUNNING)\n",
        ("tests/integration/store/test_held.py::test_the_target_of_a_held_item_is_its_own",),
    ),
)
