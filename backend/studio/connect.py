"""Setting up a Label Studio project for the loop; saying it twice changes nothing.

Everything a person made stays: tabs and webhooks of others, labels, members, an ML backend of another
service. What is ours is recognised by its address or title and brought to where it must be.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from backend.studio import hooks, tabs
from backend.studio.client import Studio
from backend.studio.labeling import LabelingConfig, parse
from backend.studio.transport import Refusal
from pool.schema import Label, Project

log = logging.getLogger("thresher.studio")

Json = dict[str, Any]
Matcher = Callable[[Sequence[Label]], Mapping[str, str]]
"""Takes the project's labels, returns model class name -> label; raises NoLabelMap when none fits."""

UNCERTAINTY: Final = "Uncertainty sampling"
WAYS_OUT: Final = (
    "start Label Studio with LABEL_STUDIO_USE_DEFAULT_BANNED_SUBNETS=false and its own list in "
    "LABEL_STUDIO_USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16 (or, with no protection left, with both "
    "LABEL_STUDIO_ML_BLOCK_LOCAL_IP=false and LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false); then connect "
    "again"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was looked at.

    ``state``: ``made`` anew, ``kept`` as it was, ``changed``, or ``blocked`` where Label Studio's own
    settings forbid it; ``detail`` then says which setting and what works without it.
    """

    what: str
    state: Literal["made", "kept", "changed", "blocked"]
    detail: str = ""


def connect(
    studio: Studio,
    project: int,
    *,
    backend_url: str,
    secret: str,
    match: Matcher,
    title: str = "thresher",
    control: str | None = None,
    basic_auth: tuple[str, str] | None = None,
) -> tuple[Project, list[Step]]:
    """Bring a project to the state that the loop needs, and say what that took.

    ``backend_url`` is where Label Studio reaches this service, ``secret`` what its webhook shows us,
    ``match`` finds the label of each model class, ``control`` names the tag that draws boxes where there
    are several, ``basic_auth`` is the (user, password) that guards this service.

    Raises:
        BadInput: the labeling config draws no boxes.
        NoLabelMap: no class of the model means a label of the project.
        StudioError: Label Studio refuses, or cannot reach this service.
    """
    now = studio.project(project)
    config = parse(str(now["label_config"]), control)
    label_map = dict(match(config.labels))
    steps = [_config_step(config, label_map)]
    # The webhook first: with its address taken, Label Studio makes none of its own for the backend.
    hook, step = _webhook(studio, project, backend_url, secret)
    steps += step
    backend, step = _backend(studio, project, backend_url, title, basic_auth)
    steps += step
    steps += _settings(studio, now)
    steps += _tabs(studio, project, config.image_key, has_tasks=int(now["task_number"]) > 0)
    for each in steps:
        log.info("project %d: %s %s %s", project, each.what, each.state, each.detail)
    return (
        Project(
            id=project,
            title=str(now["title"]),
            control=config.control,
            image_tag=config.image_tag,
            image_key=config.image_key,
            labels=tuple(label.value for label in config.labels),
            label_map=label_map,
            secret=secret,
            webhook=hook,
            ml_backend=backend,
        ),
        steps,
    )


def _config_step(config: LabelingConfig, label_map: Mapping[str, str]) -> Step:
    detail = f"boxes by {config.control!r}; " + ", ".join(f"{a} = {b}" for a, b in label_map.items())
    unmet = [label.value for label in config.labels if label.value not in label_map.values()]
    if unmet:
        detail += f"; the model does not know {', '.join(unmet)} yet"
    if not config.shows_why:
        detail += '; add <Header value="$why"/> to show annotators why they see an image'
    return Step("labeling config", "kept", detail)


def _webhook(studio: Studio, project: int, backend_url: str, secret: str) -> tuple[int | None, list[Step]]:
    found = hooks.find(studio.webhooks(project), backend_url)
    steps = []
    try:
        if not found:
            fields = hooks.wanted(backend_url, secret)
            made = studio.create_webhook(project, fields.pop("url"), **fields)
            return int(made["id"]), [Step("webhook", "made", hooks.address(backend_url))]
        first, *others = found
        steps.append(_repair(studio, first, backend_url, secret))
        for extra in others:
            steps += _silence(studio, extra)
    except Refusal as error:
        reason = _unreachable(error, backend_url)
        if reason is None:
            raise
        detail = f"{reason}. Until then people's work is fetched by polling."
        return (int(found[0]["id"]) if found else None), [*steps, Step("webhook", "blocked", detail)]
    return int(first["id"]), steps


def _repair(studio: Studio, hook: Json, backend_url: str, secret: str) -> Step:
    wrong = hooks.differences(hook, secret)
    if not wrong and not hook["send_for_all_actions"]:
        return Step("webhook", "kept", str(hook["url"]))
    studio.update_webhook(int(hook["id"]), **hooks.repaired(hook, backend_url, secret))
    return Step("webhook", "changed", "; ".join(wrong.values()) or "it sent events that nobody needs")


def _silence(studio: Studio, hook: Json) -> list[Step]:
    """A second webhook to the same address only doubles every annotator's waiting time."""
    if not hook["is_active"]:
        return []
    studio.update_webhook(int(hook["id"]), is_active=False, actions=list(hook["actions"]))
    return [Step(f"webhook {hook['id']}", "changed", "switched off: a second one for the same address")]


def _backend(
    studio: Studio, project: int, url: str, title: str, basic_auth: tuple[str, str] | None
) -> tuple[int | None, list[Step]]:
    found = _ours(studio.backends(project), url)
    if found is not None:
        return int(found["id"]), [_refresh(studio, found, basic_auth)]
    try:
        made = studio.create_backend(project, url, title, **_auth(basic_auth))
        return int(made["id"]), [Step("ML backend", "made", f"{title} at {url}")]
    except Refusal as error:
        # With half of its protection off, Label Studio answers 403 and makes the entry all the same.
        found = _ours(studio.backends(project), url)
        if found is not None:
            return int(found["id"]), [Step("ML backend", "made", f"{title} at {url}")]
        reason = _unreachable(error, url)
        if reason is None:
            raise
        return None, [
            Step("ML backend", "blocked", f"{reason}. Until then predictions are pushed all the same.")
        ]


def _unreachable(error: Refusal, url: str) -> str | None:
    """Why Label Studio did not connect a backend, if that lies between the two machines."""
    if error.status == 403:
        return f"Label Studio may not call {url}: {WAYS_OUT}"
    if error.status == 400 and "connect" in error.detail.lower():
        return (
            f"Label Studio got no answer from {url}: start the service (`thresher serve`), or set "
            "THRESHER_BACKEND_URL to the address at which Label Studio sees it, then connect again"
        )
    if "resolve hostname" in error.detail:
        return (
            f"Label Studio does not know the host of {url}: set THRESHER_BACKEND_URL to one that its "
            "machine (or container) can look up, then connect again"
        )
    return None


def _ours(backends: Sequence[Json], url: str) -> Json | None:
    return next((each for each in backends if hooks.same(str(each["url"]), url)), None)


def _auth(basic_auth: tuple[str, str] | None) -> dict[str, str]:
    if basic_auth is None:
        return {}
    return {
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": basic_auth[0],
        "basic_auth_pass": basic_auth[1],
    }


def _refresh(studio: Studio, backend: Json, basic_auth: tuple[str, str] | None) -> Step:
    where = f"{backend['title']} at {backend['url']}"
    user = basic_auth[0] if basic_auth else None
    known = backend["basic_auth_user"] if backend["auth_method"] == "BASIC_AUTH" else None
    # A password cannot be read back; a backend that answers has the right one.
    if known == user and backend["state"] == "CO":
        return Step("ML backend", "kept", where)
    # The method alone does not end it: Label Studio sends what user and password it has, and never
    # forgets a password. Without a user it sends neither.
    none = {"auth_method": "NONE", "basic_auth_user": ""}
    studio.update_backend(int(backend["id"]), **(_auth(basic_auth) or none))
    return Step("ML backend", "changed", f"{where}: was {backend.get('readable_state', backend['state'])}")


def _settings(studio: Studio, now: Json) -> list[Step]:
    want = {
        "sampling": UNCERTAINTY,
        "show_collab_predictions": True,
        "min_annotations_to_start_training": 0,
    }
    change = {key: value for key, value in want.items() if now[key] != value}
    if change:
        studio.update_project(int(now["id"]), **change)
    steps = [
        Step(key, "changed", f"{now[key]} -> {value}") if key in change else Step(key, "kept", str(value))
        for key, value in want.items()
    ]
    overlap = int(now["maximum_annotations"])
    warning = (
        ""
        if overlap == 1
        else " (above 1 Label Studio serves tasks that others began before uncertain ones; second opinions "
        "are asked for task by task, so 1 is enough)"
    )
    return [*steps, Step("maximum_annotations", "kept", f"{overlap}{warning}")]


def _tabs(studio: Studio, project: int, image_key: str, *, has_tasks: bool) -> list[Step]:
    views = studio.views(project)
    titles = [tabs.title_of(view) for view in views]
    made = tabs.wanted(titles, image_key, has_tasks=has_tasks)
    for data in made:
        studio.create_view(project, data)
    late = arrange(studio, project, views) if has_tasks else []
    steps = [Step(f"tab {data['title']}", "made") for data in made]
    return steps + [
        Step(f"tab {title}", "changed" if title in late else "kept")
        for title in tabs.TITLES
        if title in titles
    ]


def arrange(studio: Studio, project: int, views: Sequence[Mapping[str, Any]] | None = None) -> list[str]:
    """Order our tabs that were made while the project was empty; titles of those that changed."""
    known = studio.views(project) if views is None else views
    names = {int(view["id"]): tabs.title_of(view) for view in known}
    changed = []
    for view, data in tabs.ordered(known):
        studio.update_view(view, data)
        changed.append(names[view])
    return changed
