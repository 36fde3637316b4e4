"""What all parts of the command line share: the application, options, and how a job is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from backend.house import House
    from backend.workflows import JobStatus

cli = typer.Typer(
    name="thresher",
    help="Active-learning labeling for Label Studio: add, prelabel, ask, collect, audit, retrain, again.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

ProjectOption = Annotated[
    int | None,
    typer.Option(
        "--project", "-p", help="Label Studio project id; may be left out when only one is connected."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
JobArgument = Annotated[str, typer.Argument(help="Id of a job, from `thresher status`.")]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the job, or only queue it.")]
VERBS = "The loop"
SERVICE = "The service"


@contextmanager
def the_house(**changes: object) -> Iterator[House]:
    """The house that the settings describe, closed again at the end; ``changes`` that are not None win."""
    from backend import settings
    from backend.house import open_house

    with open_house(settings.load(**changes)) as house:
        yield house


def run_job(kind: str, project: int | None, wait: bool, as_json: bool, **given: Any) -> JobStatus:
    """Queue a job and, with ``wait``, follow it to its end; prints what became of it."""
    from backend import overview

    with the_house() as house:
        return overview.run_job(house, kind, project, wait=wait, as_json=as_json, given=given)
