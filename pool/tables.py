"""The ledger's tables; one for each record that is kept, its columns named as the record's fields.

The same definitions serve SQLite and PostgreSQL. Lists and mappings are compact JSON in text
columns: they are read back whole, and JSON text keeps the order of keys, which PostgreSQL's jsonb
does not. A change here needs a new file in ``pool/migrations/versions``.
"""

from datetime import UTC, datetime

from sqlalchemy import (
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
    Table,
    Text,
    TypeDecorator,
    text,
)

from pool.schema import BadInput

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A moment in time: aware in any zone on the way in, aware UTC on the way out.

    SQLite keeps it as text of fixed width in UTC, which sorts as time does.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Bring an aware datetime to UTC; refuse a naive one, whose zone nobody can know."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise BadInput(
                "datetime", "aware of its time zone", value, "Give datetime.now(UTC), not now()."
            )
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give UTC back, whatever zone the database server lives in."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text that both databases can hold.

    File names on Linux need not be valid UTF-8 and reach Python with lone surrogates, which no
    driver can encode; PostgreSQL also refuses NUL. Such characters become U+FFFD, when written and
    when asked for, so that one odd name cannot stop a batch.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Replace what cannot be stored."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


# SQLite counts up by itself only in a column declared INTEGER.
Serial = BigInteger().with_variant(Integer, "sqlite")

projects = Table(
    "projects",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("title", Words, nullable=False),
    Column("control", Words, nullable=False),
    Column("image_tag", Words, nullable=False),
    Column("image_key", Words, nullable=False),
    Column("labels", Text, nullable=False),
    Column("label_map", Text, nullable=False),
    Column("secret", Words, nullable=False),
    Column("webhook", BigInteger),
    Column("ml_backend", BigInteger),
    Column("cursor", Moment),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Words, primary_key=True),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("name", Words, nullable=False),
    Column("original", Words, nullable=False, index=True),
    Column("phash", BigInteger, nullable=False),
    Column("root", Words, nullable=False),
    Column("holdout", Boolean, nullable=False),
    Column("suffix", Words, nullable=False),
    Column("source", Words, nullable=False),
    Column("parent", Words),
    Column("recipe", Words),
)

tasks = Table(
    "tasks",
    metadata,
    Column("project", BigInteger, ForeignKey(projects.c.id), primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("sample", Words, ForeignKey(samples.c.id), nullable=False),
    Column("uri", Words, nullable=False),
    Column("asked", Boolean, nullable=False),
    Column("overlap", Integer, nullable=False),
    Column("pushed", Words),
    Index("ix_tasks_project_sample", "project", "sample"),
)

models = Table(
    "models",
    metadata,
    Column("version", Words, primary_key=True),
    Column("project", BigInteger, ForeignKey(projects.c.id), nullable=False),
    Column("weights", Words, nullable=False),
    Column("sha256", Words, nullable=False),
    Column("classes", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("state", Words, nullable=False),
    Column("parent", Words),
    Column("snapshot", Words),
    Column("metrics", Text, nullable=False),
    Column("note", Words, nullable=False),
    Index("ix_models_project", "project"),
)
# The database itself keeps a project from ever having two champions.
Index(
    "uq_models_champion",
    models.c.project,
    unique=True,
    sqlite_where=text("state = 'champion'"),
    postgresql_where=text("state = 'champion'"),
)

# Small columns come first: SQLite then finds them without following a row's overflow pages.
predictions = Table(
    "predictions",
    metadata,
    Column("model_version", Words, ForeignKey(models.c.version), primary_key=True),
    Column("sample", Words, ForeignKey(samples.c.id), primary_key=True),
    Column("uncertainty", Float(53)),
    Column("measure", Words),
    Column("background", Float(53), nullable=False),
    Column("classes", Text, nullable=False),
    Column("regions", Text, nullable=False),
)

# Blocks of images, column by column (see pool.columns); ``name`` is made of the images' ids.
signals = Table(
    "signals",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("model_version", Words, ForeignKey(models.c.version), nullable=False),
    Column("name", Words, nullable=False),
    Column("classes", Text, nullable=False),
    Column("samples", Text, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    Column("background", LargeBinary, nullable=False),
    Column("score", LargeBinary, nullable=False),
    Column("kind", LargeBinary, nullable=False),
    Column("localisation", LargeBinary),
    Column("disagreement", LargeBinary),
    Column("embedding", LargeBinary),
    Column("probs", LargeBinary),
    Column("box_embeddings", LargeBinary),
    Index("ix_signals_version_name", "model_version", "name"),
    sqlite_autoincrement=True,
)

# What a part of the service remembers between two of its steps, such as a stream or a calibration.
states = Table(
    "states",
    metadata,
    Column("kind", Words, primary_key=True),
    Column("key", Words, primary_key=True),
    Column("body", Text, nullable=False),
)

# A failure without a project has 0 there and one without a model '': the four columns name the
# row together, and NULL is never equal to NULL.
failures = Table(
    "failures",
    metadata,
    Column("stage", Words, primary_key=True),
    Column("subject", Words, primary_key=True),
    Column("project", BigInteger, primary_key=True, autoincrement=False),
    Column("model_version", Words, primary_key=True),
    Column("message", Words, nullable=False),
    Column("at", Moment, nullable=False),
    Index("ix_failures_project", "project"),
)

annotations = Table(
    "annotations",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("project", BigInteger, ForeignKey(projects.c.id), nullable=False),
    Column("task", BigInteger, nullable=False),
    Column("sample", Words, ForeignKey(samples.c.id), nullable=False),
    Column("annotator", Words, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("deleted_at", Moment),
    Column("lead_time", Float(53)),
    Column("ground_truth", Boolean, nullable=False),
    Column("skipped", Boolean, nullable=False),
    Column("parent_prediction", BigInteger),
    Column("change", Text),
    Column("regions", Text, nullable=False),
)

# Nearly all questions are about live annotations of a project; this answers the counts alone.
Index(
    "ix_annotations_live",
    annotations.c.project,
    annotations.c.sample,
    annotations.c.skipped,
    sqlite_where=text("deleted_at IS NULL"),
    postgresql_where=text("deleted_at IS NULL"),
)

annotators = Table(
    "annotators",
    metadata,
    Column("id", Words, primary_key=True),
    Column("name", Words, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("id", Words, primary_key=True),
    Column("project", BigInteger, ForeignKey(projects.c.id), nullable=False, index=True),
    Column("number", Integer, nullable=False),
    Column("model_version", Words, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("outcome", Words),
)

decisions = Table(
    "decisions",
    metadata,
    Column("round", Words, ForeignKey(rounds.c.id), primary_key=True),
    Column("sample", Words, ForeignKey(samples.c.id), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("model_version", Words, nullable=False),
    Column("route", Words, nullable=False),
    Column("uncertainty", Float(53), nullable=False),
    Column("measure", Words, nullable=False),
    Column("strategy", Words, nullable=False),
    Column("reason", Words, nullable=False),
    Column("p_select", Float(53), nullable=False),
)

consensus = Table(
    "consensus",
    metadata,
    Column("project", BigInteger, ForeignKey(projects.c.id), primary_key=True, autoincrement=False),
    Column("sample", Words, ForeignKey(samples.c.id), primary_key=True),
    Column("score", Float(53)),
    Column("regions", Text, nullable=False),
    Column("annotators", Text, nullable=False),
    Column("disputed", Integer, nullable=False),
)

# Pictures made from samples; no foreign key on ``sample``, which enters the pool only if it passes.
variants = Table(
    "variants",
    metadata,
    Column("id", Words, primary_key=True),
    Column("project", BigInteger, ForeignKey(projects.c.id), nullable=False),
    Column("job", Words, nullable=False),
    Column("parent", Words, ForeignKey(samples.c.id), nullable=False),
    Column("condition", Words, nullable=False),
    Column("recipe", Words, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("state", Words, nullable=False),
    Column("sample", Words, index=True),
    Column("suffix", Words, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("reason", Words, nullable=False),
    Column("regions", Text, nullable=False),
    Column("gates", Text, nullable=False),
    Index("ix_variants_project_job_state", "project", "job", "state"),
)

# What was changed in Label Studio, in the order in which it was: the book of who, when and what before.
edits = Table(
    "edits",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("project", BigInteger, ForeignKey(projects.c.id), nullable=False),
    Column("task", BigInteger, nullable=False),
    Column("field", Words, nullable=False),
    Column("subject", BigInteger, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("job", Words, nullable=False),
    Column("who", Words, nullable=False),
    Column("at", Moment, nullable=False),
    Column("undone_at", Moment),
    Index("ix_edits_project_job", "project", "job"),
    sqlite_autoincrement=True,
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Words, primary_key=True),
    Column("project", BigInteger, ForeignKey(projects.c.id), nullable=False, index=True),
    Column("manifest", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

# A finished event leaves its key behind, without its body: the same delivery may come again.
events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("key", Words, nullable=False, unique=True),
    Column("project", BigInteger, nullable=False),
    Column("action", Words, nullable=False),
    Column("body", Text),
    Column("finished", Boolean, nullable=False),
    sqlite_autoincrement=True,
)
Index(
    "ix_events_waiting",
    events.c.seq,
    sqlite_where=text("finished = 0"),
    postgresql_where=text("NOT finished"),
)

progress = Table(
    "progress",
    metadata,
    Column("job", Words, primary_key=True),
    Column("step", Words, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("note", Words, nullable=False),
    Column("at", Moment, nullable=False),
)
