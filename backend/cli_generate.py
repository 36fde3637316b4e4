"""The command line's part about variants: making them, looking at them, and overruling the gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from backend.cli_base import VERBS, JsonOption, ProjectOption, WaitOption, run_job, the_house
from pool.schema import BadInput, VariantState

if TYPE_CHECKING:
    from pool.schema import Variant

StateOption = Annotated[
    list[str] | None,
    typer.Option("--state", help="Only these: planned, passed, rejected, accepted, refused, failed."),
]
VariantArguments = Annotated[
    list[str],
    typer.Argument(metavar="VARIANT", help="The beginnings of ids, from `thresher variants list`."),
]
variants = typer.Typer(
    help="Variants of images: list them, look at them, overrule the gates.", no_args_is_help=True
)


def register(cli: typer.Typer) -> None:
    """Add these commands to the command line."""
    cli.command(rich_help_panel=VERBS)(generate)
    for command in (list_, accept, reject, grid, conditions):
        variants.command(command.__name__.removesuffix("_"))(command)
    cli.add_typer(variants, name="variants", rich_help_panel=VERBS)


def generate(
    weather: Annotated[
        list[str] | None,
        typer.Option(
            help="Conditions such as snow:heavy, rain (all severities), night, all; repeat for more. "
            "[default: where the champion is weakest]"
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Instead: a recipe as A1111 writes it, its name (street-snow), or @FILE (picture or text)."
        ),
    ] = None,
    parents: Annotated[
        list[str] | None,
        typer.Option(help="hardest:N, random:N, or names and ids of images. [default: hardest:20]"),
    ] = None,
    per_parent: Annotated[int, typer.Option(min=1, max=1000, help="Variants of each parent.")] = 2,
    model: Annotated[
        str | None,
        typer.Option(help="Checkpoint to paint with, or physical for renderers. [default: the settings']"),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Another seed makes other pictures of the same.")
    ] = 0,
    project: ProjectOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Paint the hardest images in other weather and light; what passes the gates enters the pool."""
    from backend import settings
    from backend.house import open_house
    from backend.variants import Wish, check

    if weather and recipe:
        raise BadInput("--weather and --recipe", "given one at a time", "both")
    usual = Wish()
    wish = Wish(
        tuple(weather or usual.weather),
        _recipe(recipe),
        tuple(parents or usual.parents),
        per_parent,
        model or "",
        seed,
    )
    with open_house(settings.load()) as house:
        check(house, house.only_project(project).id, wish)
    run_job(
        "generate",
        project,
        wait,
        as_json,
        weather=list(wish.weather),
        recipe=wish.recipe,
        parents=list(wish.parents),
        per_parent=per_parent,
        model=wish.model,
        seed=seed,
    )


def list_(
    state: StateOption = None,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest are shown.")] = 40,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """List variants with what became of them, and why."""
    from backend import console, gallery

    with the_house() as house:
        listed = gallery.rows(house, house.only_project(project).id, _states(state))
    if as_json:
        console.emit(listed)
        return
    console.table("Variants", ["condition", *gallery.STATES], gallery.counts(listed))
    rows = [
        [r["id"][:10], r["condition"] or "recipe", r["state"], r["by"], r["parent"], r["reason"]]
        for r in listed[-last:]
    ]
    console.table(f"The newest {len(rows)}", ["id", "condition", "state", "by", "parent", "why"], rows)


def accept(words: VariantArguments, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Take rejected variants into the pool all the same."""
    from backend import admission, console
    from backend.workflows import Jobs

    with the_house() as house:
        target = house.only_project(project).id
        found = admission.found(house, target, words)
        taken = admission.accept(house, found)
        jobs = Jobs(house.settings)
        job = jobs.start("admit", target)
        jobs.close()
    _told("accepted", taken, found, as_json, job)
    if not as_json:
        console.say("their tasks are made by ", (job, "bold"))


def reject(words: VariantArguments, project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Take variants that passed out of the pool's queue again, with their tasks in Label Studio."""
    from backend import admission

    with the_house() as house:
        target = house.only_project(project).id
        found = admission.found(house, target, words)
        _told("refused", admission.refuse(house, target, found), found, as_json)


def grid(
    out: Annotated[Path, typer.Argument(help="The picture to write, .png or .jpg.")] = Path("variants.png"),
    parents: Annotated[int, typer.Option(min=1, max=100, help="Parents shown, the newest first.")] = 12,
    state: StateOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a contact sheet: parents down, conditions across, what the gates rejected in red."""
    from backend import console, gallery

    if not out.parent.is_dir():
        raise BadInput("OUT", "a file in a folder that is there", str(out))
    with the_house() as house:
        target = house.only_project(project).id
        shown = gallery.sheet(house, target, out, parents=parents, states=_states(state))
    console.emit({"file": str(out), "variants": shown}) if as_json else console.say(
        f"{shown} variants in ", (str(out), "bold")
    )


def conditions(as_json: JsonOption = False) -> None:
    """List the conditions and recipes that there are to be generated."""
    from backend import console
    from backend.variants import vocabulary

    with the_house() as house:
        known = vocabulary(house)
    if as_json:
        console.emit(known)
        return
    rows = [[c.name, c.strength, " ".join(c.controls), c.prompt] for c in known.conditions.values()]
    console.table("Conditions", ["name", "strength", "ControlNets", "prompt"], rows)
    console.table("Recipes", ["name", "infotext"], [[name, text] for name, text in known.recipes.items()])


def _told(what: str, many: int, found: list[Variant], as_json: bool, job: str = "") -> None:
    from backend import console

    if as_json:
        console.emit({what: [v.id for v in found], "job": job or None})
    else:
        console.say(f"{what} {many}")


def _states(given: list[str] | None) -> list[VariantState]:
    states: tuple[VariantState, ...] = get_args(VariantState)
    for word in given or ():
        if word not in states:
            raise BadInput("--state", f"one of {', '.join(states)}", word)
    return [state for state in states if state in (given or ())]


def _recipe(given: str | None) -> str:
    """The infotext that somebody gave, out of a picture or a text file where it begins with @."""
    from generator import png

    if given is None or not given.startswith("@"):
        return given or ""
    path = Path(given[1:])
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput("--recipe", "a file that can be read", str(path), str(error.strerror)) from None
    found = png.read(data)
    if found is not None:
        return found
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise BadInput(
            "--recipe", "a picture with a recipe inside, or a text file", str(path),
            "This picture holds no infotext: some programs strip it when they save.",
        ) from None  # fmt: skip
