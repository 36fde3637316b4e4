"""The webhook by which Label Studio tells us what people do: how it must be, and how far one is from it.

Label Studio makes a webhook ``<url>/webhook`` by itself when a backend is connected, for all events and
without any header, unless one with that address exists. Ours has that very address, so there is one
webhook in the end, and it carries the secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

Json = dict[str, Any]

SECRET_HEADER: Final = "X-Thresher-Secret"
ACTIONS: Final = (
    "ANNOTATION_CREATED",
    "ANNOTATIONS_CREATED",
    "ANNOTATION_UPDATED",
    "ANNOTATIONS_DELETED",
    "TASKS_CREATED",
    "TASKS_DELETED",
    "PROJECT_UPDATED",
)


def address(backend_url: str) -> str:
    """Where Label Studio sends events of a service at ``backend_url``."""
    return backend_url.rstrip("/") + "/webhook"


def same(one: str, other: str) -> bool:
    """Do two addresses mean the same place? Case of the host and a closing slash do not matter."""
    return _plain(one) == _plain(other)


def wanted(backend_url: str, secret: str) -> Json:
    """Fields of a webhook that does its work."""
    return {
        "url": address(backend_url),
        "send_payload": True,
        "send_for_all_actions": False,
        "is_active": True,
        "headers": {SECRET_HEADER: secret},
        "actions": list(ACTIONS),
    }


def find(hooks: Sequence[Json], backend_url: str) -> list[Json]:
    """The webhooks that reach the service, the one to keep first: ours if there is one, else the oldest."""
    found = [hook for hook in hooks if same(str(hook["url"]), address(backend_url))]
    return sorted(found, key=lambda hook: (SECRET_HEADER not in _headers(hook), int(hook["id"])))


def differences(hook: Mapping[str, Any], secret: str) -> dict[str, str]:
    """What is wrong with a webhook, by field: empty for one that does its work. Never holds the secret."""
    wrong: dict[str, str] = {}
    if not hook["is_active"]:
        wrong["is_active"] = "it is switched off"
    if not hook["send_payload"]:
        wrong["send_payload"] = "it sends no content"
    if _headers(hook).get(SECRET_HEADER) != secret:
        known = SECRET_HEADER in _headers(hook)
        wrong["headers"] = f"its {SECRET_HEADER} is {'another one' if known else 'missing'}"
    missing = [] if hook["send_for_all_actions"] else sorted(set(ACTIONS) - set(hook["actions"]))
    if missing:
        wrong["actions"] = f"it leaves out {', '.join(missing)}"
    return wrong


def repaired(hook: Mapping[str, Any], backend_url: str, secret: str) -> Json:
    """Fields to send for a webhook with differences; headers and actions that others added stay."""
    want = wanted(backend_url, secret)
    added = [action for action in hook["actions"] if action not in ACTIONS]
    return want | {
        "url": hook["url"],
        "headers": {**_headers(hook), SECRET_HEADER: secret},
        "actions": [*ACTIONS, *added],
    }


def _headers(hook: Mapping[str, Any]) -> dict[str, str]:
    return dict(hook.get("headers") or {})


def _plain(url: str) -> tuple[str, str, int, str]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, (parts.hostname or "").lower(), port, parts.path.rstrip("/")
