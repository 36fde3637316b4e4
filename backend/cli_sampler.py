"""The command line's part about asking: rounds, streams, and how far a model is trusted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from backend.cli_base import VERBS, JsonOption, ProjectOption, WaitOption, run_job, the_house
from pool.schema import BadInput

SizeOption = Annotated[
    int | None, typer.Option("--size", "-n", min=1, help="Images to ask people about, at most.")
]
StrategyOption = Annotated[
    str | None,
    typer.Option(
        help="How to choose: uncertainty_herding, max_herding, ppal, top_n, clasp, core_set, typiclust, "
        "random, count."
    ),
]
MeasureOption = Annotated[
    str | None,
    typer.Option(
        help="What makes an image uncertain: entropy, least_confidence, margin, multilabel, localisation, "
        "disagreement, committee, consistency."
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(help="Working time that people have for this round, such as 90m or 2h; asks no more."),
]
ExplainOption = Annotated[
    bool, typer.Option("--explain", help="Also list the images that were picked, each with its reason.")
]


def register(cli: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (ask, round_, request, undo, stream, trust, bench):
        name = command.__name__.removesuffix("_")
        cli.command(name, rich_help_panel=VERBS)(command)


def ask(
    size: SizeOption = None,
    strategy: StrategyOption = None,
    measure: MeasureOption = None,
    budget: BudgetOption = None,
    explain: ExplainOption = False,
    project: ProjectOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Choose the images worth a person's time, say why, and put them first in the queue."""
    _ask(size, strategy, measure, budget, explain, project, wait, as_json)


def round_(
    half: Annotated[
        str, typer.Argument(help="ask (before people) or learn (after them)", metavar="ask|learn")
    ],
    size: SizeOption = None,
    strategy: StrategyOption = None,
    measure: MeasureOption = None,
    budget: BudgetOption = None,
    explain: ExplainOption = False,
    project: ProjectOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Run one half of a round: ask = prelabel, push, ask; learn = collect, audit, retrain, push."""
    if half == "ask":
        _ask(size, strategy, measure, budget, explain, project, wait, as_json)
    elif half == "learn":
        run_job("learn", project, wait, as_json)
    else:
        raise BadInput("round", "ask or learn", half)


def request(
    names: Annotated[list[str], typer.Argument(help="File names or ids of images of the pool.")],
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask for images by name: the next rounds take them up, as far as their share for that goes."""
    from backend import console, requests

    with the_house() as house:
        target = house.only_project(project)
        report = requests.add(house, target.id, names)
    console.emit(report) if as_json else console.facts(f"Requested in project {target.id}", report)


def undo(
    round_id: Annotated[
        str, typer.Argument(metavar="ROUND", help="Id of a round, from `thresher status`.")
    ],
    project: ProjectOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Take back what a round accepted without a person; what people changed since stays."""
    run_job("undo", project, wait, as_json, round=round_id)


def stream(
    folder: Annotated[Path, typer.Argument(help="Folder to watch for new images.")],
    existing: Annotated[
        bool, typer.Option("--existing", help="Judge the images that are there already, first.")
    ] = False,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch a folder: each new image is judged at once, and people are asked about a share of them."""
    from backend import watching

    with the_house() as house:
        watching.show(house, house.only_project(project).id, folder, existing=existing, as_json=as_json)


def trust(
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the reliability diagram into this PNG file.")
    ] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far the champion can be trusted: its calibration, and what needs nobody."""
    from backend import trusting

    with the_house() as house:
        trusting.show(house, house.only_project(project), picture, as_json=as_json)


def bench(
    strategies: Annotated[
        str, typer.Option(help="Strategies to compare, separated by commas; random and count always are.")
    ] = "top_n,uncertainty_herding",
    seeds: Annotated[int, typer.Option(min=2, help="Paired repetitions; 3 or more tell something.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to replay.")] = 4,
    size: SizeOption = None,
    initial: Annotated[int | None, typer.Option(min=1, help="Images to begin with.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimisation steps of each training.")] = 200,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the learning curves into this PNG file.")
    ] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replay the labels you have: what would each strategy have saved? Trains many models; takes long."""
    from backend import bench as replayed

    names = [name.strip() for name in strategies.split(",") if name.strip()]
    with the_house() as house:
        target = house.only_project(project)
        replayed.run(house, target, names, seeds, rounds, size, initial, as_json, picture, steps)


def _ask(
    size: int | None,
    strategy: str | None,
    measure: str | None,
    budget: str | None,
    explain: bool,
    project: int | None,
    wait: bool,
    as_json: bool,
) -> None:
    from backend import overview, settings
    from backend.doubts import names as measures
    from sampler.strategies import names as strategies

    now = settings.load()
    how = _one_of(strategies(), "strategy", strategy, now.strategy)
    what = _one_of(measures(), "measure", measure, now.measure)
    minutes = None if budget is None else _minutes(budget)
    status = run_job(
        "ask",
        project,
        wait,
        as_json,
        size=size or now.ask_size,
        strategy=how,
        measure=what,
        minutes=minutes,
    )
    if explain and wait and not as_json:
        with the_house() as house:
            overview.show_picks(house, status.id)


def _one_of(known: list[str], field: str, given: str | None, usual: str) -> str:
    from backend import settings

    wanted = given or usual
    if wanted not in known:
        where = f"--{field}" if given else settings.variable(field)
        raise BadInput(where, f"one of {', '.join(known)}", wanted)
    return wanted


def _minutes(text: str) -> float:
    """Minutes of a working time such as 90m, 1.5h or 45."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(m|min|h)?", text.strip())
    if found is None or float(found[1]) <= 0:
        raise BadInput("--budget", "a working time such as 90m, 2h or 45 (minutes)", text)
    return float(found[1]) * (60 if found[2] == "h" else 1)
