"""The curve over tau against a study at each tau, and against figures of real boxes."""

from __future__ import annotations

import ast
import csv
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.sheet import sheet
from consensus.study import study
from consensus.sweep import TAUS, sweep
from consensus.tallies import tally
from pool.schema import Annotation, BadInput, Box, Region
from tests.consensus.scenes import answers, crowd, drew, region
from tests.consensus.simulation import job

CROWD = Path(__file__).resolve().parents[2].parent / "shared/data/crowdboxes"


def project(scenes: list[list[Annotation]]) -> list[Annotation]:
    return [
        drew(a.annotator, *a.regions, sample=f"s{k}", number=a.id)
        for k, said in enumerate(scenes)
        for a in said
    ]


@given(
    st.lists(answers(), max_size=3),
    st.lists(st.sampled_from([0.05, 0.25, 1 / 3, 0.5, 0.6, 0.9, 1.0]), min_size=1, max_size=4),
)
@settings(max_examples=60, deadline=None)
def test_each_tau_is_a_study_of_its_own(scenes: list[list[Annotation]], taus: list[float]) -> None:
    columns = sheet(project(scenes))
    alone = [tally(study(columns, tau)).figures() for tau in taus]
    assert [asdict(f) for f in sweep(columns, taus)] == [
        pytest.approx(asdict(f), abs=0, nan_ok=True) for f in alone
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_crowded_scenes_too(turned: bool) -> None:
    rng = np.random.default_rng(8)
    said = project([crowd(rng, objects=40, people=5, jitter=0.05) for _ in range(4)])
    if turned:
        said = [
            drew(
                a.annotator,
                *(Region(r.label, _turned(r, float(rng.integers(0, 30)))) for r in a.regions),
                sample=a.sample,
                number=a.id,
            )
            for a in said
        ]
    columns = sheet(said, {f"s{k}": (400, 300) for k in range(4)})
    taus = TAUS[:-1]  # at 0.9 nothing is left to compare
    found = sweep(columns, taus)
    assert found == tuple(tally(study(columns, tau)).figures() for tau in taus)
    assert found[0].f1 > found[-1].f1
    assert found[0].iou < found[-1].iou


def _turned(r: Region, angle: float) -> Box:
    return replace(r.box, rotation=angle)


def test_looser_people_lose_at_high_tau_only() -> None:
    by_tau = dict(zip(TAUS, sweep(job(200).sheet), strict=True))
    assert by_tau[0.3].f1 == pytest.approx(by_tau[0.5].f1, abs=0.01)
    assert by_tau[0.5].f1 - by_tau[0.8].f1 > 0.1
    assert by_tau[0.9].alpha_exist < by_tau[0.8].alpha_exist < by_tau[0.5].alpha_exist


def test_no_tau_and_none_that_can_be() -> None:
    columns = sheet([drew("a", region("bin", 0, 0, 1, 1))])
    assert sweep(columns, ()) == ()
    for tau in (0.0, -0.5, 1.5, float("nan")):
        for taus in ((tau,), (0.5, tau), (tau, 0.5)):
            with pytest.raises(BadInput, match="tau"):
                sweep(columns, taus)


@pytest.mark.skipif(not CROWD.is_dir(), reason="the crowd's boxes are not here")
def test_real_crowd_boxes() -> None:
    """Two hundred images by some of 196 people each; figures of another implementation."""
    side = 4000.0
    said = []
    with (CROWD / "boundingbox_data.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            boxes = [
                [v / side for corner in box for v in corner] for box in ast.literal_eval(row["annotation"])
            ]
            said.append(
                drew(
                    row["uid"], *(region("bird", *box) for box in boxes), sample=row["item"], number=number
                )
            )
    found = sweep(sheet(said), (0.25, 0.5, 0.75, 0.9))
    assert [(f.images, f.answers) for f in found] == [(200, 1723)] * 4
    assert [(f.alpha_exist, f.f1, f.consensus_score) for f in found] == [
        pytest.approx(expected, abs=6e-4)
        for expected in [
            (0.444, 0.731, 0.314),
            (0.435, 0.676, 0.264),
            (0.235, 0.427, 0.100),
            (-0.027, 0.122, 0.024),
        ]
    ]
