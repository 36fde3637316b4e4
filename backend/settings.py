"""Settings: the only place that reads the environment.

Each field names its environment variables in order of precedence. Names that Label Studio ML
backends have always used (``LABEL_STUDIO_URL``, ``MODEL_DIR``, ``PORT`` …) keep their meaning;
everything of our own starts with ``THRESHER_``. A file ``thresher.env`` in the working directory is
read first; the environment wins.
"""

from __future__ import annotations

import os
import sys
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pool.schema import BadInput


def _names(*names: str) -> Any:
    return AliasChoices(*names)


class Settings(BaseSettings):
    """What a deployment decides. Frozen; made once by the door that was entered."""

    model_config = SettingsConfigDict(
        env_file="thresher.env", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True
    )

    data_dir: Path = Field(
        Path(".thresher"),
        validation_alias=_names("THRESHER_DATA_DIR"),
        description="Folder of the ledger, images, snapshots and job files.",
    )
    database_url: str | None = Field(
        None,
        validation_alias=_names("THRESHER_DATABASE_URL"),
        description="SQLAlchemy URL of the ledger; empty means SQLite in the data folder.",
    )
    images_url: str | None = Field(
        None,
        validation_alias=_names("THRESHER_IMAGES_URL"),
        description="fsspec URL of the image pool (folder, s3://bucket/prefix); empty: the data folder.",
    )
    model_folder: Path | None = Field(
        None, validation_alias=_names("MODEL_DIR"), description="Folder of registered weights."
    )
    weights: str = Field(
        "yolo11n.pt",
        validation_alias=_names("THRESHER_WEIGHTS"),
        description="Weights a newly connected project starts from: a name ultralytics knows, or a path.",
    )

    studio_url: str = Field(
        "http://localhost:8080",
        validation_alias=_names("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST"),
        description="Where Label Studio answers.",
    )
    studio_public_url: str | None = Field(
        None,
        validation_alias=_names("THRESHER_STUDIO_PUBLIC_URL"),
        description="Label Studio's address as browsers see it, where that is another one.",
    )
    api_key: SecretStr | None = Field(
        None,
        validation_alias=_names("LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"),
        description="Legacy token or personal access token of the user that thresher acts as.",
    )
    backend_url: str | None = Field(
        None,
        validation_alias=_names("THRESHER_BACKEND_URL"),
        description="Where Label Studio reaches this service; empty means http://localhost:PORT.",
    )
    media_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias=_names("THRESHER_MEDIA_HOSTS"),
        description="Further hosts that images may be fetched from, separated by commas.",
    )

    host: str = Field(
        "127.0.0.1", validation_alias=_names("THRESHER_HOST"), description="Address to listen on."
    )
    port: int = Field(
        9090, ge=1, le=65535, validation_alias=_names("PORT"), description="Port to listen on."
    )
    basic_user: str | None = Field(
        None, validation_alias=_names("BASIC_AUTH_USER"), description="User of every route but /health."
    )
    basic_pass: SecretStr | None = Field(
        None, validation_alias=_names("BASIC_AUTH_PASS"), description="Password of every route but /health."
    )
    webhook_secret: SecretStr | None = Field(
        None,
        validation_alias=_names("THRESHER_WEBHOOK_SECRET"),
        description="Secret of the webhooks made by connect; empty means one is drawn per project.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias=_names("LOG_LEVEL"), description="Verbosity of the logs."
    )

    imgsz: int = Field(
        640,
        ge=32,
        le=4096,
        validation_alias=_names("THRESHER_IMGSZ"),
        description="Detector input size in pixels.",
    )
    conf_floor: float = Field(
        0.05,
        ge=0.0,
        lt=1.0,
        validation_alias=_names("THRESHER_CONF_FLOOR"),
        description="Weakest box kept in the ledger; low, since uncertainty needs the weak ones.",
    )
    show_floor: float = Field(
        0.25,
        ge=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_SHOW_FLOOR", "MODEL_SCORE_THRESHOLD", "SCORE_THRESHOLD"),
        description="Weakest box drawn for annotators.",
    )
    iou: float = Field(
        0.6,
        gt=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_IOU"),
        description="IoU of the non-maximum suppression.",
    )
    device: str = Field(
        "", validation_alias=_names("THRESHER_DEVICE", "DEVICE"), description="cpu, 0, 0,1; empty: best."
    )
    threads: int = Field(
        0, ge=0, validation_alias=_names("THRESHER_THREADS"), description="Torch threads; 0: all cores."
    )
    batch: int = Field(
        16, ge=1, validation_alias=_names("THRESHER_BATCH"), description="Images in one forward pass."
    )

    ask_size: int = Field(
        50,
        ge=1,
        validation_alias=_names("THRESHER_ASK_SIZE"),
        description="Images sent to people in one round.",
    )
    strategy: str = Field(
        "uncertainty_herding",
        validation_alias=_names("THRESHER_STRATEGY"),
        description="How a round chooses, by a name that `thresher ask --help` lists.",
    )
    measure: str = Field(
        "entropy",
        validation_alias=_names("THRESHER_MEASURE"),
        description="What makes an image uncertain, by a name that `thresher ask --help` lists.",
    )
    aggregate: str = Field(
        "topk",
        validation_alias=_names("THRESHER_AGGREGATE"),
        description="How an image's boxes become one number: topk, max, mean, sum, or cost (per second).",
    )
    balance: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_BALANCE"),
        description="How much more doubts about rare labels count, from 0 (no more) to 1.",
    )
    audit_share: float = Field(
        0.1,
        ge=0.0,
        le=0.5,
        validation_alias=_names("THRESHER_AUDIT_SHARE"),
        description="Share of a round drawn at random and answered without the model's boxes.",
    )
    free_share: float = Field(
        0.1,
        ge=0.0,
        le=0.5,
        validation_alias=_names("THRESHER_FREE_SHARE"),
        description="Share of a round kept for images that somebody requested.",
    )
    clusters: int = Field(
        0,
        ge=0,
        le=100,
        validation_alias=_names("THRESHER_CLUSTERS"),
        description="Groups of look-alikes that each person is led through in turn; 0: by doubt alone.",
    )
    double_labels: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        validation_alias=_names("THRESHER_DOUBLE_LABELS"),
        description="Labels whose errors are costly, separated by commas: two people see such images.",
    )
    auto_error: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        validation_alias=_names("THRESHER_AUTO_ERROR"),
        description="Share of wrong images allowed among those accepted without a person; empty: none is.",
    )
    auto_doubt: float = Field(
        0.1,
        gt=0.0,
        lt=1.0,
        validation_alias=_names("THRESHER_AUTO_DOUBT"),
        description="Chance that this share is exceeded all the same.",
    )
    recheck_share: float = Field(
        0.1,
        gt=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_RECHECK_SHARE"),
        description="Share of accepted images that people are asked about all the same.",
    )
    stream_budget: float | None = Field(
        None,
        gt=0.0,
        lt=1.0,
        validation_alias=_names("THRESHER_STREAM_BUDGET"),
        description="Share of a stream's images that people may be asked about; empty: there is no stream.",
    )
    stream_burst: float = Field(
        30.0,
        ge=1.0,
        validation_alias=_names("THRESHER_STREAM_BURST"),
        description="Images of a stream that may be asked about in a row, at most.",
    )
    stream_strategy: str = Field(
        "quantile",
        validation_alias=_names("THRESHER_STREAM_STRATEGY"),
        description="How a stream chooses: quantile, vessal, random, fixed, variable or split.",
    )
    stream_limits: str = Field(
        "",
        validation_alias=_names("THRESHER_STREAM_LIMITS"),
        description="Most images asked in a time, such as minutely=5, daily=1000, daily/garbage=50.",
    )
    stream_import: Literal["asked", "all"] = Field(
        "asked",
        validation_alias=_names("THRESHER_STREAM_IMPORT"),
        description="Which images of a stream become tasks.",
    )
    tau: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_TAU"),
        description="Overlap (IoU) from which two people's boxes are of one object.",
    )
    quorum: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_QUORUM"),
        description="Largest share of the people that may have missed an object that is kept.",
    )
    least_votes: int = Field(
        1,
        ge=1,
        validation_alias=_names("THRESHER_LEAST_VOTES"),
        description="People that must have drawn an object, where at least as many answered.",
    )
    rules: Path | None = Field(
        None,
        validation_alias=_names("THRESHER_RULES"),
        description="YAML file of guidelines that answers are checked against; empty: general ones.",
    )
    max_opinions: int = Field(
        3,
        ge=2,
        validation_alias=_names("THRESHER_MAX_OPINIONS"),
        description="Most people that are asked about an image on which the others disagree.",
    )
    review_auto: bool = Field(
        False,
        validation_alias=_names("THRESHER_REVIEW_AUTO"),
        description="Write consensus and review queue into Label Studio with every round, unasked.",
    )
    weather: Path | None = Field(
        None,
        validation_alias=_names("THRESHER_WEATHER"),
        description="YAML file of conditions and recipes beside, or in place of, those that are known.",
    )
    diffusion_dir: Path | None = Field(
        None,
        validation_alias=_names("THRESHER_DIFFUSION_DIR"),
        description="Folder of diffusion models as A1111 has it: Stable-diffusion, VAE, Lora, ControlNet.",
    )
    diffusion_model: str = Field(
        "street-weather",
        validation_alias=_names("THRESHER_DIFFUSION_MODEL"),
        description="Checkpoint that paints variants; physical for none: renderers then do it.",
    )
    diffusion_vae: str = Field(
        "",
        validation_alias=_names("THRESHER_DIFFUSION_VAE"),
        description="VAE in place of the checkpoint's own; empty: its own.",
    )
    diffusion_controls: bool = Field(
        False,
        validation_alias=_names("THRESHER_DIFFUSION_CONTROLS"),
        description="Use the ControlNets that conditions name; they must be in the folder of models.",
    )
    diffusion_hub: bool = Field(
        False,
        validation_alias=_names("THRESHER_DIFFUSION_HUB"),
        description="Fetch models named owner/name from the Hugging Face hub.",
    )
    diffusion_batch: int = Field(
        0,
        ge=0,
        validation_alias=_names("THRESHER_DIFFUSION_BATCH"),
        description="Pictures painted at once; 0: as many as the GPU's memory holds, one without a GPU.",
    )
    diffusion_side: int = Field(
        1024,
        ge=64,
        le=4096,
        validation_alias=_names("THRESHER_DIFFUSION_SIDE"),
        description="Longest side in pixels that is painted at; larger parents are scaled down and back.",
    )
    variants_gb: float = Field(
        20.0,
        gt=0,
        validation_alias=_names("THRESHER_VARIANTS_GB"),
        description="Disk that variants may take, in GB (10^9 bytes), rejected ones included.",
    )
    variant_share: float = Field(
        0.2,
        ge=0.0,
        le=1.0,
        validation_alias=_names("THRESHER_VARIANT_SHARE"),
        description="Largest share of a round's images that may be generated ones.",
    )
    gates: str = Field(
        "",
        validation_alias=_names("THRESHER_GATES"),
        description="Thresholds that variants are held against, such as strange=1, found=0.6.",
    )
    holdout_share: float = Field(
        0.1,
        ge=0.0,
        le=0.9,
        validation_alias=_names("THRESHER_HOLDOUT_SHARE"),
        description="Share of camera images that only ever measure the model.",
    )
    epochs: int = Field(
        30, ge=1, validation_alias=_names("THRESHER_EPOCHS"), description="Longest training, in epochs."
    )
    max_image_mb: float = Field(
        50.0,
        gt=0,
        validation_alias=_names("THRESHER_MAX_IMAGE_MB"),
        description="Largest image file taken in.",
    )
    max_image_pixels: int = Field(
        100_000_000,
        gt=0,
        validation_alias=_names("THRESHER_MAX_IMAGE_PIXELS"),
        description="Largest image taken in.",
    )
    reconcile_seconds: float = Field(
        60.0,
        gt=0,
        validation_alias=_names("THRESHER_RECONCILE_SECONDS"),
        description="How often the worker compares the ledger with Label Studio.",
    )

    @field_validator("media_hosts", "double_labels", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("stream_limits")
    @classmethod
    def _readable_limits(cls, value: str) -> str:
        if value:
            from sampler.limits import parse

            try:
                parse(value)
            except BadInput as error:
                raise ValueError(f"must be {error.expected}") from None
        return value

    @field_validator("stream_strategy")
    @classmethod
    def _known_strategy(cls, value: str) -> str:
        if value != "quantile":
            from sampler.streams import STREAMS

            if value not in STREAMS:
                raise ValueError(f"must be one of {', '.join(STREAMS)}")
        return value

    @field_validator("studio_url", "studio_public_url", "backend_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname:
            raise ValueError("must be a full address such as http://localhost:8080")
        return value.rstrip("/")

    @cached_property
    def ledger_url(self) -> str:
        """SQLAlchemy URL of the ledger."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'pool.sqlite'}"

    @cached_property
    def jobs_url(self) -> str:
        """SQLAlchemy URL of the durable jobs: beside the ledger on SQLite, in the same database else."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'jobs.sqlite'}"

    @cached_property
    def images_root(self) -> str:
        """Root of the image pool."""
        return self.images_url or str(self.data_dir.resolve() / "images")

    @cached_property
    def model_dir(self) -> Path:
        """Folder of registered weights."""
        return (self.model_folder or self.data_dir / "models").resolve()

    @cached_property
    def public_url(self) -> str:
        """Where Label Studio reaches this service."""
        return self.backend_url or f"http://localhost:{self.port}"

    @cached_property
    def max_image_bytes(self) -> int:
        """Largest image file taken in, in bytes."""
        return int(self.max_image_mb * 1_000_000)


def load(**overrides: object) -> Settings:
    """Settings of this process: overrides, then environment, then ``thresher.env``, then defaults.

    Raises:
        BadInput: naming the variable, what it must be, and what it was.
    """
    try:
        return Settings(**{key: value for key, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = variable(str(first["loc"][0])) if first["loc"] else "setting"
        reason = first["msg"].removeprefix("Input should be ").removeprefix("Value error, must be ")
        fix = "Set it in the environment or in thresher.env."
        raise BadInput(name, reason, first["input"], fix) from None


def isolated(**values: object) -> Settings:
    """Settings from these values and the defaults alone, whatever the environment says."""
    defaults = {field: info.get_default() for field, info in Settings.model_fields.items()}
    # What is given here stands above the environment and the file, None and defaults included.
    return Settings(**{**defaults, **values})


def variable(field: str) -> str:
    """The environment variable that sets a field (its preferred name)."""
    info = Settings.model_fields.get(field)
    alias = info.validation_alias if info else None
    return str(alias.choices[0]) if isinstance(alias, AliasChoices) else field


def variables() -> dict[str, str]:
    """Every environment variable that is read, with the field it sets."""
    return {
        str(choice): field
        for field, info in Settings.model_fields.items()
        if isinstance(info.validation_alias, AliasChoices)
        for choice in info.validation_alias.choices
    }


def quiet_libraries(settings: Settings) -> None:
    """Tell libraries to stay in our folders and off the network; call before they are imported."""
    os.environ.setdefault("YOLO_CONFIG_DIR", str((settings.data_dir / "ultralytics").resolve()))
    os.environ.setdefault("YOLO_VERBOSE", "false")
    # Importing it must not look for the internet; weights named by the operator are fetched all the same.
    os.environ.setdefault("YOLO_OFFLINE", "true")


def child_environment(settings: Settings, **more: str) -> dict[str, str]:
    """The environment for a process of ours, so that it sees the very same settings."""
    env = {name: value for name, value in os.environ.items() if name not in variables()}
    env |= _written(settings) | more
    env.setdefault("PYTHONUNBUFFERED", "1")
    env.setdefault("VIRTUAL_ENV", sys.prefix)
    return env


def env_file(settings: Settings) -> str:
    """The text of a ``thresher.env`` that says what these settings say; it holds their secrets."""
    quoted = {
        name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in _written(settings).items()
    }
    return "".join(f"{name}='{value}'\n" for name, value in quoted.items())


def _written(settings: Settings) -> dict[str, str]:
    """Values as their variables would hold them; None is left out."""
    written: dict[str, str] = {}
    for field, info in Settings.model_fields.items():
        value = getattr(settings, field)
        if value is None or not isinstance(info.validation_alias, AliasChoices):
            continue
        plain = value.get_secret_value() if isinstance(value, SecretStr) else value
        written[variable(field)] = ",".join(plain) if isinstance(plain, tuple) else str(plain)
    return written
