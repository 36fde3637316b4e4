"""Pages that the service shows to people: the consensus report of a project, live."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from backend import auditing
from backend.house import House
from consensus import page, tables
from consensus.plain import Document
from pool.schema import UnknownRecord

WORST = page.WORST
REST = 10.0
MOST = 4
"""Reports held in memory."""
CSV = "text/csv; charset=utf-8"
JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class _Known:
    """A report, the pictures on its page, the state of the answers that it was made of, and until when
    it is shown whatever happens."""

    state: int
    until: float
    document: Document
    pictures: Mapping[str, bytes]


class Reports:
    """The consensus report of each project, made again only after somebody answered or corrected.

    For one thread. A report that took long is shown for `REST` times as long, so that a busy project's
    page does not keep a processor to itself.
    """

    def __init__(self, house: House) -> None:
        self._house = house
        self._known: dict[int, _Known] = {}

    def page(self, project: int) -> tuple[str, dict[str, str]]:
        """The page, and the headers that it is sent with.

        Raises:
            UnknownRecord: the project is not connected.
        """
        found = self._report(project)
        nonce = secrets.token_urlsafe(16)
        live = page.Live(nonce, f"/projects/{project}/consensus/")
        return page.render(found.document, found.pictures, live, WORST), {
            "Content-Security-Policy": page.policy(nonce),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }

    def file(self, project: int, name: str) -> tuple[str, str]:
        """A download and its media type: ``report.json``, or one of the tables.

        Raises:
            UnknownRecord: there is no such file, or the project is not connected.
        """
        document = self._report(project).document
        if name == "report.json":
            return json.dumps(document, ensure_ascii=False), JSON
        known = tables.tables(document)
        table = name.removesuffix(".csv")
        if name != f"{table}.csv" or table not in known:
            names = ", ".join(["report.json", *(f"{each}.csv" for each in known)])
            raise UnknownRecord(f"The report has no file {name!r}; there are {names}.")
        return known[table], CSV

    def _report(self, project: int) -> _Known:
        self._house.pool.project(project)
        known, began = self._known.get(project), time.monotonic()
        if known is not None and began < known.until:
            return known
        state = self._state(project)
        if known is None or known.state != state:
            document = auditing.document(self._house, project)
            pictures = auditing.pictures(self._house, document, WORST)
            now = time.monotonic()
            known = _Known(state, now + REST * (now - began), document, pictures)
            self._known.pop(project, None)
            self._known[project] = known
            for other in list(self._known)[:-MOST]:
                del self._known[other]
        return known

    def _state(self, project: int) -> int:
        """A number that changes with whatever a report is made of: answers, models, rules."""
        pool, rules = self._house.pool, self._house.settings.rules
        models = tuple((m.version, m.state) for m in pool.models(project))
        written = rules.stat().st_mtime_ns if rules is not None and rules.is_file() else 0
        return hash(
            (frozenset(pool.stamps(project).items()), models, pool.counts(project)["predicted"], written)
        )
