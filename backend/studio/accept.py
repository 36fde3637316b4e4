"""Predictions that need nobody become annotations of a user who is no person, and can be taken back.

Everybody sees in ``completed_by`` that no person answered. Label Studio's own action for this writes in the
caller's name, and nobody can call in the name of a user without a password, so annotations go one by one:
0.2 s each on SQLite. More than one at a time is not worth it: two were 1.3 times as fast, but people then
waited up to 9 s for their next image.

Each annotation names the prediction it is a copy of. That is how a call that was cut short knows what it
already wrote, and why a prediction is never accepted twice.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import chain, islice
from typing import Any, Final

from backend.studio.client import Studio
from backend.studio.convert import annotator
from backend.studio.listing import moment
from backend.studio.transport import PASSING, Refusal
from pool.schema import Project, StudioError

log = logging.getLogger("thresher.studio")

Json = dict[str, Any]
OnProgress = Callable[[int, int], None]

EMAIL: Final = "auto-accept@thresher.invalid"
"""Address of the service's user; nobody can own a domain under ``.invalid`` (RFC 2606)."""
PAGE: Final = 100
"""Tasks read together. What people do to one of them is seen unless they do it while its page is written,
which takes half a minute at most; then the task has two answers, and consensus sorts them out."""
TRIES: Final = 3
PAUSE: Final = 1.0
UNTOUCHED: Final = timedelta(milliseconds=50)
"""Label Studio takes the two times of a new annotation microseconds apart; every change renews the second.
Who changed it last does not tell: that is the token's user from the beginning, often a person as well."""
SEEN: Final = (
    "id", "annotations", "predictions", "draft_exists", "is_labeled", "overlap",
    "completed_by", "created_at", "updated_at", "parent_prediction",
)  # fmt: skip


def service_user(studio: Studio) -> int:
    """Id of the member of the organization who stands for the service; made at the first call.

    It has no password, so nobody can log in as it.

    Raises:
        StudioError: there is none and Label Studio makes none.
    """
    found = _member(studio)
    refused: Refusal | None = None
    if found is None:
        try:
            studio.create_user(EMAIL, username="thresher", first_name="thresher", last_name="(auto-accept)")
        except Refusal as error:
            refused = error
        found = _member(studio)  # also one that another process made at this very moment
    if found is None:
        reason = refused.detail if refused else "it was made outside of the organization"
        raise StudioError(
            f"The organization has no member {EMAIL}, in whose name images are accepted, and none could "
            f"be made ({reason}). Sign up once with this address through the invitation link "
            "(Organization, Add People), with a password that nobody keeps. If the member was removed "
            "before, let the organization's owner delete that user for good: DELETE /api/users/<id>/."
        ) from refused
    return found


def write(
    studio: Studio,
    project: Project,
    items: Mapping[int, Sequence[Mapping[str, Any]]],
    user: int,
    *,
    version: str,
    on_progress: OnProgress | None = None,
) -> dict[int, int]:
    """Accept predictions of ``version`` in the name of ``user``; the annotation's id by task id.

    ``items`` are result items by task id. A task is passed over if anybody answered, skipped or began to
    draw, if it holds no prediction of the version, or no longer exists. What an earlier call wrote is in
    the answer again, so a call that was cut short is simply repeated. ``on_progress`` gets how many of
    the items are settled and how many there are.

    Raises:
        StudioError: Label Studio refuses or stays away; what was written stays, and counts the next time.
    """
    made: dict[int, int] = {}
    tell = on_progress or _nobody
    for done, task in enumerate(chain.from_iterable(_pages(studio, project, items))):
        tell(done, len(items))
        number = int(task["id"])
        rows = [int(each["id"]) for each in task["predictions"] if each["model_version"] == version]
        written = _ours(task, user, rows)
        if written is not None:
            _finish(studio, task)
        elif rows and not task["annotations"] and not task["draft_exists"]:
            written = _create(studio, number, items[number], user, rows)
        if written is not None:
            made[number] = written
    tell(len(items), len(items))
    log.info("project %d: %d of %d tasks are accepted", project.id, len(made), len(items))
    return made


def undo(studio: Studio, project: Project, annotations: Mapping[int, int], user: int) -> list[int]:
    """Take back annotations of ``user``, given by task id; the tasks that do not hold theirs any more.

    They return to the queue. An annotation stays if a person changed it, starred it or keeps a draft on
    its task. One that was gone before counts as taken back, so a call that was cut short is repeated.

    Raises:
        StudioError: Label Studio refuses or stays away; what was taken back so far stays so.
    """
    gone: list[int] = []
    for page in _pages(studio, project, annotations):
        alone: list[int] = []
        for task in page:
            number = int(task["id"])
            wanted = annotations[number]
            held = next((each for each in task["annotations"] if each["id"] == wanted), None)
            if held is not None and (task["draft_exists"] or not _untouched(held, user)):
                continue
            gone.append(number)
            if held is not None and len(task["annotations"]) == 1:
                alone.append(number)
            elif held is not None:
                _delete(studio, wanted)
        studio.delete_annotations(project.id, alone, user)
    log.info("project %d: %d of %d tasks are taken back", project.id, len(gone), len(annotations))
    return gone


def _member(studio: Studio) -> int | None:
    return next((int(each["id"]) for each in studio.members() if each["email"] == EMAIL), None)


def _pages(studio: Studio, project: Project, wanted: Collection[int]) -> Iterator[list[Json]]:
    """The wanted tasks among the first hundred of the project, among the next hundred and so on.

    Each page is read only when the one before it is done with.
    """
    last = max(wanted, default=0)
    listed = studio.tasks(project.id, PAGE, only=SEEN) if wanted else iter(())
    while page := list(islice(listed, PAGE)):
        yield [task for task in page if int(task["id"]) in wanted]
        if int(page[-1]["id"]) >= last:
            return


def _ours(task: Mapping[str, Any], user: int, rows: Collection[int]) -> int | None:
    """The annotation that accepted one of these predictions."""
    for each in task["annotations"]:
        if annotator(each["completed_by"]) == str(user) and each["parent_prediction"] in rows:
            return int(each["id"])
    return None


def _untouched(annotation: Mapping[str, Any], user: int) -> bool:
    since = moment(annotation["updated_at"]) - moment(annotation["created_at"])
    return annotator(annotation["completed_by"]) == str(user) and since < UNTOUCHED


def _create(
    studio: Studio, task: int, items: Sequence[Mapping[str, Any]], user: int, rows: Sequence[int]
) -> int | None:
    """The new annotation's id; None if the task is gone.

    Label Studio holds one annotation of a ``unique_id``, so this may be sent again where an answer is
    missing, and two processes may do it at once.
    """
    fields: Json = {
        "result": [{**item, "origin": "prediction"} for item in items],
        "completed_by": user,
        "parent_prediction": rows[0],
        "ground_truth": False,
        "unique_id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"thresher accepts prediction {rows[0]}")),
    }
    for attempt in range(TRIES):
        try:
            return int(studio.create_annotation(task, **fields)["id"])
        except Refusal as error:
            if error.status == 409:
                there = studio.task(task)
                _finish(studio, there)
                return _ours(there, user, rows)
            if error.status == 404:
                return None
            if error.status not in PASSING or attempt + 1 == TRIES:
                raise
            log.warning("%s", error)
        except StudioError as error:
            if attempt + 1 == TRIES:
                raise
            log.warning("%s", error)
        time.sleep(PAUSE * 2**attempt)
    raise AssertionError("unreachable")


def _finish(studio: Studio, task: Mapping[str, Any]) -> None:
    """Label Studio stores an answer before it notes that its task has enough: mend what broke between."""
    if not task["is_labeled"] and task["overlap"] == 1:
        studio.patch_task(int(task["id"]), is_labeled=True)


def _delete(studio: Studio, annotation: int) -> None:
    try:
        studio.delete_annotation(annotation)
    except Refusal as error:
        if error.status != 404:  # somebody else deleted it first
            raise


def _nobody(done: int, total: int) -> None:
    """Hear progress for those who do not."""
