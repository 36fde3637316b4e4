"""The worker: runs the durable jobs, brings people's work home, and starts what follows from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from backend import heartbeat, loop, streaming
from backend.house import House, Job
from backend.workflows import Executor
from pool.schema import ThresherError

log = logging.getLogger("thresher.worker")

DRAIN_SECONDS = 0.5
DELIVER_SECONDS = 5.0  # images of a stream that come within it travel together


def run(house: House, stop: threading.Event) -> None:
    """Work until ``stop`` is set. Jobs left by a killed worker are taken up again first."""
    with Executor(house) as executor:
        log.info("worker ready, ledger %s", house.settings.ledger_url.split("@")[-1])
        tried: dict[int, float] = {}
        duties = (
            (heartbeat.BEAT_SECONDS, lambda: heartbeat.beat(house.pool)),
            (DRAIN_SECONDS, lambda: drain(executor, tried)),
            (house.settings.reconcile_seconds, lambda: compare(executor)),
        )
        # A thread each: a slow Label Studio delays the comparison, not the webhooks nor the heartbeat.
        threads = [threading.Thread(target=_repeat, args=(stop, every, duty)) for every, duty in duties]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heartbeat.end(house.pool)


def _repeat(stop: threading.Event, every: float, duty: Callable[[], None]) -> None:
    while not stop.is_set():
        try:
            duty()
        except ThresherError as error:
            log.warning("%s", error)
        except Exception:  # a duty that ends for good would be missed by nobody until it is too late
            log.exception("unexpected; going on")
        stop.wait(every)


def drain(executor: Executor, tried: dict[int, float]) -> None:
    """Take waiting events into the ledger and queue the jobs they call for, and what streams kept.

    ``tried`` remembers when a delivery of each project was queued: one that fails is not tried at once.
    """
    from backend.studio.collect import drain as take

    def queue(kind: str, project: int) -> None:
        log.info("queued %s", executor.jobs.start(kind, project))

    if executor.house.pool.inbox_size():
        take(executor.house.pool, queue)
    for project in executor.house.pool.projects():
        if (
            time.monotonic() - tried.get(project.id, -DELIVER_SECONDS) >= DELIVER_SECONDS
            and streaming.due(executor.house, project.id)
            and not executor.jobs.busy(project.id, "deliver")
        ):
            tried[project.id] = time.monotonic()
            queue("deliver", project.id)


def compare(executor: Executor) -> None:
    """Reconcile every connected project; images that the champion has not seen get a look."""
    house = executor.house
    if house.settings.api_key is None:
        return
    for project in house.pool.projects():
        try:
            report = loop.collect(house, project.id, Job(f"reconcile-p{project.id}"))
        except ThresherError as error:  # one project out of reach must not keep the others waiting
            log.warning("project %s: %s", project.id, error)
            continue
        behind = report["new_tasks"] or _behind(house, project.id)
        if behind and not executor.jobs.busy(project.id):
            executor.jobs.start("prelabel", project.id)


def _behind(house: House, project: int) -> bool:
    """Does the champion owe images a look, or Label Studio its predictions?"""
    champion = house.pool.champion(project)
    if champion is None:
        return False
    unseen = house.pool.unpredicted(project, champion.version)
    return bool(unseen) or any(t.pushed != champion.version for t in house.pool.tasks(project))
