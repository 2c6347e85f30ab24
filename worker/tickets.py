"""The doorbell: a Celery message that says "there may be work" and carries none. The database is the queue."""

from queue import Empty
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.exceptions import ChannelError, OperationalError
from kombu.transport.redis import Channel, Transport
from redis import Redis
from redis.exceptions import RedisError

from worker.domain.server_faults import Server
from worker.redis_faults import redis_server_fault
from worker.redis_url import parse_redis_url
from worker.telemetry import ALARMS

QUEUE = "cyclr-bulk"
TASK = "cyclr_bulk.install"
RINGING = "sending a ticket"
RECEIVING = "waiting for a ticket"
LONGEST_PAUSE_S = 5  # between two tries to connect


class PatientChannel(Channel):
    """Redis is back once a question for a ticket was answered: one that answers with errors is connected to all the same."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            found = super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except Empty:
            ALARMS.went_well(Server.REDIS, RECEIVING)
            raise
        ALARMS.went_well(Server.REDIS, RECEIVING)
        return found


class PatientTransport(Transport):
    """Any error reply is as a lost connection: what was asked for is begun anew. Celery's own way is to end the worker."""

    Channel = PatientChannel
    connection_errors = (*Transport.connection_errors, RedisError)


class PatientConnection(Connection):
    """Looks for its Redis every few seconds, however long that has been away."""

    def get_transport_cls(self) -> type[PatientTransport]:
        return PatientTransport

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        pace = {"interval_start": 1, "interval_step": 1, "interval_max": LONGEST_PAUSE_S}
        return super().ensure_connection(*args, **(pace | options))  # type: ignore[no-untyped-call]


class PatientAMQP(AMQP):  # type: ignore[misc] # Celery has no types
    Connection = PatientConnection


def make_celery(broker_url: str) -> Celery:
    """A Celery app as this product wants it: JSON, no results, early ack, no prefetch, a broker that may go and come back."""
    app = Celery(
        "cyclr-bulk",
        broker=parse_redis_url(broker_url).for_celery(),
        amqp=PatientAMQP,
        set_as_current=False,
    )
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,  # a lost ticket costs seconds: the sweep sends another
        task_publish_retry=False,
        worker_disable_prefetch=True,  # a busy machine must not hold a ticket that an idle one could take
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_consumer="worker.bootstrap.worker_process:PatientConsumer",
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_enable_remote_control=False,  # whoever may write to Redis could stop workers, or have them say what they know
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_limit=2,
        # A Redis that is half away would hold a publisher for its whole socket timeout.
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 3},
        enable_utc=True,
    )
    return app


class Doorbell:
    """Sends tickets to one broker, and only while its queue holds none."""

    def __init__(self, broker_url: str) -> None:
        self._app = make_celery(broker_url)

    def ring(self) -> bool:
        """Whether a ticket was sent. A broker that is away costs seconds only: the sweep rings again."""
        try:
            with self._app.connection_or_acquire() as connection:
                if self._waiting(connection.default_channel):
                    ALARMS.went_well(Server.REDIS, RINGING)
                    return False
                self._app.send_task(TASK, queue=QUEUE, connection=connection)
        except (OperationalError, RedisError, OSError) as error:
            ALARMS.failed(redis_server_fault(error), RINGING)
            return False
        ALARMS.went_well(Server.REDIS, RINGING)
        return True

    def _waiting(self, channel: object) -> int:
        try:
            return int(channel.queue_declare(QUEUE, passive=True).message_count)  # type: ignore[attr-defined]
        except ChannelError:  # Redis knows no empty queue
            return 0


def count_tickets(redis_url: str) -> int | None:
    """How many wait; None where the broker is away."""
    try:
        return ask_broker(redis_url)
    except RedisError:
        return None


def ask_broker(redis_url: str) -> int:
    """How many wait. Raises: RedisError, OSError."""
    url = parse_redis_url(redis_url).for_redis_py()
    with Redis.from_url(url, socket_timeout=5, socket_connect_timeout=3) as redis:
        return int(redis.llen(QUEUE))
