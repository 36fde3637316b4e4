"""Figures for Prometheus, read from the ledger at the moment they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from backend import heartbeat
from backend.house import House


class _Ledger(Collector):
    def __init__(self, house: House) -> None:
        self._house = house

    def collect(self) -> Iterator[Metric]:
        """Gauges of every connected project."""
        pool = self._house.pool
        yield GaugeMetricFamily(
            "thresher_worker_alive", "1 while a worker runs.", float(heartbeat.alive(pool))
        )
        yield GaugeMetricFamily(
            "thresher_inbox_events", "Webhooks not yet in the ledger.", float(pool.inbox_size())
        )
        held = GaugeMetricFamily(
            "thresher_count", "How many of each noun the ledger holds.", labels=["project", "noun"]
        )
        quality = GaugeMetricFamily(
            "thresher_champion",
            "Holdout measurements of the serving model.",
            labels=["project", "version", "measure"],
        )
        for project in pool.projects():
            for noun, count in pool.counts(project.id).items():
                held.add_metric([str(project.id), noun], count)
            champion = pool.champion(project.id)
            for measure, value in (champion.metrics if champion else {}).items():
                quality.add_metric([str(project.id), champion.version if champion else "", measure], value)
        yield held
        yield quality


def exposition(house: House) -> str:
    """The text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Ledger(house))
    return generate_latest(registry).decode()
