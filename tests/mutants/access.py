"""Mutants of sessions, streams and the end of jobs: where a slip would let somebody go on who may not, or lose what is needed."""

from tests.mutants.mutants import Mutant

SESSIONS = "tests/integration/web/test_web_sessions.py"
FOLLOWING = "tests/integration/web/test_following.py"
FORGETTING = "tests/integration/store/test_forgetting.py"

ACCESS_MUTANTS = (
    Mutant(
        "signed_out_session_works",
        "worker/web/pages/signing_in.py",
        "whoever has copied a cookie goes on after its person has signed out",
        "    await run_in_threadpool(access_of(request).end_session, session_cookie(request))\n",
        "",
        (f"{SESSIONS}::test_a_session_that_was_signed_out_opens_nothing_though_its_cookie_was_kept",),
    ),
    Mutant(
        "session_outlives_its_key",
        "worker/store/api_keys.py",
        "a session goes on after the API key that it was begun with was revoked",
        "        return self.looked_at < self.ends_at and self.key.is_valid(self.looked_at)\n",
        "        return self.looked_at < self.ends_at\n",
        (f"{SESSIONS}::test_a_revoked_key_ends_its_sessions_and_no_others",),
    ),
    Mutant(
        "session_never_ends",
        "worker/store/api_keys.py",
        "a session goes on after its twelve hours",
        "        return self.looked_at < self.ends_at and self.key.is_valid(self.looked_at)\n",
        "        return self.key.is_valid(self.looked_at)\n",
        (f"{SESSIONS}::test_a_session_ends_after_twelve_hours",),
    ),
    Mutant(
        "planted_cookie_is_taken",
        "worker/web/guards.py",
        "over TLS a cookie counts that a neighbour of the host can set",
        "    return HOST_COOKIE if is_over_tls(request) else COOKIE\n",
        "    return COOKIE\n",
        (f"{SESSIONS}::test_over_tls_the_cookie_is_of_this_host_alone",),
    ),
    Mutant(
        "revoked_key_goes_on_hearing",
        "worker/web/api/events.py",
        "a stream goes on after the key of its caller was revoked",
        "            if isinstance(why_no_more, str):\n",
        "            if why_no_more is None and isinstance(why_no_more, str):\n",
        (f"{FOLLOWING}::test_a_revoked_key_hears_why_and_then_nothing",),
    ),
    Mutant(
        "every_follower_asks",
        "worker/web/api/events.py",
        "each stream asks the database by itself",
        "        asker = self._by_key.get(key)\n",
        "        asker = None\n",
        (f"{FOLLOWING}::test_the_database_is_asked_once_a_second_however_many_follow",),
    ),
    Mutant(
        "retried_job_is_deleted",
        "worker/store/steering.py",
        "an old job is deleted although a person has just had it run again",
        "            writing(engine, partial(_give_up, job_id=job_id, condition=is_old))\n",
        "            writing(engine, partial(_give_up, job_id=job_id, condition=jobs.c.id == job_id))\n",
        (f"{FORGETTING}::test_a_job_that_is_retried_at_that_moment_is_not_deleted",),
    ),
    Mutant(
        "deleted_job_is_not_remembered",
        "worker/store/upkeep.py",
        "a file that comes again after its job was deleted is sent without a look",
        "            _remember(connection, these)\n",
        "            pass\n",
        (f"{FORGETTING}::test_a_later_file_looks_for_what_a_deleted_job_may_have_sent",),
    ),
    Mutant(
        "job_that_is_being_deleted_is_not_remembered",
        "worker/store/memory.py",
        "a file that comes again while its job is being deleted is sent without a look",
        "        .where(is_one_of_them, or_(jobs.c.state != JobState.LOADING, IS_FORGOTTEN))\n",
        "        .where(is_one_of_them, jobs.c.state != JobState.LOADING)\n",
        (f"{FORGETTING}::test_a_later_file_looks_for_what_a_deleted_job_may_have_sent",),
    ),
)
