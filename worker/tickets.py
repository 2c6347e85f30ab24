"""The doorbell: a Celery message that says "there may be work" and carries none. The database is the queue."""

from celery import Celery
from kombu.exceptions import ChannelError, OperationalError
from redis import Redis
from redis.exceptions import RedisError

from worker.telemetry import get_logger

QUEUE = "cyclr-bulk"
TASK = "cyclr_bulk.install"

log = get_logger()


def make_celery(broker_url: str) -> Celery:
    """A Celery app as this product wants it: JSON, no results, early ack, no prefetch, a broker that may go and come back."""
    app = Celery("cyclr-bulk", broker=_for_celery(broker_url), include=["worker.tasks"], set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_acks_late=False,  # a lost ticket costs seconds: the sweep sends another
        task_publish_retry=False,
        worker_disable_prefetch=True,  # a busy machine must not hold a ticket that an idle one could take
        worker_cancel_long_running_tasks_on_connection_loss=False,
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


def _for_celery(url: str) -> str:
    """redis-py says `unix://` for a socket, Celery `redis+socket://`; either may be given."""
    if not url.startswith("unix://"):
        return url
    return f"redis+socket://{url.removeprefix('unix://')}".replace("?db=", "?virtual_host=")


class Doorbell:
    """Sends tickets to one broker, and only while its queue holds none."""

    def __init__(self, broker_url: str) -> None:
        self._app = make_celery(broker_url)

    def ring(self) -> bool:
        """Whether a ticket was sent. A broker that is away costs seconds only: the sweep rings again."""
        try:
            with self._app.connection_or_acquire() as connection:
                if self._waiting(connection.default_channel):
                    return False
                self._app.send_task(TASK, queue=QUEUE, connection=connection)
        except (OperationalError, RedisError, OSError) as error:
            log.warning("broker_away", error=type(error).__name__)
            return False
        return True

    def _waiting(self, channel: object) -> int:
        try:
            return int(channel.queue_declare(QUEUE, passive=True).message_count)  # type: ignore[attr-defined]
        except ChannelError:  # Redis knows no empty queue
            return 0


def count_tickets(redis_url: str) -> int | None:
    """How many wait; None where the broker is away. `redis_url`: as redis-py spells it."""
    try:
        with Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=3) as redis:
            return int(redis.llen(QUEUE))
    except RedisError:
        return None
