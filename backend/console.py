"""How the command line speaks: tables and bars for people, one JSON document for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def emit(value: Any) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False, indent=2, default=str) + "\n")


def plain(value: Any) -> Any:
    """Records as dicts, times as ISO text."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.isoformat() if isinstance(value, datetime) else value


def say(*parts: str | tuple[str, str]) -> None:
    """A line for people, made of plain texts and of (text, style) pairs; brackets are nothing special."""
    out.print(Text.assemble(*parts))


def fail(message: str) -> NoReturn:
    """One sentence on standard error, exit status 1."""
    err.print(f"[bold red]error:[/] {escape(message)}")
    raise SystemExit(1)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people; numbers stand right, columns with nothing in them are left out."""
    used = [n for n in range(len(columns)) if not rows or any(row[n] not in ("", None) for row in rows)]
    columns, rows = [columns[n] for n in used], [[row[n] for n in used] for row in rows]
    drawn = Table(
        title=title or None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        show_header=any(columns),
    )
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        drawn.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    out.print(drawn)


def facts(title: str, values: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    out.print(f"[bold]{escape(title)}[/]")
    table("", ["", ""], [[name.replace("_", " "), value] for name, value in values.items()])


@contextmanager
def bars(*, show: bool) -> Iterator[Callable[..., None]]:
    """Progress bars, one per step; the yielded function has the shape of ``Tell``."""
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=err, disable=not show) as progress:
        known: dict[str, Any] = {}

        def tell(step: str, done: int, total: int, note: str = "") -> None:
            if step not in known:
                known[step] = progress.add_task(step, total=total or None, note=note)
            progress.update(known[step], completed=done, total=total or None, note=escape(note))

        yield tell
