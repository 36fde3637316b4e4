"""The worker: runs the durable jobs, brings people's work home, and starts what follows from it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from backend import heartbeat, loop, streaming
from backend.house import House, Job
from backend.workflows import Executor
from pool.schema import ThresherError

log = logging.getLogger("thresher.worker")

DRAIN_SECONDS = 0.5
DELIVER_SECONDS = 2.0  # images of a stream that come within it travel together
LONGEST_SECONDS = 300.0


def run(house: House, stop: threading.Event) -> None:
    """Work until ``stop`` is set. Jobs left by a killed worker are taken up again first."""
    with Executor(house) as executor:
        log.info("worker ready, ledger %s", house.settings.ledger_url.split("@")[-1])
        deliveries: dict[int, Patience] = {}
        duties = (
            (heartbeat.BEAT_SECONDS, lambda: heartbeat.beat(house.pool)),
            (DRAIN_SECONDS, lambda: drain(executor, deliveries)),
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


def drain(executor: Executor, deliveries: dict[int, Patience]) -> None:
    """Take waiting events into the ledger and queue the jobs they call for, and what streams kept.

    ``deliveries`` remembers each project's patience: a delivery that fails is not tried at once.
    """
    from backend.studio.collect import drain as take

    def queue(kind: str, project: int) -> None:
        log.info("queued %s", executor.jobs.start(kind, project))

    if executor.house.pool.inbox_size():
        take(executor.house.pool, queue)
    for project, samples in streaming.all_due(executor.house).items():
        if deliveries.setdefault(project, Patience()).over(samples) and not executor.jobs.busy(
            project, "deliver"
        ):
            queue("deliver", project)


@dataclass
class Patience:
    """Waits a little before a delivery, and twice as long after each that delivered nothing."""

    wait: float = DELIVER_SECONDS
    since: float = field(default_factory=time.monotonic)
    last: list[str] = field(default_factory=list)

    def over(self, samples: list[str]) -> bool:
        """Is it time for these samples? Asked again, the answer is no until the next wait is over."""
        if time.monotonic() - self.since < self.wait:
            return False
        stuck = bool(self.last) and set(self.last) <= set(samples)
        self.wait = min(2 * self.wait, LONGEST_SECONDS) if stuck else DELIVER_SECONDS
        self.since, self.last = time.monotonic(), samples
        return True


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
