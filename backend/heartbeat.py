"""Signs of life in the ledger: a worker that runs, webhooks that arrive."""

from __future__ import annotations

from datetime import UTC, datetime

from pool.schema import Progress
from pool.store import Pool

NAME = "worker"
HEARD = "webhooks"
SIGNS = (NAME, HEARD)
BEAT_SECONDS = 2.0
ALIVE_SECONDS = 15.0


def beat(pool: Pool) -> None:
    """Say that a worker runs."""
    pool.report(Progress(NAME, "alive", 0, 0, "", datetime.now(UTC)))


def end(pool: Pool) -> None:
    """Say that it does no longer."""
    pool.forget(NAME)


def alive(pool: Pool) -> bool:
    """Has a worker said so within the last seconds?"""
    now = datetime.now(UTC)
    return any(p.job == NAME and (now - p.at).total_seconds() < ALIVE_SECONDS for p in pool.progress())


def hear(pool: Pool, events: int) -> None:
    """Note how many webhooks the API has received since it started."""
    pool.report(Progress(HEARD, "received", events, 0, "", datetime.now(UTC)))


def heard(pool: Pool) -> datetime | None:
    """When the API last said that a webhook had arrived; None if it never did.

    A time and not the count, which begins anew with each start of the API.
    """
    return next((p.at for p in pool.progress() if p.job == HEARD), None)
