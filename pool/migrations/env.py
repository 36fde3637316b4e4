"""What Alembic runs: the steps, on the connection and in the transaction that it was handed."""

from alembic import context

from pool.migrations import VERSION_TABLE
from pool.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    # SQLite cannot alter most of a table in place; Alembic then copies the table.
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
