"""The mutants of Redis: lines that keep a password from a stranger, workers alive, and calls held back."""

from tests.mutants.mutants import Mutant

_TLS = "tests/integration/test_redis_tls.py"
_LIMITER = "tests/integration/test_limiter_redis.py"
_ANSWERS = "tests/outages/test_redis_answers.py"

REDIS_MUTANTS = (
    Mutant(
        "certificate_is_not_asked_for",
        "worker/redis_url.py",
        "Celery speaks, and tells the password, to whatever server answers behind rediss://",
        "        always = {name: values[0] for name, values in ALWAYS.items()} if self.is_tls else {}\n",
        "        always: dict[str, str] = {}\n",
        (_TLS,),
    ),
    Mutant(
        "any_host_of_the_authority",
        "worker/redis_url.py",
        "a server with another host's certificate is told the password",
        '    "ssl_check_hostname": ("true", "yes", "1"),\n',
        '    "ssl_check_hostname": ("false", "true", "yes", "1"),\n',
        (_TLS,),
    ),
    Mutant(
        "error_reply_ends_idle_workers",
        "worker/tickets.py",
        "a full or read-only Redis ends every worker that has nothing to do",
        "    connection_errors = (*Transport.connection_errors, RedisError)\n",
        "    connection_errors = Transport.connection_errors\n",
        (_ANSWERS,),
    ),
    Mutant(
        "full_redis_lets_calls_through",
        "worker/cyclr/limiter_redis.py",
        "calls are made while Redis answers the limiter with errors",
        "            raise _away(error) from error\n        ALARMS.went_well(Server.REDIS, ASKING)\n",
        "            return Reply(1, 0, 1, 1, 0, 0, 0, 0, False, 1.0, 1.0 if error else 0.0)\n"
        "        ALARMS.went_well(Server.REDIS, ASKING)\n",
        (_LIMITER,),
    ),
)
