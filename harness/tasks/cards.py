"""Cards: what a task is, in TOML. Suites: which tasks belong together. Neither imports torch, so
that listing them is fast."""

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.errors import BadInput, unknown
from harness.io.resources import datasets_dir
from harness.io.toml import read_toml, validated
from harness.tasks.kinds import KINDS, TaskKind

SplitName = Literal["train", "val", "test"]
T = TypeVar("T")
DRAWN = ("vpt", "setr")
"""Values of `pixels` with random crops in training."""
AT_SOURCE = ("tf", "setr")
"""Values of `pixels` that are kept at source size."""
LARGEST_CROP = 4096
"""Pixels: the largest size that a card, or somebody else's checkpoint, may resize a backbone to."""
IMAGE_SIZE = 224
"""Pixels: the image side in most papers of the field."""
MOST_RECORDS = 10_000_000
"""In a task's source; dSprites, the largest, has 737,280."""
LONGEST_NAME, LONGEST_PATH = 150, 1000
"""Bytes of a name in a card that may become a file's or folder's, and of a path; file systems allow
up to 255 and 4,095."""

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class Reader(BaseModel):
    """Which reader a task's files need, and that reader's arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)
    format: str
    pixels: Literal["tf", "pil", "vpt"] | None = None
    """Replaces the card's if this reader is used."""

    @model_validator(mode="after")
    def _stays_inside(self) -> "Reader":
        """Checks whatever may be part of a path: folders, files, class names."""
        for text in _texts(self.arguments):
            path = PurePosixPath(text)
            if path.is_absolute() or ".." in path.parts or "\0" in text:
                raise ValueError(f"{text[:60]!r} is outside the data's folder")
            if len(text.encode()) > LONGEST_PATH or any(
                len(part.encode()) > LONGEST_NAME for part in path.parts
            ):
                raise ValueError(f"{text[:60]!r}... is too long for a file's name")
        return self

    @model_validator(mode="after")
    def _is_bounded(self) -> "Reader":
        """Checks counts of records, by split or class, since as many keys are created and
        sorted."""
        for counts in (value for value in self.arguments.values() if isinstance(value, dict)):
            if sum(count for count in counts.values() if isinstance(count, int)) > MOST_RECORDS:
                raise ValueError(f"more than {MOST_RECORDS:,} records")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def argument(self, name: str, task: str, kind: type[T]) -> T:
        """One of the reader's arguments. Raises `BadInput` if the card lacks it, or it has another
        type."""
        if name not in self.arguments:
            raise BadInput(
                f"task {task}: its card's [reader] needs '{name}' for format '{self.format}'."
            )
        value = self.arguments[name]
        if not isinstance(value, kind):
            raise BadInput(
                f"task {task}: '{name}' in its card's [reader] is {value!r}, expected a"
                f" {kind.__name__}."
            )
        return value


def _texts(value: Any) -> Iterator[str]:
    """All strings in a TOML value, including names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _texts(part)


class Archive(BaseModel):
    """A file published by a task's owner, and its size and checksums as far as known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str = Field(pattern=r"^https?://")
    name: str = Field(default="", pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")
    """The file's own name; by default the last part of the URL."""
    bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    folder: str = Field(default="", pattern=r"^(\.|[\w-][\w.-]*)?$")
    """Where it is extracted, below the data root; by default the task's name. Tasks that share
    files use the same."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return {"name": urlsplit(str(fields.get("url", ""))).path.rpartition("/")[2], **fields}


class TaskCard(BaseModel):
    """A task: what is predicted from what, its sizes, where the data are and how they are read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=LONGEST_NAME)
    title: str
    suite: str
    group: str
    kind: str
    classes: int = Field(gt=1)
    class_names: tuple[str, ...] = ()
    """In the order of the labels, for `harness predict`; empty if the card has none."""
    sizes: dict[SplitName, int]
    reader: Reader
    sources: tuple[Reader, ...] = ()
    """Other formats in which people have the same data; the first that is present is read."""
    pixels: Literal["tf", "pil", "vpt", "setr"]
    """`pil`: straight bicubic resize to the backbone's square. `tf`: TensorFlow 1's bilinear.
    `vpt`: resize, crop, flip. `setr`: segmentation's random scales and crops, and sliding
    windows."""
    crop: int | None = Field(default=None, gt=0, le=LARGEST_CROP)
    """Segmentation's: the side of crops and windows in pixels, and the length of an image's shorter
    side at scale 1."""
    metric: str
    train_on: Literal["train+val", "train"] = "train+val"
    """What the final run trains on."""
    source: str
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()
    """What `harness data fetch` downloads."""
    by_hand: str = Field(default="", pattern=r"^[^\n\r]*$")
    """Why the data, or part of them, must be obtained by hand: one sentence."""
    howto: str = Field(default="", pattern=r"^[^\n\r]*$")
    """How to get the data, shown when they are missing: one line."""
    overlap: int = Field(default=0, ge=0)
    """How many test images may also be in train or val, byte for byte, in the data as published."""
    slices: dict[str, str] = {}
    """Which records of the original make each split; documentation."""
    label_rule: str = ""
    path: Path = Field(default=Path(), exclude=True)
    """The card's own file."""

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(sorted(KINDS))}")
        return kind

    @model_validator(mode="after")
    def _has_splits(self) -> "TaskCard":
        if not {"train", "test"} <= self.sizes.keys() or any(
            size <= 0 for size in self.sizes.values()
        ):
            raise ValueError("sizes needs train and test, all above zero")
        if "val" not in self.sizes:
            raise ValueError("sizes needs val, on which tuning is scored")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} names, but classes is {self.classes}"
            )
        kind = self.task_kind
        if self.metric != kind.metric.name:
            raise ValueError(
                f"metric {self.metric} doesn't score {self.kind}: write {kind.metric.name}"
            )
        if self.pixels not in kind.pixels:
            raise ValueError(f"{self.kind} has pixels {', '.join(kind.pixels)}, not {self.pixels}")
        if (self.crop is not None) != kind.cropped:
            raise ValueError(f"{self.kind} {'needs a' if kind.cropped else 'has no'} crop")
        if kind.most_classes is not None and self.classes > kind.most_classes:
            raise ValueError(f"a mask holds at most {kind.most_classes} classes")
        return self

    @property
    def task_kind(self) -> TaskKind:
        """What holds for all cards of its kind."""
        return KINDS[self.kind]

    @property
    def masked(self) -> bool:
        """Whether images have masks instead of labels."""
        return self.task_kind.target == "mask"

    @property
    def labels(self) -> int:
        """How many values a record's label has, counted from 0."""
        return self.task_kind.labels(self.classes)

    def side(self, backbone: int, patch: int) -> int:
        """The side, in pixels, of the inputs to a backbone for images of side `backbone`: that; or
        the card's crop, rounded down to whole patches."""
        return backbone if self.crop is None else self.crop - self.crop % patch

    @property
    def pixels_are_drawn(self) -> bool:
        """Whether training uses random crops."""
        return self.pixels in DRAWN

    def digest(self) -> str:
        """sha256 of the fields that can change a score. The reader's output is covered by the
        data's fingerprint."""
        crop = {"crop"} if self.task_kind.cropped else set()
        fields = self.model_dump(
            mode="json", include={"kind", "classes", "sizes", "pixels", "metric", "train_on", *crop}
        )
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Suite(BaseModel):
    """Tasks that are reported together, with their default backbone and protocol."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    backbone: str = ""
    """Like the protocol, empty if each task uses that of its own suite."""
    protocol: str = ""
    image_size: int = Field(default=IMAGE_SIZE, gt=0, le=LARGEST_CROP)
    """For classification: the image side for a backbone whose name has none, such as DINOv2."""
    tasks: tuple[str, ...] = Field(min_length=1)


def load_cards(extra: Path | None = None) -> dict[str, TaskCard]:
    """The shipped cards, then those of the folder `extra`, by name. Raises `BadInput` with file and
    key for a broken one."""
    if extra is not None and not extra.is_dir():
        raise BadInput(f"--cards {extra}: there is no such folder.")
    user_cards = sorted(extra.rglob("*.toml")) if extra else []
    if extra is not None and not user_cards:
        raise BadInput(f"--cards {extra}: there are no cards (*.toml) in this folder.")
    cards = dict(_shipped(datasets_dir()))
    for path in user_cards:
        card = _card(path)
        if card.name in cards:
            raise BadInput(
                f"card {path}: the name '{card.name}' is taken by {cards[card.name].path}."
            )
        cards[card.name] = card
    return cards


@cache
def _shipped(folder: Path) -> dict[str, TaskCard]:
    """The cards of a folder that doesn't change while this process runs, by name."""
    paths = (path for path in sorted(folder.rglob("*.toml")) if path.name != "suites.toml")
    return {card.name: card for card in map(_card, paths)}


def _card(path: Path) -> TaskCard:
    fields = read_toml("card", path)
    if "path" in fields:
        raise BadInput(f"card {path}: path: a card's path isn't written in it; delete this key.")
    return validated(TaskCard, {**fields, "path": path.absolute()}, f"card {path}")


def load_suites() -> dict[str, Suite]:
    """The suites of datasets/suites.toml by name. A suite's tasks may include other suites, such as
    `@vtab`."""
    return dict(_suites(datasets_dir() / "suites.toml"))


@cache
def _suites(path: Path) -> dict[str, Suite]:
    """Those of a file that doesn't change while this process runs."""
    suites: dict[str, Suite] = {}
    for name, fields in read_toml("suites", path).items():
        tasks = [
            task
            for entry in fields["tasks"]
            for task in (suites[entry[1:]].tasks if entry.startswith("@") else [entry])
        ]
        suites[name] = validated(
            Suite, {**fields, "name": name, "tasks": tuple(tasks)}, f"suites {path}: {name}"
        )
    return suites


def named_tasks(suite: str | None, names: str | None) -> list[str] | None:
    """The tasks selected by `--suite` and `--tasks`, in the suite's order; None if neither is
    given. Raises `BadInput`."""
    if names is not None:
        return [name.strip() for name in names.split(",") if name.strip()]
    if suite is None:
        return None
    suites = load_suites()
    if suite not in suites:
        raise unknown("suite", suite, suites)
    return list(suites[suite].tasks)
