"""The history of the ledger's tables, one file a step; ``pool.migrate`` walks it."""

HEAD = "0004"
"""The newest step in ``versions``; a ledger that is there already needs no Alembic to open."""

VERSION_TABLE = "ledger_version"
"""Where the ledger notes its step; not Alembic's usual name, which a shared database may have taken."""
