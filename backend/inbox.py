"""Webhooks into the durable inbox, many per commit.

Label Studio waits at most a second for an answer and never sends an event twice, so an event is
answered only once it is on disk. Events that arrive while a commit is under way share the next one:
under load the cost of a commit is divided, alone it is one short write.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pool.schema import Event
from pool.store import Pool


class Inbox:
    """Group commit of events; one writer thread. ``received`` counts what it took since it was made."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.received = 0
        self._waiting: list[tuple[list[Event], asyncio.Future[None]]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._task: asyncio.Task[None] | None = None

    async def put(self, events: list[Event]) -> None:
        """Return once the events are committed; the same key twice is stored once."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain())
        await future

    async def _drain(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            events = [event for part, _ in group for event in part]
            try:
                await asyncio.get_running_loop().run_in_executor(self._writer, self._pool.receive, events)
            except Exception as error:  # every sender must hear that its event was not stored
                for _, future in group:
                    if not future.done():
                        future.set_exception(error)
            else:
                self.received += len(events)
                for _, future in group:
                    if not future.done():
                        future.set_result(None)

    async def close(self) -> None:
        """Finish what was taken in."""
        if self._task is not None:
            await self._task
        self._writer.shutdown(wait=True)
