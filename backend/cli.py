"""The command line: the loop's verbs, and what runs and mends the service around them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend import cli_audit, cli_generate, cli_sampler
from backend.cli_base import (
    SERVICE,
    VERBS,
    JobArgument,
    JsonOption,
    ProjectOption,
    WaitOption,
    cli,
    run_job,
    the_house,
)
from pool.schema import ThresherError

if TYPE_CHECKING:
    from backend.workflows import Jobs

__all__ = ["cli", "main"]

cli_sampler.register(cli)
cli_audit.register(cli)
cli_generate.register(cli)


def main() -> None:
    """Run the command line; what a person can mend becomes one sentence and exit status 1."""
    from backend import console

    try:
        cli()
    except ThresherError as error:
        console.fail(str(error))
    except KeyboardInterrupt:
        console.err.print("stopped")
        sys.exit(130)


@cli.command(rich_help_panel=VERBS)
def add(
    paths: Annotated[list[Path], typer.Argument(help="Image files and folders of images.")],
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring images into the pool and make a Label Studio task of each."""
    from backend import console, loop
    from backend.house import Job

    with the_house() as house, console.bars(show=not as_json) as tell:
        target = house.only_project(project)
        report = loop.add(house, target.id, paths, Job("add", tell))
    if as_json:
        console.emit(report)
        return
    failures = report.pop("failures")
    console.facts(f"Added to project {target.id} ({target.title})", report)
    for failure in failures[:10]:
        console.say(f"  {failure.subject}: {failure.message}")


@cli.command(rich_help_panel=VERBS)
def prelabel(project: ProjectOption = None, wait: WaitOption = True, as_json: JsonOption = False) -> None:
    """Let the champion draw boxes on every image it has not seen, and push them to Label Studio."""
    run_job("prelabel", project, wait, as_json)


@cli.command(rich_help_panel=VERBS)
def collect(
    full: Annotated[
        bool, typer.Option("--full", help="Compare every task, not only what changed.")
    ] = False,
    project: ProjectOption = None,
    wait: WaitOption = True,
    as_json: JsonOption = False,
) -> None:
    """Bring home what people submitted, edited, skipped and deleted."""
    run_job("collect", project, wait, as_json, full=full)


@cli.command(rich_help_panel=VERBS)
def retrain(project: ProjectOption = None, wait: WaitOption = True, as_json: JsonOption = False) -> None:
    """Train on what people said; promote only a model that is not worse on the holdout."""
    run_job("learn", project, wait, as_json)


@cli.command(rich_help_panel=SERVICE)
def connect(
    project: Annotated[
        int, typer.Argument(help="Id of the Label Studio project, as in its address /projects/ID/.")
    ],
    weights: Annotated[
        str | None, typer.Option(help="Weights to start from: a name such as yolo11n.pt, or a path.")
    ] = None,
    cold_start: Annotated[
        bool,
        typer.Option("--cold-start", help="The weights know none of the labels: begin with a fresh head."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set up a Label Studio project: backend, webhook, queue, tabs, model. Twice changes nothing."""
    from backend import connecting, console

    with the_house() as house:
        target, steps = connecting.connect(house, project, weights, cold_start=cold_start)
        model = house.champion(project)
    if as_json:
        console.emit({"project": target.id, "model_version": model.version, "steps": steps})
        return
    console.table(
        f"Project {target.id} ({target.title})",
        ["what", "", "detail"],
        [[s.what, s.state, s.detail] for s in steps],
    )
    console.say(
        "Serving ", (model.version, "bold"), ". Next: `thresher add FOLDER`, then `thresher round ask`."
    )


@cli.command(rich_help_panel=SERVICE)
def serve(
    worker: Annotated[
        bool, typer.Option("--worker/--no-worker", help="Also start a worker process.")
    ] = True,
) -> None:
    """Serve Label Studio's ML backend requests, webhooks and metrics."""
    from backend import service, settings

    service.serve(settings.load(), with_worker=worker)


@cli.command(rich_help_panel=SERVICE)
def worker() -> None:
    """Run queued jobs until stopped; a job that a killed worker left is finished first."""
    from backend import service, settings

    service.work(settings.load())


@cli.command(rich_help_panel=SERVICE)
def status(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Show what the pool holds, what runs, and which model serves."""
    from backend import overview

    with the_house() as house:
        overview.show(house, project, as_json=as_json)


@cli.command(rich_help_panel=SERVICE)
def cancel(job: JobArgument, as_json: JsonOption = False) -> None:
    """Stop a job; what its finished steps did stays."""
    from backend.workflows import Jobs

    _steer(Jobs.cancel, job, as_json)


@cli.command(rich_help_panel=SERVICE)
def resume(job: JobArgument, as_json: JsonOption = False) -> None:
    """Go on with a cancelled job after its last finished step."""
    from backend.workflows import Jobs

    _steer(Jobs.resume, job, as_json)


@cli.command(rich_help_panel=SERVICE)
def doctor(project: ProjectOption = None, as_json: JsonOption = False) -> None:
    """Look for every known cause of silence between Label Studio and this service, with its fix."""
    from backend import connecting, console

    with the_house() as house:
        findings = connecting.diagnose(house, project)
    if as_json:
        console.emit(findings)
    else:
        marks = {"ok": "✓", "warning": "!", "problem": "✗"}
        console.table(
            "Doctor",
            ["", "check", "found", "what to do"],
            [[marks[f.state], f.check, f.detail, f.fix] for f in findings],
        )
    if any(f.state == "problem" for f in findings):
        raise typer.Exit(1)


@cli.command(rich_help_panel=SERVICE)
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo keeps everything.")] = Path(".demo"),
    images: Annotated[
        Path | None, typer.Option(help="A folder of your own pictures instead of drawn scenes.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Labels for your own pictures, separated by commas.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights for your own pictures.")] = None,
    count: Annotated[int, typer.Option(min=10, help="Drawn scenes to add.")] = 200,
    studio_port: Annotated[int, typer.Option(help="Port of Label Studio.")] = 8080,
    port: Annotated[int, typer.Option(help="Port of this service.")] = 9090,
) -> None:
    """Start Label Studio and this service with a pool of pictures, pre-labelled and ready to label."""
    from backend.demo.run import Options, run

    run(Options(folder, images, labels, weights, count, studio_port, port))


@cli.command(rich_help_panel=SERVICE)
def simulate(
    folder: Annotated[Path, typer.Option(help="The folder of the running demo.")] = Path(".demo"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds to label and learn.")] = 1,
    size: Annotated[
        int | None, typer.Option("--size", "-n", min=1, help="Images asked in each further round.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let the demo's simulated annotators label a round in Label Studio, then retrain."""
    from backend.demo.simulation import simulate as run

    run(folder, rounds, size, as_json=as_json)


def _steer(how: Callable[[Jobs, str], None], job: str, as_json: bool) -> None:
    from backend import console
    from backend.workflows import Jobs

    with the_house() as house:
        jobs = Jobs(house.settings)
        how(jobs, job)
        now = jobs.status(job)
        jobs.close()
    console.emit(now) if as_json else console.say(f"{job}: {now.state}")


if __name__ == "__main__":
    main()
