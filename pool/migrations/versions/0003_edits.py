"""What the service changed in Label Studio has a book.

Written out with plain types rather than taken from pool.tables: those move on, this step must not.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "edits",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("project", "task", "subject")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("field", "before", "after", "job", "who")),
        sa.Column("at", moment, nullable=False),
        sa.Column("undone_at", moment, nullable=True),
        sa.PrimaryKeyConstraint("seq", name="pk_edits"),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name="fk_edits_project_projects"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_edits_project_job", "edits", ["project", "job"])


def downgrade() -> None:
    op.drop_table("edits")
