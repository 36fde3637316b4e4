"""In which order Label Studio serves tasks whose predictions name a cluster.

The rule that this project relies on: for each person, the tasks of the cluster of which they answered the
fewest come first, and among these the lowest score. No number is a cluster like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import pytest

from backend.studio.client import Studio
from backend.studio.notes import set_clusters
from tests.live.conftest import CONFIG

Clusters = Sequence[int | None]

BLOCKS: Clusters = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2)
MIXED: Clusters = (2, 0, 0, 1, 0, 2, 1, 1, 0, 2, 2, 1)


class Queue:
    """Twelve tasks; the n-th has the n-th lowest score and the n-th cluster. Tasks are named by place."""

    def __init__(self, studio: Studio, title: str, clusters: Clusters) -> None:
        self.clusters = list(clusters)
        self.studio = studio
        made = studio.create_project(title, CONFIG, sampling="Uncertainty sampling")
        self.project = int(made["id"])
        data = [{"image": f"{n}.png", "why": ""} for n in range(len(clusters))]
        self.tasks = studio.import_tasks(self.project, data)
        self.predict("v1")
        self.group("v1", {n: c for n, c in enumerate(clusters) if c is not None})

    def predict(self, version: str) -> None:
        items = [
            {"task": task, "result": [], "score": (n + 1) / 20, "model_version": version}
            for n, task in enumerate(self.tasks)
        ]
        assert self.studio.import_predictions(self.project, items) == len(items)
        self.studio.update_project(self.project, model_version=version)

    def group(self, version: str, clusters: Mapping[int, int]) -> None:
        named = {self.tasks[n]: cluster for n, cluster in clusters.items()}
        assert set_clusters(self.studio, self.project, version, named) == len(named)

    def next(self, person: Studio) -> int | None:
        served = person.next_task(self.project)
        return None if served is None else self.tasks.index(served["id"])

    def answer(self, person: Studio, place: int, *, skip: bool = False) -> None:
        person.create_annotation(self.tasks[place], result=[], was_cancelled=skip)

    def walk(self, person: Studio, *, skip: bool = False) -> Iterator[int]:
        while (place := self.next(person)) is not None:
            self.answer(person, place, skip=skip)
            yield place


def expected(clusters: Clusters, people: int) -> list[list[int]]:
    """Who is served what if people take turns: by how often each saw the cluster, then by score."""
    left = list(range(len(clusters)))
    seen = [Counter[int | None]() for _ in range(people)]
    walks: list[list[int]] = [[] for _ in range(people)]
    while left:
        for mine, walk in zip(seen, walks, strict=True):
            if left:
                place = min(left, key=lambda n: (mine[clusters[n]], n))
                left.remove(place)
                walk.append(place)
                mine[clusters[place]] += 1
    return walks


@pytest.mark.parametrize("clusters", [BLOCKS, MIXED])
def test_two_people_in_turn_are_each_served_the_cluster_they_saw_least_then_the_lowest_score(
    studio: Studio, ann: Studio, bob: Studio, titles: Iterator[str], clusters: Clusters
) -> None:
    queue = Queue(studio, next(titles), clusters)
    # While nothing is answered clusters do not count: the two lowest scores, each locked for one.
    assert [queue.next(person) for person in (ann, bob, ann, bob)] == [0, 1, 0, 1]
    held: list[int | None] = [0, 1]
    walks: list[list[int]] = [[], []]
    while any(place is not None for place in held):
        for who, person in enumerate((ann, bob)):
            place = held[who]
            if place is not None:
                queue.answer(person, place)
                walks[who].append(place)
                held[who] = queue.next(person)  # locked at once, as the browser does after a submit
    assert walks == expected(clusters, 2)
    assert sorted(walks[0] + walks[1]) == list(range(12))


def test_a_skip_counts_as_having_seen_the_cluster(
    studio: Studio, ann: Studio, titles: Iterator[str]
) -> None:
    queue = Queue(studio, next(titles), BLOCKS)
    walk = queue.walk(ann, skip=True)
    assert [BLOCKS[next(walk)] for _ in range(6)] == [0, 1, 2, 0, 1, 2]


def test_no_cluster_is_a_cluster_too_and_stands_between_the_others(
    studio: Studio, ann: Studio, titles: Iterator[str]
) -> None:
    """Clusters on some tasks only do not put these first, whatever the scores say."""
    some: Clusters = (0, 0, 0, 1, 1, 1, *[None] * 6)
    queue = Queue(studio, next(titles), some)
    served = list(queue.walk(ann))
    assert [served] == expected(some, 1)
    assert served == [0, 3, 6, 1, 4, 7, 2, 5, 8, 9, 10, 11]


def test_without_any_cluster_the_score_alone_decides(
    studio: Studio, ann: Studio, titles: Iterator[str]
) -> None:
    queue = Queue(studio, next(titles), [None] * 12)
    assert list(queue.walk(ann)) == list(range(12))


def test_what_a_person_saw_of_a_number_before_counts_against_it_later(
    studio: Studio, ann: Studio, bob: Studio, titles: Iterator[str]
) -> None:
    """Counting does not begin anew with a round: the same number for another group inherits it."""
    queue = Queue(studio, next(titles), [0, 0, 0, *[None] * 9])
    for place in range(3):
        queue.answer(ann, place)
    queue.group("v1", {n: n % 2 for n in range(3, 12)})
    assert queue.next(bob) == 3
    assert [n % 2 for n in queue.walk(ann)][:4] == [1, 1, 1, 0]


def test_a_new_version_forgets_the_clusters_when_the_old_one_is_gone(
    studio: Studio, ann: Studio, titles: Iterator[str]
) -> None:
    """What was answered counts by the highest number of any version, what is left by that of the served."""
    queue = Queue(studio, next(titles), [5, 5, 5, *[None] * 9])
    for place in range(3):
        queue.answer(ann, place)
    queue.predict("v2")
    queue.group("v2", {3: 5, 4: 1})
    assert queue.next(ann) == 4
    queue.answer(ann, 4)
    assert queue.next(ann) == 5  # no cluster, which she never saw, before cluster 5
    queue.answer(ann, 5)
    studio.delete_predictions(queue.project, "v1")
    # Now what she answered at first counts as seen without a cluster, and 5 was never seen.
    assert queue.next(ann) == 3
