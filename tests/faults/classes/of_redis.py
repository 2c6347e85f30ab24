"""Valkey answers with errors while its connections stand."""

import time
from typing import ClassVar

import redis

from tests import redis_states
from tests.faults.classes.of_servers import CALLS_END_WITHIN_S, ValkeyFault
from tests.redis_states import State
from worker.redis_faults import redis_fault

LASTS_S, LASTS_BRIEFLY_S = 10.0, 4.0


class ValkeyAnswersWithErrors(ValkeyFault):
    """Nobody may call, and nobody may end: calls begin again by themselves."""

    state: ClassVar[State]
    word: ClassVar[str]
    answered = ""

    def strike(self) -> None:
        with type(self).state(self.at.valkey):
            began = time.time()
            self.at.pass_time(LASTS_BRIEFLY_S if self.is_brief else LASTS_S)
            self.answered = self._answer()
            ended = time.time()
        calls = [call.received_at for call in self.at.cyclr.read_on().calls]
        late = sum(began + CALLS_END_WITHIN_S < at < ended for at in calls)
        assert late == 0, f"{late} calls while the limiter's Redis answered {self.word}"
        assert self.at.worker.exit_code is None, self.at.worker.err
        self.struck_at = ended

    def _answer(self) -> str:
        """What a process is told that has something to write."""
        try:
            with self.at.redis() as client:
                client.hset("somebody-writes", "a", "b")
        except redis.RedisError as error:
            return redis_fault(error)
        return ""

    def took_place(self) -> bool:
        return self.answered == self.word and self.calls_since(self.struck_at) > 0


class ValkeyFull(ValkeyAnswersWithErrors):
    name = "Valkey is full"
    state, word = redis_states.full, "OOM"


class ValkeyReadOnly(ValkeyAnswersWithErrors):
    name = "Valkey is read-only, as after a failover"
    state, word = redis_states.read_only, "READONLY"


class ValkeyWithoutItsMaster(ValkeyAnswersWithErrors):
    name = "Valkey has lost its master"
    # What may only read is told MASTERDOWN.
    state, word = redis_states.without_its_master, "READONLY"


class ValkeyWithoutReplicas(ValkeyAnswersWithErrors):
    name = "Valkey has too few replicas"
    state, word = redis_states.without_replicas, "NOREPLICAS"


class ValkeyUnableToSave(ValkeyAnswersWithErrors):
    name = "Valkey cannot save"
    state, word = redis_states.unable_to_save, "MISCONF"


class ValkeyForbids(ValkeyAnswersWithErrors):
    name = "Valkey's user loses its permissions"
    state, word = redis_states.forbidden, "NOPERM"


class ValkeyWantsAPassword(ValkeyAnswersWithErrors):
    name = "Valkey wants a password that nobody has"
    state, word = redis_states.with_a_password, "NOAUTH"


class ValkeyBusy(ValkeyAnswersWithErrors):
    name = "Valkey is busy with somebody's script"
    state, word = redis_states.busy, "BUSY"
