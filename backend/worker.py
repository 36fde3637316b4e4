"""The worker: runs the durable jobs, brings people's work home, and starts what follows from it."""

from __future__ import annotations

import logging
import threading
import time

from backend import heartbeat, loop
from backend.house import House, Job
from backend.workflows import Executor
from pool.schema import ThresherError

log = logging.getLogger("thresher.worker")


def run(house: House, stop: threading.Event) -> None:
    """Work until ``stop`` is set. Jobs left by a killed worker are taken up again first."""
    with Executor(house) as executor:
        log.info("worker ready, ledger %s", house.settings.ledger_url.split("@")[-1])
        beaten = compared = 0.0
        while not stop.wait(0.5):
            now = time.monotonic()
            if now - beaten > heartbeat.BEAT_SECONDS:
                beaten = now
                heartbeat.beat(house.pool)
            try:
                drain(executor)
                if now - compared > house.settings.reconcile_seconds:
                    compared = now
                    compare(executor)
            except ThresherError as error:  # a server that is away for a while must not end the worker
                log.warning("%s", error)
        heartbeat.end(house.pool)


def drain(executor: Executor) -> None:
    """Take waiting events into the ledger and queue the jobs they call for."""
    from backend.studio.collect import drain as take

    if not executor.house.pool.inbox_size():
        return
    for kind, project in sorted(take(executor.house.pool).jobs):
        log.info("queued %s", executor.jobs.start(kind, project))


def compare(executor: Executor) -> None:
    """Reconcile every connected project; images that the champion has not seen get a look."""
    house = executor.house
    if house.settings.api_key is None:
        return
    for project in house.pool.projects():
        report = loop.collect(house, project.id, Job(f"reconcile-p{project.id}"))
        champion = house.pool.champion(project.id)
        unseen = champion is not None and house.pool.unpredicted(project.id, champion.version)
        if (report["new_tasks"] or unseen) and not executor.jobs.busy(project.id):
            executor.jobs.start("prelabel", project.id)
