"""The command line's part about people: how far they agree, and what a reviewer should look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.cli_base import VERBS, JsonOption, ProjectOption, WaitOption, run_job, the_house
from pool.schema import BadInput

if TYPE_CHECKING:
    from consensus.plain import Document

TauOption = Annotated[
    float | None,
    typer.Option(help="Overlap (IoU) from which two boxes are of one object. [default: 0.5]"),
]
QuorumOption = Annotated[
    float | None,
    typer.Option(help="Largest share of the people that may have missed an object that is kept."),
]
RulesOption = Annotated[Path | None, typer.Option(help="YAML file of guidelines to check answers against.")]


def register(cli: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (audit, review):
        cli.command(command.__name__, rich_help_panel=VERBS)(command)


def audit(
    export: Annotated[
        Path | None,
        typer.Argument(
            help="A Label Studio export in the format JSON; no server is needed. Left out: the project."
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML page.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the tables as CSV files into a folder.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Folder of the export's pictures, for the HTML page.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, help="Images that the page shows with their boxes.")] = 40,
    tau: TauOption = None,
    quorum: QuorumOption = None,
    rules: RulesOption = None,
    control: Annotated[
        str | None, typer.Option(help="Tag that draws the boxes, where the export has several.")
    ] = None,
    image_tag: Annotated[
        str | None, typer.Option(help="Image tag that the boxes lie on, where the export has several.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model version in the export that never learned its labels: find label errors."),
    ] = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far people agree, who differs from the others, and which images to look at first."""
    from backend import auditing, console, exported, loop, settings
    from backend.house import Job

    _check(html, csv, images if export else None, tau, quorum)
    if export is None:
        only = {"--images": images, "--control": control, "--image-tag": image_tag, "--model": model}
        for name, value in only.items():
            if value is not None:
                raise BadInput(name, "given together with an export file", str(value))
        with the_house(tau=tau, quorum=quorum, rules=rules) as house:
            target = house.only_project(project)
            if tau is None and quorum is None:  # what another setting would give is not to be kept
                loop.audit(house, target.id, Job("audit"))
            document = auditing.document(house, target.id)
            pictures = auditing.pictures(house, document, worst) if html else {}
            address = house.settings.public_url
    else:
        if project is not None:
            raise BadInput("--project", "left out where an export file is given", project)
        found = settings.load(tau=tau, quorum=quorum, rules=rules)
        answers = exported.load(export, control, image_tag)
        document = exported.document(answers, export.name, found, model)
        pictures = exported.pictures(images, answers, document, worst) if html and images else {}
    written = _write(document, pictures, html, csv, worst)
    if as_json:
        console.emit(document)
        return
    _show(document, written)
    if export is None:
        console.say(f"live, with links into Label Studio: {address}/projects/{target.id}/consensus")


def _check(
    html: Path | None, csv: Path | None, images: Path | None, tau: float | None, quorum: float | None
) -> None:
    """Refuse what would fail, or overwrite something else, only after the work is done."""
    if tau is not None and not 0.0 < tau <= 1.0:
        raise BadInput("--tau", "above 0 and at most 1", tau)
    if quorum is not None and not 0.0 <= quorum <= 1.0:
        raise BadInput("--quorum", "between 0 and 1", quorum)
    if images is not None and html is None:
        raise BadInput("--images", "given together with --html", str(images))
    if html is not None and html.is_file() and "<!doctype html" not in _head(html).lower():
        raise BadInput("--html", "a new file, or an earlier report", str(html), "It holds something else.")
    if csv is not None and csv.exists() and not csv.is_dir():
        raise BadInput("--csv", "a folder", str(csv))


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(200).decode("utf-8", "replace")


def _write(
    document: Document, pictures: Mapping[str, bytes], html: Path | None, csv: Path | None, worst: int
) -> list[Path]:
    """The page and the tables as files; which ones."""
    from consensus import page, tables

    written: list[Path] = []
    try:
        if html is not None:
            html.parent.mkdir(parents=True, exist_ok=True)
            html.write_text(page.render(document, pictures, worst=worst), encoding="utf-8")
            written.append(html)
        if csv is not None:
            csv.mkdir(parents=True, exist_ok=True)
            for name, text in tables.tables(document).items():
                (csv / f"{name}.csv").write_text(text, encoding="utf-8", newline="")
                written.append(csv / f"{name}.csv")
    except OSError as error:
        where, why = str(error.filename or html or csv), str(error.strerror)
        raise BadInput("--html and --csv", "places that can be written", where, why) from None
    return written


def _show(document: Document, written: list[Path]) -> None:
    from backend import console

    head = document["project"]
    console.facts(f"Agreement in {document['source']}", _facts(document))
    if head["too_few"]:
        console.say(
            f"Only {head['compared']} images were answered by two or more people: too few to rely on."
        )
    rows = [
        [
            task["name"],
            task["consensus_score"],
            _short(task["expected_errors"]),
            _words(task["conflicts"]),
            len(task["annotators"]),
        ]
        for task in document["tasks"]
        if task["expected_errors"]
    ]
    if rows:
        console.table(
            "To be looked at first",
            ["image", "consensus score", "expected errors", "conflicts", "annotators"],
            [[r[0], _short(r[1]), *r[2:]] for r in rows[:15]],
        )
    people = [
        [p["name"], p["samples"], _short(p["f1"]), *(_share(p[k]) for k in KINDS), p["drift"] or ""]
        for p in document["annotators"]
    ]
    if people:
        console.table("Annotators", ["who", "images", "F1", *KINDS.values(), "drift"], people)
    for warning in document["warnings"]:
        console.say(("warning: ", "yellow"), warning)
    for path in written:
        console.say("written: ", (str(path), "bold"))


KINDS = {
    "miss": "missed",
    "extra": "extra",
    "confusion": "label",
    "location": "place",
    "duplicate": "twice",
    "merged": "merged",
}
"""The annotators' rates, and how their columns are headed."""


def _facts(document: Document) -> dict[str, object]:
    from consensus.page import PROBABLE

    head = document["project"]
    shown = {
        "images": head["samples"],
        "answered by two or more": head["compared"],
        "annotators": head["annotators"],
        "skipped answers": head["skipped"],
    }
    for title, key in (("consensus score", "consensus_score"), ("vote share", "vote_share"), ("F1", "f1")):
        shown[title] = _between(head[key], head["intervals"][key])
    for kind, value in head["alpha"].items():
        shown[f"alpha ({kind})"] = _between(value, head["intervals"][f"alpha_{kind}"])
    shown["guideline findings"] = len(document["guidelines"]["findings"])
    shown["probable label errors"] = sum(e["score"] >= PROBABLE for e in document["label_errors"])
    return shown


def _between(value: float | None, ends: list[float | None]) -> str:
    low, high = ends
    bounds = f"  [{low:.3f}, {high:.3f}]" if low is not None and high is not None else ""
    return "undefined" if value is None else f"{value:.3f}{bounds}"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(rate: Mapping[str, Any]) -> str:
    return "" if rate["value"] is None else f"{100 * rate['value']:.1f} %"


def _words(conflicts: list[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for conflict in conflicts:
        counts[conflict["kind"]] = counts.get(conflict["kind"], 0) + 1
    return ", ".join(f"{n} {kind}" for kind, n in counts.items())


def review(
    apply: Annotated[
        bool, typer.Option("--apply", help="Write it; without this, only what would change is shown.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Take back the newest run that stands, or that of --run."),
    ] = False,
    run: Annotated[str | None, typer.Option(help="Which run to take back; see --runs.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List what was written, by whom and when.")] = False,
    project: ProjectOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Bring the consensus into Label Studio: boxes to copy, a Review tab, one more opinion on ties."""
    from backend import console, reviewing

    if sum((apply, undo, runs)) > 1:
        raise BadInput("review", "one of --apply, --undo and --runs", "several")
    if run is not None and not undo:
        raise BadInput("--run", "given together with --undo", run)
    if apply:
        run_job("review", project, wait, as_json)
        return
    if undo:
        # Named before it is queued: a job that is resumed must not choose again.
        with the_house() as house:
            chosen = run or reviewing.newest(house, house.only_project(project).id)
        run_job("unreview", project, wait, as_json, run=chosen)
        return
    with the_house() as house:
        target = house.only_project(project)
        if runs:
            known = reviewing.runs(house, target.id)
            if as_json:
                console.emit(known)
            else:
                console.table("Written for reviewers", list(known[0]) if known else ["nothing yet"],
                              [[str(v) for v in row.values()] for row in known])  # fmt: skip
            return
        plan = reviewing.plan(house, target.id)
    if as_json:
        console.emit({**plan.as_dict(), "differences": plan.differences})
        return
    facts = {k: v for k, v in plan.as_dict().items() if k != "by_field"}
    console.facts(f"What would change in project {target.id} ({target.title})", facts)
    if plan.differences:
        shown = [[d.task, d.field, _brief(d.before), _brief(d.after)] for d in plan.differences[:20]]
        console.table("", ["task", "what", "now", "then"], shown)
        more = len(plan.differences) - len(shown)
        console.say(f"{f'and {more} more. ' if more else ''}`thresher review --apply` writes this.")


def _brief(value: object) -> str:
    if isinstance(value, Mapping) and "result" in value:
        return f"{len(value['result'])} boxes, score {value['score']}"
    return "" if value is None else str(value)
