"""The nouns of the house: frozen records that every room speaks and none may change.

This file imports no other room and no third-party package at run time, so that any tool can read
the records without loading a model, a server or a database.

Errors::

    ThresherError               anything this project says to a person: one sentence, with what to do
    ├── BadInput                a value is not what it must be (field, expected, got, fix)
    ├── UnknownRecord           a sample, project, model or round that the ledger does not hold
    ├── BadImage                a file that is no usable image (broken, too large, unknown format)
    ├── NoLabelMap              model classes and project labels do not meet
    ├── MissingWeights          a detector's weights are not there and cannot be fetched
    ├── NotReady                asked too early: no labels, no holdout, no connected project
    ├── StudioError             Label Studio refused or cannot be reached
    └── Forbidden               an address or path that the security rules do not allow
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float16]

Source = Literal["camera", "generated"]
Route = Literal["auto", "human", "double"]
Origin = Literal["manual", "prediction", "prediction-changed"]
ModelState = Literal["candidate", "champion", "retired", "refused"]
VariantState = Literal["planned", "passed", "rejected", "accepted", "refused", "failed"]
IN_POOL: tuple[VariantState, ...] = ("passed", "accepted")
"""States of variants whose picture is a sample of the pool."""


class ThresherError(Exception):
    """A failure that a person can act on; its text is one sentence (or a short list) with the fix."""


class BadInput(ThresherError):
    """A value is not what it must be."""

    def __init__(self, field: str, expected: str, got: object, fix: str = "") -> None:
        self.field, self.expected, self.got, self.fix = field, expected, got, fix
        text = f"{field} must be {expected}, but got {got!r}."
        super().__init__(f"{text} {fix}" if fix else text)

    def __reduce__(self) -> tuple[Any, ...]:
        # Without this an error could not come home from another process: it is made of four parts.
        return type(self), (self.field, self.expected, self.got, self.fix)


class UnknownRecord(ThresherError):
    """The ledger does not hold what was asked for."""


class BadImage(ThresherError):
    """A file that is no usable image."""


class NoLabelMap(ThresherError):
    """The model's classes and the project's labels do not meet."""


class MissingWeights(ThresherError):
    """A detector's weights are not there and cannot be fetched."""


class NotReady(ThresherError):
    """Asked too early: something that must exist first does not yet."""


class StudioError(ThresherError):
    """Label Studio refused, or cannot be reached."""


class Forbidden(ThresherError):
    """An address or path that the security rules do not allow."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in normalised image coordinates (``xyxyn``).

    ``x1, y1`` is the top-left corner and ``x2, y2`` the bottom-right one, each in [0, 1] of the
    image's width or height after its EXIF orientation was applied. ``rotation`` is in degrees
    clockwise about the top-left corner, as Label Studio counts it; 0 for upright boxes.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    rotation: float = 0.0


@dataclass(frozen=True, slots=True)
class Region:
    """A labelled box, drawn by a model or a person.

    ``score`` is the detector's confidence in [0, 1], higher = surer; None for people.
    ``id`` is the region's id in Label Studio; it survives from a prediction into the annotation
    made of it. ``origin`` is Label Studio's note of how much a person changed the pre-drawn box.
    ``label`` is None where a person drew a box without naming it.
    """

    label: str | None
    box: Box
    score: float | None = None
    id: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """An image of the pool; ``id`` is the sha256 of its stored bytes (hex).

    ``width`` and ``height`` are pixels after orientation. ``original`` is the sha256 of the bytes
    as they came (equal to ``id`` unless the image had to be turned). ``phash`` is a 64-bit
    perceptual hash, ``suffix`` the stored file's ending. ``root`` is the camera image at the start of
    the lineage (itself, for a camera image): variants follow their root into the same split.
    ``holdout`` images are only ever labelled by people and never trained on.
    """

    id: str
    width: int
    height: int
    name: str
    original: str
    phash: int
    root: str
    holdout: bool
    suffix: str = ".jpg"
    source: Source = "camera"
    parent: str | None = None
    recipe: str | None = None


@dataclass(frozen=True, slots=True)
class Variant:
    """A picture made, or to be made, from a sample: its lineage, and what became of it.

    ``id`` is made of project, parent, recipe and seed, so that the same wish is one variant. ``job``
    planned it. ``parent`` is a sample, ``condition`` the name of a weather or light (empty for a pasted
    recipe), ``recipe`` the whole infotext, hashes of models included. ``regions`` are the parent's boxes,
    which people are shown to confirm. ``state``: planned; then ``passed`` or ``rejected`` by the gates,
    or ``failed`` where no picture came of it; a person may have ``accepted`` what was rejected, or
    ``refused`` what had passed. ``sample`` is the picture's id once it is stored (rejected ones are kept
    too), ``suffix`` its ending and ``bytes`` its size. ``gates`` is what each gate measured, ``reason``
    one sentence.
    """

    id: str
    project: int
    job: str
    parent: str
    condition: str
    recipe: str
    seed: int
    created_at: datetime
    regions: tuple[Region, ...] = ()
    state: VariantState = "planned"
    sample: str | None = None
    suffix: str = ".png"
    bytes: int = 0
    gates: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one model version sees in one sample.

    ``regions`` holds every box above the confidence floor, strongest first, ``probs`` the class
    probabilities of the same boxes, shape (n, classes), sigmoid outputs that do not sum to 1, in the
    order of ``classes``. ``embedding`` is the image's feature vector, shape (d,). ``background`` is
    the strongest score that fell below the floor, in [0, 1]: what an image without boxes still
    whispers. ``uncertainty`` is in [0, 1], higher = more worth a human, made by ``measure``.

    Per box, where the model has them: ``box_embeddings`` (n, e) feature vectors, ``localisation`` (n,)
    how undecided the place of its edges is, ``disagreement`` (n,) how differently two heads score it,
    both in [0, 1].
    """

    sample: str
    model_version: str
    regions: tuple[Region, ...]
    classes: tuple[str, ...]
    background: float = 0.0
    uncertainty: float | None = None
    measure: str | None = None
    probs: Matrix | None = field(default=None, compare=False, repr=False)
    embedding: Matrix | None = field(default=None, compare=False, repr=False)
    box_embeddings: Matrix | None = field(default=None, compare=False, repr=False)
    localisation: Matrix | None = field(default=None, compare=False, repr=False)
    disagreement: Matrix | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """How far a person's annotation is from the prediction it began as, in counts of boxes."""

    kept: int = 0
    moved: int = 0
    relabelled: int = 0
    added: int = 0
    deleted: int = 0


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one person said about one sample; ``id`` is Label Studio's own.

    ``skipped`` annotations (Label Studio's ``was_cancelled``) are kept apart: they are no labels.
    ``lead_time`` is in seconds. ``parent_prediction`` is the id of the prediction that was on the
    screen, ``change`` what became of it.
    """

    id: int
    project: int
    task: int
    sample: str
    annotator: str
    regions: tuple[Region, ...]
    created_at: datetime
    updated_at: datetime
    lead_time: float | None = None
    ground_truth: bool = False
    skipped: bool = False
    parent_prediction: int | None = None
    change: Change | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """Where one sample goes, and why: one row per sample and round.

    ``route``: ``auto`` needs nobody, ``human`` one person, ``double`` two. ``p_select`` is the chance
    the strategy gave this pick, in (0, 1] (1 for a deterministic choice). ``reason`` is the sentence
    that annotators read.
    """

    sample: str
    round: str
    model_version: str
    route: Route
    uncertainty: float
    measure: str
    strategy: str
    reason: str
    p_select: float = 1.0


@dataclass(frozen=True, slots=True)
class Consensus:
    """What several annotators say together about one sample.

    ``score`` is the seed's consensus score, identical labels / total labels of the asset, in [0, 1],
    higher = more agreement; None with fewer than two annotators. ``disputed`` counts objects on
    which they differ.
    """

    sample: str
    score: float | None
    regions: tuple[Region, ...]
    annotators: tuple[str, ...]
    disputed: int


@dataclass(frozen=True, slots=True)
class Edit:
    """Something that this service changed in Label Studio, and what it was before.

    ``job`` is the run that did it, ``who`` the user in whose name. ``field`` is ``data.<key>``,
    ``overlap``, ``prediction``, ``score`` or ``ground_truth``, ``subject`` the id of the prediction or
    annotation that it is about (0: the task itself, or what was made anew). ``before`` and ``after`` are
    plain JSON values, None where there was nothing. ``undone_at`` says that the old value was put back.
    """

    project: int
    task: int
    field: str
    subject: int
    before: Any
    after: Any
    job: str
    who: str
    at: datetime
    undone_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A detector that Label Studio knows by ``version``.

    ``weights`` is a path relative to the model folder, ``sha256`` of that file. ``classes`` are the
    model's class names in index order. ``snapshot`` is the training set, ``parent`` the version it
    was trained from. ``metrics`` are measured on the frozen holdout, never on training images.
    """

    version: str
    project: int
    weights: str
    sha256: str
    classes: tuple[str, ...]
    created_at: datetime
    state: ModelState = "candidate"
    parent: str | None = None
    snapshot: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """One label of a project, and the words by which models may know it.

    ``predicted_values`` are model class names that stand for it, ``category`` the class index it
    was given in the labeling config.
    """

    value: str
    predicted_values: tuple[str, ...] = ()
    category: int | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """A Label Studio project that is connected here.

    ``control`` and ``image_tag`` are the names of the RectangleLabels and Image tags, ``image_key``
    the task data key that holds the image, ``labels`` the project's labels in order. ``label_map``
    takes a model class name to a label. ``secret`` authenticates the project's own webhook.
    """

    id: int
    title: str
    control: str
    image_tag: str
    image_key: str
    labels: tuple[str, ...]
    label_map: Mapping[str, str]
    secret: str = field(repr=False)
    webhook: int | None = None
    ml_backend: int | None = None
    cursor: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """The place of a sample in a Label Studio project.

    ``uri`` is the image as Label Studio names it. ``asked`` says that the sampler wants a person to
    see it. ``overlap`` is how many people must. ``pushed`` is the model version whose prediction
    Label Studio holds.
    """

    project: int
    id: int
    sample: str
    uri: str
    asked: bool = False
    overlap: int = 1
    pushed: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """A single image that could not be read, fetched or predicted; the rest of its batch went on."""

    subject: str
    stage: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Event:
    """A webhook as it came, waiting in the durable inbox; ``key`` makes delivery idempotent."""

    key: str
    project: int
    action: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Round:
    """One turn of the loop: ``ask`` opens it, ``learn`` closes it."""

    id: str
    project: int
    number: int
    model_version: str
    asked: int
    opened_at: datetime
    closed_at: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is: ``done`` of ``total`` in ``step``; ``total`` 0 means unknown."""

    job: str
    step: str
    done: int
    total: int
    note: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An immutable training set; ``id`` is the sha256 of its manifest."""

    id: str
    project: int
    manifest: Mapping[str, Any]
    created_at: datetime
