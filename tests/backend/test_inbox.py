from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from backend.inbox import Inbox
from pool.schema import Event, ThresherError
from pool.store import Pool


def event(n: int) -> Event:
    return Event(f"key-{n}", 1, "ANNOTATION_CREATED", {"n": n})


def test_an_answer_means_the_event_is_on_disk(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pool.sqlite'}"

    async def send(pool: Pool) -> list[int]:
        inbox = Inbox(pool)
        seen: list[int] = []

        async def one(n: int) -> None:
            await inbox.put([event(n)])
            with Pool.open(url) as other:  # another process's view
                keys = {e.key for e in other.inbox(1000)}
            assert f"key-{n}" in keys
            seen.append(n)

        await asyncio.gather(*(one(n % 20) for n in range(40)))
        await inbox.close()
        return seen

    with Pool.open(url) as pool:
        assert len(asyncio.run(send(pool))) == 40
        assert pool.inbox_size() == 20  # the same key twice is one event


def test_events_that_arrive_together_share_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool.open(f"sqlite:///{tmp_path / 'pool.sqlite'}") as pool:
        sizes: list[int] = []
        receive = pool.receive

        def counted(events: Sequence[Event]) -> int:
            sizes.append(len(events))
            return receive(events)

        monkeypatch.setattr(pool, "receive", counted)

        async def send() -> None:
            inbox = Inbox(pool)
            await asyncio.gather(*(inbox.put([event(n)]) for n in range(200)))
            await inbox.close()

        asyncio.run(send())
        assert sum(sizes) == 200
        assert len(sizes) < 20


def test_a_failed_commit_is_heard_by_every_sender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Pool.open(f"sqlite:///{tmp_path / 'pool.sqlite'}") as pool:

        def broken(events: object) -> int:
            raise ThresherError("The disk is full.")

        monkeypatch.setattr(pool, "receive", broken)

        async def send() -> list[object]:
            inbox = Inbox(pool)
            results = await asyncio.gather(
                *(inbox.put([event(n)]) for n in range(5)), return_exceptions=True
            )
            await inbox.close()
            return list(results)

        assert all(isinstance(r, ThresherError) for r in asyncio.run(send()))
