"""The contract of a method: how it changes a frozen ViT, what it tunes, and what a search may
choose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor, nn

from harness.backbones.changes import put_in
from harness.backbones.frozen import FrozenBackbone, Read
from harness.training.annotations import check_choices
from harness.training.train_split import Labels, TrainSplit

ADAMW_RATES = CategoricalDistribution((0.001, 0.005, 0.01, 0.05))
"""Base learning rates for methods that ask for AdamW: the protocols' own are SGD's, or prompts'. At
batch 64 a quarter of them is used."""


@dataclass(frozen=True)
class Factors:
    """How fast some of a run's tensors learn, in the others' learning rate, and how much of the
    weight decay they have."""

    lr: float = 1.0
    decay: float = 1.0


@dataclass(frozen=True)
class Effort:
    """What a run of a method does beside one training of its own: for a plan's costs."""

    stages: int = 1
    """Trainings, one after the other."""
    forwards: int = 0
    """Images that are passed forward beside them; one that is passed backward too counts 2."""


def method_of(model: object) -> "Method | None":
    """The method of a model that has one."""
    method = getattr(model, "method", None)
    return method if isinstance(method, Method) else None


def trained_values(method: "Method") -> tuple[int, int]:
    """How many values of a method are trained: those that predictions need, and those that only
    training does."""
    kept = only = 0
    for name, parameter in method.named_parameters():
        if parameter.requires_grad and name.startswith(method.train_only or ("\0",)):
            only += parameter.numel()
        elif parameter.requires_grad:
            kept += parameter.numel()
    return kept, only


def _distribution(declared: Any) -> Any:
    """Choices as a distribution; anything else as it is, for `harness.planning.declaration`."""
    return (
        CategoricalDistribution(declared)
        if type(declared) in (tuple, list) and declared
        else declared
    )


class Method(nn.Module):
    """A way to adapt a frozen backbone. A subclass is built from that and its own hyper-parameters,
    given as keyword arguments.

    The backbone is a copy of its own: it may unfreeze, wrap, hook, replace or overwrite any part of
    a block, and no other method sees it. A module that it puts into a block is given all tokens,
    prompts behind them, as in timm's own blocks; one that acts on each token by itself may say so
    with the class attribute `each_token = True`, and is then given only the rows that are needed.

    Its trainable tensors are its parameters that require a gradient; the backbone's don't, unless
    it asks for it. It raises `ValueError` for arguments that make no sense together; the message is
    shown to the user. Whatever it draws from torch's, numpy's or Python's own generator follows
    from the run's seed.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    """Part of a result's identity: raise it when the method's numbers would change."""
    summary: ClassVar[str] = ""
    """One line for `harness list methods`."""
    family: ClassVar[str] = ""
    """What it is listed under, and run with by that name: `prompts`, `peft`, `references`, or one
    of your own."""
    year: ClassVar[int | None] = None
    """Of its paper."""
    note: ClassVar[str] = ""
    """A sentence that every leaderboard with this method shows."""
    search_space: ClassVar[Mapping[str, Any]] = {}
    """Choices of the method's own arguments, as `(5, 10)`, or Optuna distributions, which is what a
    class then has; arguments not named here keep their defaults. `base_lr` here replaces the
    protocol's."""
    allows: ClassVar[Mapping[str, Any]] = {}
    """Of arguments in `search_space`, the values that a protocol may search in place of those; what
    isn't here, it may only narrow.

    A subclass that has a `search_space` of its own inherits none of it."""
    toggles: ClassVar[tuple[str, ...]] = ()
    """Boolean arguments that an ablation may switch."""
    optimizer: ClassVar[Mapping[str, Any]] = {}
    """Entries that replace the protocol's optimiser or its search space, where the method's paper
    asks for it."""
    constant_features: ClassVar[bool] = False
    """True where the tokens don't depend on anything that is trained: the engine then computes them
    once."""
    needs: ClassVar[tuple[str, ...]] = ("plain blocks",)
    """What it needs of a backbone, in words of `harness.backbones.carried.CAN`; where that isn't
    carried, the method is refused before anything runs. A method that calls `self.vit` alone, and
    gives it prompts of the width `dim`, needs `("column", "prompts")`. As it stands, what only a
    plain Vision Transformer has: elsewhere a block that is called without its positions, say, would
    give wrong numbers."""
    refuses: ClassVar[Mapping[str, str]] = {}
    """Kinds of task that it can't be used for, with the reason: `{"segmentation": "its loss needs
    one class an image"}`."""
    whole_batch: ClassVar[bool] = False
    """True where the loss depends on a batch as a whole: then it is never cut into parts where
    memory is short."""
    packages: ClassVar[Mapping[str, str]] = {}
    """Packages that it needs beside the harness's, each with what pip installs it by: `{"peft":
    "vpt-harness[peft]"}`. It imports them where it is built. Their versions are part of a result's
    identity, and where one is missing that is said before anything runs."""
    replayable: ClassVar[bool] = True
    """False where a training step does something else each time, so that on CUDA it must not be
    recorded and replayed as a graph. What the device computes may change from step to step; what
    Python decides may not. Counters, draws from Python's, numpy's or the CPU's generators, waits
    for the device, an `epoch` hook, and gradients that aren't those of the replay are found without
    this."""
    rounding: ClassVar[float] = 0.5
    """Percentage points that rounding alone may move its score by, as between two runs on CUDA,
    which add in other orders: what `harness reproduce` allows there. More for a method that chooses
    by rank, as benchmarks/rounding.py measures it."""
    train_only: ClassVar[tuple[str, ...]] = ()
    """Parameters, by the beginning of their names, that predictions don't need: they are counted
    apart, and not kept in checkpoints."""

    stages: int = 1
    """Trainings that a run has, one after the other: see `advance`. `effort` says the same to a
    plan."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for name in ("search_space", "allows"):
            if isinstance(vars(cls).get(name), Mapping):
                declared: Mapping[str, Any] = vars(cls)[name]
                setattr(cls, name, {key: _distribution(own) for key, own in declared.items()})

    def __init__(self, vit: FrozenBackbone):
        super().__init__()
        self.vit = vit
        self._logged: dict[str, tuple[Any, int]] = {}

    @property
    def width(self) -> int:
        """Of the features that `pool` makes. Where it isn't the backbone's, segmentation is
        refused."""
        return self.vit.dim

    def forward(
        self, images: Float[Tensor, "batch channel height width"], read: Read
    ) -> list[Float[Tensor, "batch row dim"]]:
        """The tokens that a head asks for: one tensor a block of `read.blocks`, with the rows of
        `read.rows`, as the blocks give them: the last norm is in `pool`. A method with a `pool` of
        its own may return any rows for a linear head.

        As it stands, the plain forward of `self.vit`: enough for a method that changes the
        backbone's weights or blocks alone.
        """
        return self.vit.run(self.vit.embed(images), read)

    def pool(self, tokens: Float[Tensor, "batch row dim"]) -> Float[Tensor, "batch width"]:
        """Features of an image from what `forward` gave for the last block, for a linear head; as
        it stands, the backbone's own, with its last norm. Segmentation's heads read rows, and don't
        call it."""
        return self.vit.pool(tokens)

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        """Called once, before the first step, in eval mode without gradients; never where a
        checkpoint is loaded.

        What it computes from `train` must be written into parameters or buffers that `__init__` has
        made: shapes never depend on data.
        """

    def advance(self, stage: int, train: TrainSplit) -> None:
        """Called before stage `stage`, 1 up to `self.stages` - 1, in training mode. Each stage has
        an optimiser and a schedule of its own, over what requires a gradient after this call; the
        last one is scored."""

    def epoch(self, number: int, epochs: int) -> None:
        """Called before epoch `number`, from 0, of each stage; in segmentation, never: there are
        only iterations."""

    def penalty(self, labels: Labels, head: nn.Module) -> Float[Tensor, ""] | None:
        """What is added to the loss of the batch that went through `forward` last: a mean over its
        images, or the same for any batch. None: nothing."""
        return None

    def factors(self) -> Mapping[str, Factors]:
        """By the beginning of a parameter's name (the longest that fits), or "head": what makes its
        learning rate and weight decay another than the run's."""
        return {}

    def log(self, name: str, value: float | Float[Tensor, ""]) -> None:
        """Keeps a scalar of a training step: its mean over an epoch is stored with the run, as
        those of loss and learning rate are. A tensor is detached, and no device waits for it."""
        if self.training:
            total, count = self._logged.get(name, (0.0, 0))
            value = value.detach() if isinstance(value, Tensor) else value
            self._logged[name] = (total + value, count + 1)

    def logged(self) -> dict[str, Any]:
        """What was logged since the last call, each the mean of its values."""
        values = {name: total / count for name, (total, count) in self._logged.items()}
        self._logged.clear()
        return values

    def pack(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """What a checkpoint holds in place of `tensors`, this method's own by their names in
        `state_dict`: for values that fewer bytes say. As it stands, the same."""
        return tensors

    def unpack(self, kept: dict[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of `pack`, called on a method that was just built: the tensors by which it
        gives the same logits. Raises `ValueError` for what `pack` can't have given."""
        return kept

    def merge(self) -> None:
        """Folds what was trained into the backbone's own weights, in place: `self.vit.vit` is then
        timm's plain ViT, and `self.vit` alone gives the features that this method gave in eval
        mode. Called without gradients.

        As it stands, for a method that trains weights which the backbone came with, and changes
        nothing else: there is nothing to fold. Raises `ValueError` where it can't be done, which
        names the method and says why.
        """
        own = [name for name, _ in self.named_parameters() if not name.startswith("vit.")]
        own += [name for name, _ in self.named_buffers() if not name.startswith("vit.")]
        changed = put_in(self.vit.vit)
        overridden = [
            name
            for name in ("forward", "pool", "width")
            if getattr(type(self), name) is not getattr(Method, name)
        ]
        if own or changed or overridden:
            why = f"{own[0]} is" if own else changed or f"{overridden[0]} is its own"
            raise ValueError(
                f"{self.name} can't be merged into the backbone's weights:"
                f" {why}{' beside them' if own else ''}"
            )

    @classmethod
    def space(cls, arguments: Mapping[str, Any]) -> Mapping[str, BaseDistribution]:
        """What of `search_space` a search chooses from where `arguments` are fixed: without those
        that have no effect then. As it stands, all of it."""
        return cls.search_space

    @classmethod
    def effort(cls, arguments: Mapping[str, Any], images: int, batch_size: int) -> Effort:
        """Of a run on so many images, for a plan: as it stands, one training, and a forward of each
        image where the class has a `begin`."""
        return Effort(forwards=images if cls.begin is not Method.begin else 0)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Raise `ValueError` for arguments that make no sense together; called before anything is
        built. One that isn't a choice of its annotation, as `Literal["a", "b"]`, is refused before.
        A constructor that is called by itself checks by `self.check(locals())`: as it stands, those
        choices alone."""
        check_choices(cls, arguments)
