"""Pictures for people who judge a model: how often its boxes are right, against how sure it is of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sampler.calibration import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BAR, COUNT, LINE, INK, FAINT = "#4c78a8", "#b9c4d0", "#e8710a", "#222222", "#8a8a8a"
LATIN = "DejaVu Sans"  # comes with matplotlib
FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Microsoft YaHei",
    "Arial Unicode MS",
)
"""Fonts for what the Latin one lacks, those that are installed."""
_NUMBERED = 15  # more bins leave no room for a number above each


def reliability_diagram(before: Reliability, after: Reliability, title: str, path: Path) -> Path:
    """Write a PNG of precision by confidence before and after calibration, side by side; returns ``path``.

    A bar that ends on the dashed diagonal is calibrated, one that ends below it overconfident. Whiskers are
    95 % intervals, the strip below counts the boxes. It is drawn without pyplot and leaves matplotlib's
    settings alone. A character of the title that no font has becomes a small square.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5.6), dpi=150, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.08, wspace=0.05)
    words, fonts = _drawable(title)
    figure.suptitle(words, fontsize=13, color=INK, family=fonts, wrap=True)
    grid = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
    for column, (name, found) in enumerate((("Before calibration", before), ("After calibration", after))):
        _precision(grid[0, column], name, found)
        _counts(grid[1, column], found)
    grid[0, 0].set_ylabel("Precision: share of boxes that hit")
    grid[1, 0].set_ylabel("Boxes")
    most = max(int(before.count.max()), int(after.count.max()), 1)
    grid[1, 0].set_ylim(0, 1.45 * most)  # room for the numbers
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=9)
    figure.savefig(path, format="png")
    return path


def _precision(axes: Axes, name: str, found: Reliability) -> None:
    width = 1 / len(found.low)
    middle = found.low + width / 2
    reach = np.stack((found.precision - found.lower, found.upper - found.precision)).clip(0)
    axes.bar(middle, np.nan_to_num(found.precision), 0.9 * width, color=BAR, label="Precision", zorder=2)
    axes.errorbar(
        middle, found.precision, reach, label="95 % interval", fmt="none", ecolor=INK, capsize=3, zorder=4
    )
    axes.plot((0, 1), (0, 1), linestyle="--", color=LINE, linewidth=1.4, label="Calibrated", zorder=3)
    axes.set_title(f"{name}\n{_summary(found)}", fontsize=10, color=INK)
    ticks = np.linspace(0, 1, 6)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xticks=ticks, yticks=ticks)
    _quiet(axes)


def _counts(axes: Axes, found: Reliability) -> None:
    width = 1 / len(found.low)
    bars = axes.bar(found.low + width / 2, found.count, 0.9 * width, color=COUNT, zorder=2)
    if len(found.low) <= _NUMBERED:
        axes.bar_label(bars, [_short(int(n)) for n in found.count], fontsize=7, color=INK, padding=1)
    axes.set_xlabel("Confidence")
    axes.set_yticks([])
    _quiet(axes)


def _summary(found: Reliability) -> str:
    """How far off the boxes are in the bins that are drawn, and how many they are."""
    total = int(found.count.sum())
    if not total:
        return "no boxes"
    off = np.nan_to_num(np.abs(found.confidence - found.precision)) @ found.count / total
    return f"D-ECE {off:.3f} in {len(found.low)} bins, {total:,} {'box' if total == 1 else 'boxes'}"


def _short(count: int) -> str:
    """At most four characters up to a thousand million, rounded down; nothing for 0."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count * 10 // size / 10}{unit}" if count < 10 * size else f"{count // size}{unit}"
    return str(count or "")


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=INK, labelsize=9, length=3)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8, zorder=0)


def _drawable(text: str) -> tuple[str, list[str]]:
    """A text in one line without what no font here has, and the fonts that draw it."""
    from matplotlib.font_manager import findfont, fontManager, get_font

    installed = set(fontManager.get_font_names())
    names = [LATIN, *(name for name in FONTS if name in installed)]
    faces = [get_font(findfont(name)) for name in names]
    line = " ".join(text.split())
    drawn = "".join(c if any(f.get_char_index(ord(c)) for f in faces) else "□" for c in line)
    return drawn.replace("$", r"\$"), names  # a plain dollar, not the start of a formula
