"""Pictures made from samples are planned, judged and remembered with their lineage.

Written out with plain types rather than taken from pool.tables: those move on, this step must not.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    words = ("job", "parent", "condition", "recipe")
    op.create_table(
        "variants",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("project", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in words),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("sample", sa.Text(), nullable=True),
        sa.Column("suffix", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("reason", "regions", "gates")),
        sa.PrimaryKeyConstraint("id", name="pk_variants"),
        sa.ForeignKeyConstraint(["project"], ["projects.id"], name="fk_variants_project_projects"),
        sa.ForeignKeyConstraint(["parent"], ["samples.id"], name="fk_variants_parent_samples"),
    )
    op.create_index("ix_variants_sample", "variants", ["sample"])
    op.create_index("ix_variants_project_job_state", "variants", ["project", "job", "state"])


def downgrade() -> None:
    op.drop_table("variants")
