"""What the command line shows of a model's trustworthiness."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from backend import briefing, console, streaming, trust
from backend import evidence as proof
from backend.house import House
from pool.columns import join
from pool.schema import NotReady, Project
from sampler.calibration import reliability


def report(house: House, project: Project) -> dict[str, Any]:
    """Calibration figures, the promise about images that need nobody, what streams did. Nothing changes."""
    model = house.champion(project.id)
    try:
        figures: dict[str, Any] = trust.weighed(proof.gather(house, model))[1]
    except NotReady as error:
        figures = {"why": str(error)}
    wanted = briefing.undecided(house, project.id)
    waiting = [s for s, w in wanted.items() if not w.holdout and not w.people]
    columns = join(house.pool.signals(model.version, waiting), project.labels)
    verdict = trust.judge(house, model, trust.sureness(house, columns))
    return {
        "model_version": model.version,
        "calibration": figures,
        "trust": asdict(verdict),
        "stream": streaming.counts(house, project.id),
    }


def show(house: House, project: Project, picture: Path | None, *, as_json: bool) -> None:
    """Print the report; with ``picture`` draw the reliability diagram as well.

    Raises:
        NotReady: a picture is wanted and nothing can be drawn yet.
    """
    told = report(house, project)
    if as_json:
        console.emit(told)
    else:
        figures = {k: round(v, 4) if isinstance(v, float) else v for k, v in told["calibration"].items()}
        console.facts(f"Calibration of {told['model_version']}", figures)
        console.say(told["trust"]["sentence"])
        if any(told["stream"].values()):
            console.facts("Stream so far", told["stream"])
    if picture is not None:
        _draw(house, project, picture)
        if not as_json:
            console.say("drawn: ", (str(picture), "bold"))


def _draw(house: House, project: Project, picture: Path) -> None:
    from backend.diagrams import reliability_diagram

    model = house.champion(project.id)
    found = proof.gather(house, model)
    judged = trust.judged(found)
    if judged is None:
        raise NotReady(
            f"Only {len(found.samples)} images were answered blind: too few to hold the calibration "
            "against images that it did not see."
        )
    told = np.asarray(found.scores)
    reliability_diagram(
        reliability(told, found.hits), reliability(judged, found.hits), f"{model.version}", picture
    )
