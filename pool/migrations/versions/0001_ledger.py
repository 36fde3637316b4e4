"""The ledger as it began.

Written out with plain types rather than taken from pool.tables: those move on, this step must not.
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _projects_and_samples()
    _models_and_predictions()
    _people()
    _rounds()
    _inbox()


def downgrade() -> None:
    for table in (
        "progress", "events", "failures", "snapshots", "decisions", "rounds", "consensus", "annotators",
        "annotations", "predictions", "models", "tasks", "samples", "projects",
    ):
        op.drop_table(table)


def _words(name: str, null: bool = False) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=null)


def _number(name: str, null: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.Integer(), nullable=null)


def _studio_id(name: str, null: bool = False) -> "sa.Column[int]":
    return sa.Column(name, sa.BigInteger(), autoincrement=False, nullable=null)


def _real(name: str, null: bool = False) -> "sa.Column[float]":
    return sa.Column(name, sa.Float(53), nullable=null)


def _flag(name: str) -> "sa.Column[bool]":
    return sa.Column(name, sa.Boolean(), nullable=False)


def _moment(name: str, null: bool = False) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), nullable=null)


def _blob(name: str) -> "sa.Column[bytes]":
    return sa.Column(name, sa.LargeBinary(), nullable=True)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _refers(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}")


def _projects_and_samples() -> None:
    op.create_table(
        "projects",
        _studio_id("id"), _words("title"), _words("control"), _words("image_tag"), _words("image_key"),
        _words("labels"), _words("label_map"), _words("secret"), _studio_id("webhook", null=True),
        _studio_id("ml_backend", null=True), _moment("cursor", null=True),
        _key("projects", "id"),
    )
    op.create_table(
        "samples",
        _words("id"), _number("width"), _number("height"), _words("name"), _words("original"),
        _studio_id("phash"), _words("root"), _flag("holdout"), _words("suffix"), _words("source"),
        _words("parent", null=True), _words("recipe", null=True),
        _key("samples", "id"),
    )
    op.create_index("ix_samples_original", "samples", ["original"])
    op.create_table(
        "tasks",
        _studio_id("project"), _studio_id("id"), _words("sample"), _words("uri"), _flag("asked"),
        _number("overlap"), _words("pushed", null=True),
        _key("tasks", "project", "id"),
        _refers("tasks", "project", "projects.id"), _refers("tasks", "sample", "samples.id"),
    )
    op.create_index("ix_tasks_project_sample", "tasks", ["project", "sample"])


def _models_and_predictions() -> None:
    op.create_table(
        "models",
        _words("version"), _studio_id("project"), _words("weights"), _words("sha256"), _words("classes"),
        _moment("created_at"), _words("state"), _words("parent", null=True), _words("snapshot", null=True),
        _words("metrics"), _words("note"),
        _key("models", "version"), _refers("models", "project", "projects.id"),
    )
    op.create_index("ix_models_project", "models", ["project"])
    op.create_index(
        "uq_models_champion", "models", ["project"], unique=True,
        sqlite_where=sa.text("state = 'champion'"), postgresql_where=sa.text("state = 'champion'"),
    )
    op.create_table(
        "predictions",
        _words("model_version"), _words("sample"), _real("uncertainty", null=True),
        _words("measure", null=True), _real("background"), _words("classes"), _words("regions"),
        _blob("probs"), _blob("embedding"),
        _key("predictions", "model_version", "sample"),
        _refers("predictions", "model_version", "models.version"),
        _refers("predictions", "sample", "samples.id"),
    )
    op.create_table(
        "failures",
        _words("stage"), _words("subject"), _studio_id("project"), _words("model_version"),
        _words("message"), _moment("at"),
        _key("failures", "stage", "subject", "project", "model_version"),
    )
    op.create_index("ix_failures_project", "failures", ["project"])


def _people() -> None:
    op.create_table(
        "annotations",
        _studio_id("id"), _studio_id("project"), _studio_id("task"), _words("sample"), _words("annotator"),
        _moment("created_at"), _moment("updated_at"), _moment("deleted_at", null=True),
        _real("lead_time", null=True), _flag("ground_truth"), _flag("skipped"),
        _studio_id("parent_prediction", null=True), _words("change", null=True), _words("regions"),
        _key("annotations", "id"),
        _refers("annotations", "project", "projects.id"), _refers("annotations", "sample", "samples.id"),
    )
    op.create_index(
        "ix_annotations_live", "annotations", ["project", "sample", "skipped"],
        sqlite_where=sa.text("deleted_at IS NULL"), postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table("annotators", _words("id"), _words("name"), _key("annotators", "id"))
    op.create_table(
        "consensus",
        _studio_id("project"), _words("sample"), _real("score", null=True), _words("regions"),
        _words("annotators"), _number("disputed"),
        _key("consensus", "project", "sample"),
        _refers("consensus", "project", "projects.id"), _refers("consensus", "sample", "samples.id"),
    )


def _rounds() -> None:
    op.create_table(
        "rounds",
        _words("id"), _studio_id("project"), _number("number"), _words("model_version"), _number("asked"),
        _moment("opened_at"), _moment("closed_at", null=True), _words("outcome", null=True),
        _key("rounds", "id"), _refers("rounds", "project", "projects.id"),
    )
    op.create_index("ix_rounds_project", "rounds", ["project"])
    op.create_table(
        "decisions",
        _words("round"), _words("sample"), _number("position"), _words("model_version"), _words("route"),
        _real("uncertainty"), _words("measure"), _words("strategy"), _words("reason"), _real("p_select"),
        _key("decisions", "round", "sample"),
        _refers("decisions", "round", "rounds.id"), _refers("decisions", "sample", "samples.id"),
    )
    op.create_table(
        "snapshots",
        _words("id"), _studio_id("project"), _words("manifest"), _moment("created_at"),
        _key("snapshots", "id"), _refers("snapshots", "project", "projects.id"),
    )
    op.create_index("ix_snapshots_project", "snapshots", ["project"])


def _inbox() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True),
        _words("key"), _studio_id("project"), _words("action"), _words("body", null=True), _flag("finished"),
        _key("events", "seq"), sa.UniqueConstraint("key", name="uq_events_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_events_waiting", "events", ["seq"],
        sqlite_where=sa.text("finished = 0"), postgresql_where=sa.text("NOT finished"),
    )
    op.create_table(
        "progress",
        _words("job"), _words("step"), _studio_id("done"), _studio_id("total"), _words("note"), _moment("at"),
        _key("progress", "job"),
    )
