"""Why Label Studio and this service do not talk: every known cause of silence, each with its way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from backend.studio import hooks
from backend.studio.client import Studio
from backend.studio.connect import WAYS_OUT
from backend.studio.symptoms import CHECKS, Finding, Seen, ok, problem, warning
from backend.studio.transport import Refusal
from pool.schema import Project, ThresherError
from pool.store import Pool

Fetch = Callable[[int, str], object]
"""Fetches the image of (task id, address); raises if it cannot."""
Heard = Callable[[], object]
"""Tells something that is another thing once a webhook has arrived."""

TESTED: Final = "1.23"


def diagnose(
    studio: Studio,
    pool: Pool,
    project: Project | None,
    *,
    backend_url: str,
    fetch: Fetch | None = None,
    heard: Heard | None = None,
    patience: float = 3.0,
) -> list[Finding]:
    """Look at everything that is known to go wrong, worst first within each part.

    Without a ``project`` only the server and the token are looked at. ``fetch`` tries one image. With
    ``heard`` a webhook is set off, by saving the project as it is, and awaited for ``patience`` seconds.
    Never raises for what it finds.
    """
    findings = list(_server(studio))
    if project is None or any(each.state == "problem" for each in findings):
        return findings
    try:
        seen = _look(studio, pool, project, backend_url)
    except ThresherError as error:
        return [
            *findings,
            problem("project", str(error), "Check the id, and that the token's user sees it."),
        ]
    for check in CHECKS:
        findings += check(seen)
    findings += _delivery(studio, seen, heard, patience)
    if fetch is not None:
        findings += _media(studio, seen, fetch)
    return findings


def _look(studio: Studio, pool: Pool, project: Project, backend_url: str) -> Seen:
    now = studio.project(project.id)
    counts = studio.prediction_counts(project.id)
    served = str(now["model_version"] or "")
    return Seen(
        project=project,
        now=now,
        hooks=studio.webhooks(project.id),
        backends=studio.backends(project.id),
        counts=counts,
        held=studio.predicted(project.id, served) if counts.get(served) else {},
        champion=pool.champion(project.id),
        known_tasks=len(pool.tasks(project.id)),
        backend_url=backend_url,
    )


def _server(studio: Studio) -> Iterator[Finding]:
    try:
        version = studio.version()
    except ThresherError as error:
        yield problem("Label Studio", str(error), "Start it, and set LABEL_STUDIO_URL to its address.")
        return
    if version.startswith(TESTED + "."):
        yield ok("Label Studio", f"{version} at {studio.url}")
    else:
        yield warning(
            "Label Studio",
            f"{version} at {studio.url}; this service was tested with {TESTED}",
            f"If something below fails, try Label Studio {TESTED}.",
        )
    try:
        me = studio.me()
    except ThresherError as error:
        fix = "Copy a token from Label Studio, Account & Settings, into LABEL_STUDIO_API_KEY."
        yield problem("token", str(error), fix)
        return
    personal = studio.headers()["Authorization"].startswith("Bearer ")
    yield ok("token", f"{'personal access' if personal else 'legacy'} token of {me['email']}")


def _delivery(studio: Studio, seen: Seen, heard: Heard | None, patience: float) -> Iterator[Finding]:
    """Whether Label Studio may send, and whether what it sends arrives."""
    found = hooks.find(seen.hooks, seen.backend_url)
    if not found:
        return
    hook = found[0]
    try:
        # The same address again: Label Studio checks it against its rules, and changes nothing.
        studio.update_webhook(int(hook["id"]), url=hook["url"], actions=list(hook["actions"]))
    except Refusal as error:
        if error.status == 403:
            yield problem("webhook address", f"Label Studio may not send to {hook['url']}", f"{WAYS_OUT}.")
        else:
            yield problem(
                "webhook address", str(error), "Set THRESHER_BACKEND_URL to an address it can look up."
            )
        return
    if heard is None:
        return
    before, until = heard(), time.monotonic() + patience
    studio.update_project(seen.project.id, title=seen.now["title"])
    while heard() == before:
        if time.monotonic() > until:
            yield problem(
                "webhook delivery",
                f"an event was set off, but did not arrive within {patience:g} s",
                "Start the service (`thresher serve`); if it runs, look into Label Studio's log for "
                "the webhook's error, and into this service's for a refused secret.",
            )
            return
        time.sleep(0.05)
    yield ok("webhook delivery", "an event was set off and arrived")


def _media(studio: Studio, seen: Seen, fetch: Fetch) -> Iterator[Finding]:
    task = next(studio.tasks(seen.project.id, 1, only=("id", "data")), None)
    if task is None:
        return
    uri = str(task["data"].get(seen.project.image_key) or "")
    try:
        fetch(int(task["id"]), uri)
    except (ThresherError, OSError) as error:
        yield problem(
            "images",
            f"the image of task {task['id']} ({uri}) cannot be fetched: {error}",
            "Check that the token's user sees it; for foreign hosts set THRESHER_MEDIA_HOSTS.",
        )
    else:
        yield ok("images", f"the image of task {task['id']} was fetched")
