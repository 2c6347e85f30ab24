"""The tables. `migrations/` makes them; a test holds both together."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    and_,
    false,
    literal_column,
)
from sqlalchemy.types import TypeDecorator

from worker.domain.states import ItemState

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes on both databases; SQLite keeps them as text that sorts by time."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc if dialect.name == "postgresql" else utc.replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        read: datetime = value
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


# SQLite counts rows itself only for a column of exactly the type INTEGER.
RowId = BigInteger().with_variant(Integer, "sqlite")

instances = Table(
    "instances",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("api_host", Text, nullable=False),
    Column("gate_until", UtcDateTime),
    Column("rescues", BigInteger, nullable=False, server_default="0"),
)

sightings = Table(
    "sightings",
    metadata,
    Column("worker_id", String(16), primary_key=True),
    Column("instance_id", String(16), nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("name", Text, nullable=False),
    Column("scope", String(8), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
)

# Of browsers: begun with an API key, and over with it.
web_sessions = Table(
    "web_sessions",
    metadata,
    Column("hash", String(64), primary_key=True),
    Column("api_key_id", String(8), nullable=False),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("ends_at", UtcDateTime, nullable=False),
    Index("ix_web_sessions_api_key_id_begun_at", "api_key_id", "begun_at"),
    Index("ix_web_sessions_ends_at", "ends_at"),
)

# Files that were handed in and wait for a person's word, or for the end of their check.
uploads = Table(
    "uploads",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("api_key_id", String(8), nullable=False),
    Column("source_name", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("pieces", Integer, nullable=False, server_default="0"),
    Column("is_whole", Boolean, nullable=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Index("ix_uploads_expires_at", "expires_at"),
)

# Of a deployment; a home keeps them in files.
upload_pieces = Table(
    "upload_pieces",
    metadata,
    Column("upload_id", String(32), ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
)

# What a client called its request, so that a second one is known for the same.
idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("api_key_id", String(8), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("job_id", String(16)),
    Column("busy_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_idempotency_keys_created_at", "created_at"),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("instance_id", String(16), ForeignKey("instances.id"), nullable=False),
    Column("state", String(12), nullable=False),
    Column("pause_reason", String(24)),
    Column("source_name", Text, nullable=False),
    # The API key that handed it in (one of `api_keys`, which keeps all); None: a command did.
    Column("api_key_id", String(8)),
    Column("fingerprint", String(64), nullable=False),
    Column("columns", JSON, nullable=False),
    Column("delimiter", String(1), nullable=False, server_default=","),
    Column("look_first", Boolean, nullable=False, server_default=false()),
    Column("skip_if_present", Boolean, nullable=False, server_default=false()),
    # What is done to the rows, and what the job's options mean for each; None: as the two columns above say.
    Column("operation", String(12), nullable=False, server_default="install"),
    Column("options", JSON(none_as_null=True)),
    # The plan that this job carries out: one job at most for each.
    Column("plan_id", String(16)),
    # Counters move in the transaction that settles: final states and `tried` only.
    Column("total", Integer, nullable=False, server_default="0"),
    Column("held", Integer, nullable=False, server_default="0"),
    Column("installed", Integer, nullable=False, server_default="0"),
    Column("failed", Integer, nullable=False, server_default="0"),
    Column("cancelled", Integer, nullable=False, server_default="0"),
    Column("tried", Integer, nullable=False, server_default="0"),
    # Of the done ones: those whose customers have still to authorise; those that are done as asked, and have no credential.
    Column("to_authorise", Integer, nullable=False, server_default="0"),
    Column("without_credential", Integer, nullable=False, server_default="0"),
    # What the counters were at the last start or resume: the share of failures counts from there.
    Column("failed_at_start", Integer, nullable=False, server_default="0"),
    Column("tried_at_start", Integer, nullable=False, server_default="0"),
    # Of the failed ones: those that failed by a rule of ours, which says nothing against the file or Cyclr.
    Column("ruled", Integer, nullable=False, server_default="0"),
    Column("ruled_at_start", Integer, nullable=False, server_default="0"),
    Column("refused", Integer, nullable=False, server_default="0"),
    Column("skipped", Integer, nullable=False, server_default="0"),
    # The jobs that have done the skipped rows -> how many each; null where a version before this one has loaded it.
    Column("done_by", JSON(none_as_null=True)),
    # Of all rows; the first of them are in `job_warnings`.
    Column("warning_count", Integer, nullable=False, server_default="0"),
    # For how long it was running, up to the stretch that began at `working_since`; None: it rests.
    Column("worked_s", Float, nullable=False, server_default="0"),
    Column("working_since", UtcDateTime),
    # How many seconds one of its points in `pace_points` covers.
    Column("pace_s", Integer, nullable=False, server_default="1"),
    Column("created_at", UtcDateTime, nullable=False),
    Column("loader_seen_at", UtcDateTime),
    # The process that loads it, for those who wait for it.
    Column("loader", Text),
    Column("started_at", UtcDateTime),
    Column("finished_at", UtcDateTime),
    Index("ix_jobs_instance_id_state", "instance_id", "state"),
    Index("ix_jobs_fingerprint", "fingerprint"),
    Index("uq_jobs_plan_id", "plan_id", unique=True),
)

# What the check of a job's file warned of, beside the job's row, which is read all the time; no row where nothing was.
job_warnings = Table(
    "job_warnings",
    metadata,
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("warnings", JSON, nullable=False),
)

job_connectors = Table(
    "job_connectors",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("key", Text, nullable=False),
    Column("release_id", BigInteger, nullable=False),
    Column("definition", JSON, nullable=False),
    # Authentication ids of the rows -> those of the release in use, where a new release changed them.
    Column("renamed_methods", JSON, nullable=False),
    Column("resolved_at", UtcDateTime),
    Index("uq_job_connectors_job_id_key", "job_id", "key", unique=True),
)

items = Table(
    "items",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("row_number", Integer, nullable=False),
    # What is to be installed.
    Column("account_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("target", String(40), nullable=False),
    Column("connector_id", Integer, ForeignKey("job_connectors.id"), nullable=False),
    Column("authentication_id", Text),
    Column("description", Text),
    Column("account_name", Text),
    Column("account_description", Text),
    Column("account_timezone", Text),
    Column("cells", JSON, nullable=False),
    Column("sealed", LargeBinary),
    # What is asked for beside that; no secret is in it.
    Column("spec", JSON(none_as_null=True)),
    # Where it stands.
    Column("state", String(10), nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("claim_id", String(32)),
    Column("claim_until", UtcDateTime),
    Column("must_look", Boolean, nullable=False, server_default=false()),
    Column("maybe_sent", Boolean, nullable=False, server_default=false()),
    Column("tried", Boolean, nullable=False, server_default=false()),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("account_exists", Boolean, nullable=False, server_default=false()),
    Column("account_created", Boolean, nullable=False, server_default=false()),
    # The step whose call may have gone out, and what was seen before the first such call; None: none has.
    Column("sent", String(16)),
    Column("seen", JSON(none_as_null=True)),
    Column("steps_done", JSON(none_as_null=True)),
    # Whether this item made what it ended with, by proof; None: nothing was made, or nobody knows.
    Column("is_ours", Boolean),
    # What was overwritten, sealed.
    Column("undo", LargeBinary),
    # What a held item waits for.
    Column("held_for", String(12)),
    # How it ended.
    Column("outcome", String(10)),
    Column("code", String(32)),
    Column("message", Text),
    Column("http_status", Integer),
    Column("can_retry_help", Boolean),
    # Of a failed item: the key of its group in `failure_tallies`, as people type it.
    Column("reason", String(8)),
    Column("account_connector_id", BigInteger),
    Column("is_authenticated", Boolean),
    Column("differs", JSON),
    # Fields that this item's calls have set in what was there; those that Cyclr then showed otherwise, and what was known of
    # that from earlier items of the same target.
    Column("changed", JSON(none_as_null=True)),
    Column("shown_otherwise", JSON(none_as_null=True)),
    Column("settled_at", UtcDateTime),
    Index("uq_items_job_id_row_number", "job_id", "row_number", unique=True),
    Index("ix_items_target", "target"),
    # Deleting a connector with its job asks whether any item has it: without this, of all items there are.
    Index("ix_items_connector_id", "connector_id"),
    # By the numbers of letters, so that it serves beginnings in every language of a database.
    Index("ix_items_account_id", "account_id", "id", postgresql_ops={"account_id": "text_pattern_ops"}),
)

# Of jobs that are deleted: what may have been sent to Cyclr, as a hash of account and Name, so that a later file looks first.
remembered_targets = Table(
    "remembered_targets",
    metadata,
    Column("target", String(40), primary_key=True),
)

HELD_UNTIL = datetime(9999, 1, 1, tzinfo=UTC)  # due_at of an item that `--first` holds back
DEATHS_UNTIL_ALONE = 2  # an item whose worker died this often while holding it is claimed alone


def _is_in(*states: ItemState) -> Any:
    # Written out, not passed as parameters: a partial index serves only a query that plainly asks for its part.
    return items.c.state.in_([literal_column(f"'{state}'") for state in states])


IS_LIVE = _is_in(ItemState.QUEUED, ItemState.RUNNING, ItemState.HELD)
IS_HELD = items.c.state == literal_column("'held'")
IS_QUEUED = items.c.state == literal_column("'queued'")
IS_RUNNING = items.c.state == literal_column("'running'")
IS_TO_BE_LOOKED_FOR = and_(IS_QUEUED, items.c.must_look)
IS_CLAIMED_ALONE = and_(IS_QUEUED, items.c.deaths >= literal_column(str(DEATHS_UNTIL_ALONE)))
# Whether a customer or a credential is waited for says its connector's method.
IS_UNAUTHENTICATED = and_(items.c.state == literal_column("'installed'"), ~items.c.is_authenticated)
IS_FAILED = items.c.state == literal_column("'failed'")
# As the version before this one wrote it, which knew no keys.
IS_WITHOUT_REASON = and_(IS_FAILED, items.c.reason.is_(None))
# A job that is being deleted, piece by piece: nobody is shown it any more. A load has no end.
IS_FORGOTTEN = and_(jobs.c.state == literal_column("'loading'"), jobs.c.finished_at.is_not(None))
# A held item has no end either, by which it would be found.
IS_KEPT = and_(items.c.sealed.is_not(None), ~_is_in(ItemState.QUEUED, ItemState.RUNNING))


IS_UNDO_KEPT = items.c.undo.is_not(None)
IS_SHOWN_OTHERWISE = items.c.shown_otherwise.is_not(None)
# Of most jobs these are few.
IS_NOT_CREATED = items.c.outcome != literal_column("'created'")


def is_in_hand_of(job_id: str) -> Any:
    """Items of this job that workers hold, found among all that are held, which are few: by the job's own index SQLite
    would go through all of its items."""
    return and_(IS_RUNNING, items.c.job_id.concat("") == job_id)


def _partial(name: str, *columns: Any, where: Any, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)


# Jobs that ended long ago.
_partial("ix_jobs_finished_at", jobs.c.finished_at, where=jobs.c.finished_at.is_not(None))
# A target is live in one item at most: the rule that makes "never twice" independent of how claims go.
_partial("uq_items_live_target", items.c.target, where=IS_LIVE, unique=True)
# The claim: the latest due first, so that retries and looks go before fresh rows.
_partial("ix_items_due", items.c.job_id, items.c.due_at.desc(), items.c.id, where=IS_QUEUED)
# Of a cancelled job only these are claimed, whatever else is still waiting to be cancelled.
_partial("ix_items_looks", items.c.job_id, items.c.due_at.desc(), items.c.id, where=IS_TO_BE_LOOKED_FOR)
_partial("ix_items_held", items.c.job_id, items.c.id, where=IS_HELD)
_partial("ix_items_alone", items.c.due_at.desc(), items.c.id, where=IS_CLAIMED_ALONE)
_partial("ix_items_claims", items.c.claim_until, where=IS_RUNNING)
_partial("ix_items_unauthenticated", items.c.job_id, items.c.row_number, where=IS_UNAUTHENTICATED)
_partial("ix_items_failed", items.c.job_id, items.c.row_number, where=IS_FAILED)
_partial("ix_items_reason", items.c.job_id, items.c.reason, items.c.row_number, where=IS_FAILED)
_partial("ix_items_without_reason", items.c.id, where=IS_WITHOUT_REASON)
_partial("ix_items_kept_secrets", items.c.settled_at, where=IS_KEPT)
_partial("ix_items_kept_undo", items.c.settled_at, where=IS_UNDO_KEPT)
_partial("ix_items_shown_otherwise", items.c.target, where=IS_SHOWN_OTHERWISE)
_partial("ix_items_outcome", items.c.job_id, items.c.outcome, items.c.row_number, where=IS_NOT_CREATED)

attempts = Table(
    "attempts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("item_id", RowId, ForeignKey("items.id", ondelete="CASCADE"), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("took_s", Float, nullable=False),
    Column("call", String(16), nullable=False),
    Column("http_status", Integer),
    Column("verdict", String(12), nullable=False),
    Column("code", String(32)),
    Column("reason", Text),
    Index("ix_attempts_item_id", "item_id"),
)

# What settle counts beside the counters, so that no report goes through the items (`worker.store.tallies`).
failure_tallies = Table(
    "failure_tallies",
    metadata,
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("reason", String(32), primary_key=True),
    Column("code", String(32), nullable=False),
    Column("http_status", Integer),
    Column("can_retry_help", Boolean, nullable=False),
    # The message cut up, with what may vary from row to row in every second place.
    Column("parts", JSON, nullable=False),
    Column("count", Integer, nullable=False),
    Column("example_row", Integer, nullable=False),
    Column("example_account_id", Text, nullable=False),
    Index("ix_failure_tallies_job_id_count", "job_id", "count"),
)

# How many rows ended so; and of those, how many had this field changed (`''`: all of them, changed or not).
outcome_tallies = Table(
    "outcome_tallies",
    metadata,
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("outcome", String(16), primary_key=True),
    Column("field", Text, primary_key=True),
    Column("count", Integer, nullable=False),
)

pace_points = Table(
    "pace_points",
    metadata,
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("at", UtcDateTime, primary_key=True),
    Column("installed", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
)

call_tallies = Table(
    "call_tallies",
    metadata,
    Column("instance_id", String(16), ForeignKey("instances.id"), primary_key=True),
    Column("call", String(16), primary_key=True),
    Column("outcome", String(12), primary_key=True),
    # Its place in `LATENCY_BUCKETS_S`, or one more for those above them all.
    Column("bucket", Integer, primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("took_s", Float, nullable=False),
)

# Lines that became no item: refused (with `--skip-invalid`), or installed already (in a result file).
unloaded_rows = Table(
    "unloaded_rows",
    metadata,
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("row_number", Integer, primary_key=True),
    Column("cells", JSON, nullable=False),
    Column("problems", JSON(none_as_null=True)),
    Column("installed_job_id", String(16)),
    Column("installed_row_number", Integer),
)

# The authorisation desk of a job. Its links are signed and follow from this row and the item: none is stored.
desks = Table(
    "desks",
    metadata,
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    # Links of another batch hold no more; None: all are withdrawn.
    Column("batch", String(16)),
    Column("made_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    # Counters move in the transaction that notes it on the item's row of `links`.
    Column("opened", Integer, nullable=False, server_default="0"),
    Column("clicked", Integer, nullable=False, server_default="0"),
    Column("authorised", Integer, nullable=False, server_default="0"),
    # Cyclr is asked about all that wait, in the order of the rows: after this one; None: nobody asks.
    Column("asking_after", Integer),
    Column("asking_until", UtcDateTime),
    Column("asked_at", UtcDateTime),
)

# What happened to an item's link; an item whose link nobody has touched has no row.
links = Table(
    "links",
    metadata,
    Column(
        "item_id", RowId, ForeignKey("items.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    ),
    Column("job_id", String(16), ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("row_number", Integer, nullable=False),
    Column("generation", Integer, nullable=False, server_default="0"),
    Column("withdrawn_at", UtcDateTime),
    Column("opened_at", UtcDateTime),
    Column("clicked_at", UtcDateTime),
    Column("authorised_at", UtcDateTime),
    # Clicks since then: so many in so long a time, and no more.
    Column("clicks", Integer, nullable=False, server_default="0"),
    Column("clicks_since", UtcDateTime),
    # When Cyclr is asked next about this one, and how often it was since the last click.
    Column("ask_at", UtcDateTime),
    Column("asks", Integer, nullable=False, server_default="0"),
    Index("ix_links_job_id_row_number", "job_id", "row_number"),
)
_partial("ix_links_ask_at", links.c.ask_at, where=links.c.ask_at.is_not(None))
