"""The drawing says what the numbers say, in any script, and leaves matplotlib as it was."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from backend import diagrams
from backend.diagrams import reliability_diagram
from sampler.calibration import Reliability, d_ece, reliability

ROOT = Path(__file__).parent.parent.parent


def boxes(n: int, seed: int = 0, bins: int = 10) -> Reliability:
    rng = np.random.default_rng(seed)
    scores = rng.beta(3, 2, n)
    return reliability(scores, rng.random(n) < scores**2, bins)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were written."""
    figures: list[Figure] = []
    write = Figure.savefig

    def kept(self: Figure, *args: Any, **kwargs: Any) -> None:
        figures.append(self)
        write(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", kept)
    return figures


def heights(axes: Axes) -> list[float]:
    bars = next(c for c in axes.containers if isinstance(c, BarContainer))
    return [bar.get_height() for bar in bars]


def test_bars_whiskers_and_counts_are_the_numbers(tmp_path: Path, drawn: list[Figure]) -> None:
    sides = boxes(300), boxes(200, seed=1, bins=5)
    reliability_diagram(*sides, "Bins", tmp_path / "r.png")
    panels = drawn[0].axes
    for found, top, strip in zip(sides, panels[:2], panels[2:], strict=True):
        full = found.count > 0
        assert heights(top) == pytest.approx(np.nan_to_num(found.precision).tolist())
        assert heights(strip) == found.count.tolist()
        whiskers = next(c for c in top.containers if isinstance(c, ErrorbarContainer)).lines[2][0]
        ends = np.array([segment[:, 1] for segment in whiskers.get_segments() if len(segment)])
        assert ends == pytest.approx(np.stack((found.lower, found.upper), axis=1)[full])
    assert [axes.get_title().split("\n")[0] for axes in panels[:2]] == [
        "Before calibration",
        "After calibration",
    ]


def test_the_error_above_each_panel_is_the_one_of_its_bins(tmp_path: Path, drawn: list[Figure]) -> None:
    scores, hits = np.linspace(0.01, 0.99, 60), np.arange(60) % 3 == 0
    one = reliability([0.5], [True])
    reliability_diagram(reliability(scores, hits), one, "Bins", tmp_path / "r.png")
    before, after = (axes.get_title() for axes in drawn[0].axes[:2])
    assert f"D-ECE {d_ece(scores, hits, 10):.3f} in 10 bins, 60 boxes" in before
    assert after.endswith("D-ECE 0.500 in 10 bins, 1 box")


def test_it_is_a_picture_on_white(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    assert reliability_diagram(boxes(500), boxes(500, seed=2), "Bins", path) == path
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (1350, 840)
        pixels = np.asarray(image.convert("RGB"))
    assert (pixels[[0, 0, -1, -1], [0, -1, 0, -1]] == 255).all()
    for colour in (diagrams.BAR, diagrams.COUNT, diagrams.LINE):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == wanted).all(axis=2).sum() > 100


def test_numbers_above_the_counts_are_short(tmp_path: Path, drawn: list[Figure]) -> None:
    found = boxes(10)
    counts = np.array([0, 1, 950, 1000, 1500, 9999, 23_456, 999_999, 1_200_000, 40_000_000])
    many = Reliability(found.low, counts, *[np.full(10, 0.5)] * 4)
    reliability_diagram(many, boxes(50, bins=20), "Bins", tmp_path / "r.png")
    strips = drawn[0].axes[2:]
    said = ["", "1", "950", "1.0k", "1.5k", "9.9k", "23k", "999k", "1.2M", "40M"]
    assert [text.get_text() for text in strips[0].texts] == said
    assert len(strips[1].texts) == 0  # twenty would overlap


@pytest.mark.parametrize("title", ["垃圾桶检测 第三版", r"ไม่ 😀 café $5 & $x^2$ \$1", "w " * 200])
def test_any_title_is_drawn_without_a_complaint(
    title: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "matplotlib"):
        reliability_diagram(boxes(30), boxes(30), title, tmp_path / "r.png")
    assert not caplog.records
    with Image.open(tmp_path / "r.png") as image:
        top = np.asarray(image.convert("L"))[:40]
    ink = np.flatnonzero((top < 128).any(axis=0))
    assert 0 < ink[0] < ink[-1] < image.width - 1  # neither missing nor cut off


def test_what_no_font_has_becomes_a_square(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagrams, "FONTS", ("No Such Font",))
    reliability_diagram(boxes(30), boxes(30), "café\n第三版 v3", tmp_path / "r.png")
    assert drawn[0].get_suptitle() == "café □□□ v3"


def test_no_boxes_are_drawn_as_none(tmp_path: Path, drawn: list[Figure]) -> None:
    reliability_diagram(reliability([], []), reliability([], []), "Bins", tmp_path / "r.png")
    for top, strip in zip(drawn[0].axes[:2], drawn[0].axes[2:], strict=True):
        assert heights(top) == heights(strip) == [0] * 10
        assert top.get_title().endswith("no boxes")


def test_settings_of_matplotlib_stay_as_they_were(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    reliability_diagram(boxes(30), boxes(30), "Bins", tmp_path / "r.png")
    assert dict(mpl.rcParams) == before


def test_the_module_is_light_and_pyplot_is_never_loaded(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from backend.diagrams import reliability_diagram\n"
        "from sampler.calibration import reliability\n"
        "assert not {'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "found = reliability([0.2, 0.8], [False, True])\n"
        f"reliability_diagram(found, found, 'Bins', Path({str(tmp_path / 'r.png')!r}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, timeout=120)
    assert (tmp_path / "r.png").exists()
