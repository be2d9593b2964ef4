"""Cards: what a task is, said in TOML. Suites: which tasks go together. Neither imports torch, so
that listing them is quick."""

import hashlib
import json
from collections.abc import Iterator
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
"""Ways of making pixels that take another crop of an image each time that it is trained on."""
AT_SOURCE = ("tf", "setr")
"""Ways of making pixels that are kept at the size of their source."""
LARGEST_CROP = 4096
"""Pixels: what a card, or a checkpoint of somebody else's, may ask a backbone to be resized to."""
IMAGE_SIZE = 224
"""Pixels: the side that most papers of the field run backbones at."""
MOST_RECORDS = 10_000_000
"""Of a task's source; dSprites, the largest, has 737,280."""
LONGEST_NAME, LONGEST_PATH = 150, 1000
"""Bytes of a name in a card that may become a file's or folder's, and of a path; file systems
refuse 256 and 4,096."""

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class Reader(BaseModel):
    """Which reader a task's files need, and that reader's own arguments."""

    model_config = ConfigDict(extra="allow", frozen=True)
    format: str
    pixels: Literal["tf", "pil", "vpt"] | None = None
    """Replaces the card's where this reader is used."""

    @model_validator(mode="after")
    def _stays_inside(self) -> "Reader":
        """Whatever may be part of a path: folders, files, names of classes."""
        for text in _texts(self.arguments):
            path = PurePosixPath(text)
            if path.is_absolute() or ".." in path.parts or "\0" in text:
                raise ValueError(f"{text[:60]!r} leads out of the data's folder")
            if len(text.encode()) > LONGEST_PATH or any(
                len(part.encode()) > LONGEST_NAME for part in path.parts
            ):
                raise ValueError(f"{text[:60]!r}... is too long for a file's name")
        return self

    @model_validator(mode="after")
    def _is_bounded(self) -> "Reader":
        """Counts of records, by split or class: as many keys are made and sorted."""
        for counts in (value for value in self.arguments.values() if isinstance(value, dict)):
            if sum(count for count in counts.values() if isinstance(count, int)) > MOST_RECORDS:
                raise ValueError(f"more than {MOST_RECORDS:,} records")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        return dict(self.model_extra or {})

    def argument(self, name: str, task: str, kind: type[T]) -> T:
        """One of the reader's arguments. Raises `BadInput` where the card lacks it, or has it as
        another type."""
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
    """All texts in a value of TOML, names included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from _texts(part)


class Archive(BaseModel):
    """A file that a task's owner publishes, and what it should be, as far as that is known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    url: str = Field(pattern=r"^https?://")
    name: str = Field(default="", pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")
    """The file's own name; by default the address's last part."""
    bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    md5: str | None = Field(default=None, pattern=r"^[0-9a-f]{32}$")
    folder: str = Field(default="", pattern=r"^(\.|[\w-][\w.-]*)?$")
    """Where it is extracted, below the data root; by default the task's name. Tasks that share
    files name the same."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, fields: dict[str, Any]) -> dict[str, Any]:
        return {"name": urlsplit(str(fields.get("url", ""))).path.rpartition("/")[2], **fields}


class TaskCard(BaseModel):
    """A task: what is predicted from what, how many there are, where the data is and how it is
    read."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=LONGEST_NAME)
    title: str
    suite: str
    group: str
    kind: str
    classes: int = Field(gt=1)
    class_names: tuple[str, ...] = ()
    """In the order of the labels, for `harness predict`; empty where the card doesn't say."""
    sizes: dict[SplitName, int]
    reader: Reader
    sources: tuple[Reader, ...] = ()
    """Other forms in which people have the same data; the first that is there is read."""
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
    """What `harness data fetch` gets."""
    by_hand: str = Field(default="", pattern=r"^[^\n\r]*$")
    """Why a person must get the data, or a part of it: one sentence."""
    howto: str = Field(default="", pattern=r"^[^\n\r]*$")
    """How to get the data, said when it is missing: one line."""
    overlap: int = Field(default=0, ge=0)
    """How many test images may be in train or val too, byte for byte, in the data as their owner
    published them."""
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
            raise ValueError("sizes needs val, which tuning is scored on")
        if self.class_names and len(self.class_names) != self.classes:
            raise ValueError(
                f"class_names has {len(self.class_names)} names, and classes is {self.classes}"
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
        """Whether an image has a mask in place of a label."""
        return self.task_kind.target == "mask"

    @property
    def labels(self) -> int:
        """How many values a record's label has, counted from 0."""
        return self.task_kind.labels(self.classes)

    def side(self, backbone: int, patch: int) -> int:
        """Of the squares, in pixels, that a backbone for images of side `backbone` is given: that;
        or the card's crop, in whole patches."""
        return backbone if self.crop is None else self.crop - self.crop % patch

    @property
    def pixels_are_drawn(self) -> bool:
        """Whether training sees other pixels of an image each time: random crops."""
        return self.pixels in DRAWN

    def digest(self) -> str:
        """sha256 of the fields that can change a score. What the reader gives is in the data's
        fingerprint."""
        crop = {"crop"} if self.task_kind.cropped else set()
        fields = self.model_dump(
            mode="json", include={"kind", "classes", "sizes", "pixels", "metric", "train_on", *crop}
        )
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class Suite(BaseModel):
    """Tasks that are reported together, with the backbone and protocol that they run with unless
    the user says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    backbone: str = ""
    """With the protocol: empty where each task runs with its own suite's."""
    protocol: str = ""
    image_size: int = Field(default=IMAGE_SIZE, gt=0, le=LARGEST_CROP)
    """Of a classification task: the side of images for a backbone whose name says none, as
    DINOv2's."""
    tasks: tuple[str, ...] = Field(min_length=1)


def load_cards(extra: Path | None = None) -> dict[str, TaskCard]:
    """The shipped cards, then those of the folder `extra`, by name. Raises `BadInput` with file and
    key for a broken one."""
    if extra is not None and not extra.is_dir():
        raise BadInput(f"--cards {extra}: no such folder.")
    mine = sorted(extra.rglob("*.toml")) if extra else []
    if extra is not None and not mine:
        raise BadInput(f"--cards {extra}: no card (*.toml) in this folder.")
    shipped = [
        path for path in sorted(datasets_dir().rglob("*.toml")) if path.name != "suites.toml"
    ]
    cards: dict[str, TaskCard] = {}
    for path in shipped + mine:
        fields = read_toml("card", path)
        if "path" in fields:
            raise BadInput(f"card {path}: path: a card doesn't say where it is; delete this key.")
        card = validated(TaskCard, {**fields, "path": path.absolute()}, f"card {path}")
        if card.name in cards:
            raise BadInput(
                f"card {path}: the name '{card.name}' is taken by {cards[card.name].path}."
            )
        cards[card.name] = card
    return cards


def load_suites() -> dict[str, Suite]:
    """The suites of datasets/suites.toml by name. A suite's tasks may name other suites, as
    `@vtab`."""
    path = datasets_dir() / "suites.toml"
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
    """The tasks that `--suite` and `--tasks` mean, in their suite's order; None where neither is
    given. Raises `BadInput`."""
    if names is not None:
        return [name.strip() for name in names.split(",") if name.strip()]
    if suite is None:
        return None
    suites = load_suites()
    if suite not in suites:
        raise unknown("suite", suite, suites)
    return list(suites[suite].tasks)
