"""All that differs between kinds of task. A kind is one file: a subclass of `Kind`, and its line in
`kinds.py`."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from harness.tasks.cards import TaskCard
from harness.tasks.kinds import TaskKind
from harness.training.heads import Head, HeadInit
from harness.training.method import Method
from harness.training.recipe import Recipe

R = TypeVar("R", bound=Recipe)


@dataclass(frozen=True)
class Measurement:
    """What a split says of a model."""

    value: float
    """In percent, by the kind's metric."""
    sha256: str
    """Of the predictions in record order: equal hashes mean equal predictions."""
    units: float
    """Images (or windows) passed forward."""
    extras: Mapping[str, Any] | None = None
    """What else was measured, where there is more than one number."""


@dataclass(frozen=True)
class Cost:
    """Forward-image units of one cell: a training image counts 2 (forward, and backward through
    activations), a scored image 1.

    In segmentation an image is a crop or a window.
    """

    trials: int
    seeds: int
    train: float
    """Images that are trained on, each epoch counted."""
    scored: float
    """Images that are only passed forward."""

    @property
    def units(self) -> float:
        return 2 * self.train + self.scored


@runtime_checkable
class Schedule(Protocol):
    """What a protocol says that a cost depends on."""

    @property
    def last(self) -> int:
        """Epochs, or iterations."""
        ...

    @property
    def largest_batch(self) -> int: ...

    @property
    def multi_scale(self) -> bool: ...

    def score_at(self) -> tuple[int, ...]: ...


@dataclass(frozen=True)
class Look:
    """One test image and what a model makes of it, as maps of classes."""

    row: int
    """In its split."""
    image: UInt8[np.ndarray, "height width 3"]
    truth: UInt8[np.ndarray, "height width"]
    predicted: UInt8[np.ndarray, "height width"]


@dataclass(frozen=True)
class Extra:
    """What is measured of a final run beside its score."""

    values: dict[str, Any] = field(default_factory=dict[str, Any])
    units: float = 0.0


class Kind(ABC, Generic[R]):
    """A kind of task: its recipe, head, batches, loss, score, cost, and what is shown of it."""

    task: ClassVar[TaskKind]
    """What its cards say."""
    recipe: type[R]
    """How it optimises; filled in by the protocol's fields of the same names."""
    scored_together: ClassVar[int]
    """Images (or windows) that are scored at once, where memory isn't short."""
    check_every: ClassVar[int] = 1
    """Units of the recipe between looks at the loss: each makes a GPU wait."""
    timed_on: ClassVar[tuple[int, int]]
    """Images of a step that is timed for a plan: on a GPU, and on a CPU that is slow."""
    image: ClassVar[str] = ""
    """A sentence on what a plan counts as an image, where that isn't one."""

    def check_method(self, method: Method) -> None:
        """Raises `ValueError` for a method that this kind's head can't read."""

    @abstractmethod
    def new_head(self, method: Method, classes: int, init: HeadInit) -> Head:
        """Reads the tokens that `method` gives. `init`: the protocol's word on its initial
        weights."""

    def prepare(self, model: Any, recipe: R) -> None:
        """Before the first step."""

    @abstractmethod
    def rounds(
        self, train: Any, recipe: R, seed: int, device: torch.device
    ) -> Iterator[Iterable[Any]]:
        """The batches of each unit of a run, in an order that follows from `seed` alone. A batch
        can be cut into parts by slices, and `batch` loads a part."""

    @abstractmethod
    def batch(self, train: Any, part: Any, device: torch.device) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a part of a batch, on the device."""

    @abstractmethod
    def still(self, train: Any, rows: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """As `batch`, of rows of the split, (image,) on the CPU, and with nothing drawn at
        random."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Tensor) -> Float[Tensor, ""]:
        """The mean over a batch, of what the model puts out in training."""

    @abstractmethod
    def score(self, model: Any, held_out: Any, device: torch.device, at_once: int) -> Measurement:
        """The metric on a split, `at_once` images together. Raises `Diverged` for outputs that are
        no numbers."""

    @abstractmethod
    def targets(self, images: int, side: int, device: torch.device) -> Tensor:
        """Any targets for so many images of this side, for timing a step."""

    @abstractmethod
    def cost(
        self, card: TaskCard, schedule: Schedule, trials: int, seeds: int, constant_features: bool
    ) -> Cost:
        """An upper bound where trials may be pruned, else exact."""

    def probabilities(self, logits: Float[Tensor, "image class"]) -> Float[Tensor, "image class"]:
        """What a prediction is shown with."""
        return logits.softmax(1)

    def at_several_scales(self, model: nn.Module, test: Any, device: torch.device) -> Extra:
        """The score at several scales, of a kind that has it: its metric says so."""
        return Extra()

    def looks(
        self, model: nn.Module, test: Any, rows: Sequence[int], device: torch.device
    ) -> list[Look]:
        """What the model makes of these rows of a split, where that is something to look at."""
        return []
