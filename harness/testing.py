"""Checks of a method, for `harness try` and for tests:

    from harness.testing import check_method

    def test_mine():
        report = check_method(Mine)
        assert report.ok, report

All in this process, on random backbones of a few thousand weights and made-up images.
"""

import copy
import inspect
import sys
import time
from bdb import BdbQuit
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from safetensors.torch import load, save
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from harness.backbones.changes import AS_LOADED
from harness.backbones.vit import FrozenViT, Pooling, Read
from harness.errors import BadInput
from harness.inference import checkpoint
from harness.io.commands import near
from harness.planning import declaration, protocols, user_errors
from harness.planning.variants import Variant, one
from harness.text import first_few
from harness.training.classification import Classification, ClassificationRecipe
from harness.training.flops import kept_bytes, step_flops
from harness.training.forward import sha256_of
from harness.training.heads import LinearHead, Model, SetrPup, check_tokens
from harness.training.hooks import Hooks
from harness.training.kinds import kind_of
from harness.training.loop import backward, fit, loss_of, train_split
from harness.training.method import Method, trained_values
from harness.training.recipe import new_optimizer
from harness.training.seeds import seed_all, seeded

__all__ = ["Check", "Report", "check_method", "checks"]

State = Literal["ok", "failed", "skipped"]

CLASSES, TRAIN, HELD_OUT, BATCH, PART = 3, 12, 7, 6, 4
SIDE = 32
TINY: dict[str, dict[str, Any]] = {
    "CLS": {},
    "mean-pooled": {"global_pool": "avg", "class_token": False},
    "registers": {"reg_tokens": 2, "no_embed_class": True, "init_values": 0.5},
}
"""Backbones by what their features are read from."""
CPU = torch.device("cpu")
CLOSE = 1e-3
"""Of the largest value: what may come of another order of sums in float32."""
NO_DATA = (".py", ".pyc", ".pyi", ".so", ".pth")
ASIDE = ("/proc/", "/sys/", "/dev/")


@dataclass(frozen=True)
class Check:
    """What one check found."""

    name: str
    state: State
    said: str
    """One line; of a failure, with the place to look at."""
    error: BaseException | None = field(default=None, repr=False, compare=False)
    """What the method raised, where that is the failure."""

    def __str__(self) -> str:
        return f"{self.state:<8}{self.name:<16}{self.said}"


@dataclass(frozen=True, repr=False)
class Report:
    """What all checks found of a method. `str` has a line a check."""

    method: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the checks that failed."""
        return tuple(check.name for check in self.checks if check.state == "failed")

    @property
    def ok(self) -> bool:
        return not self.failed

    def __str__(self) -> str:
        return "\n".join([self.method, *map(str, self.checks)])

    def __repr__(self) -> str:
        return str(self)


def check_method(
    method: str | type[Method],
    *,
    backbone: FrozenViT | None = None,
    seed: int = 0,
) -> Report:
    """Holds a method to the contract of `harness.Method`.

    Args:
        method: A class, `"FILE.py:CLASS"` or a registered name, with arguments or without.
        backbone: What its trained values and its costs are said of. None: a tiny one.
        seed: All that is random follows from it.

    Raises:
        BadInput: There is no such method.

    Examples:
        >>> assert check_method("./mine.py:Mine(prompts=5)").ok
    """
    subject = _Subject(one(method) if isinstance(method, str) else _as_is(method), backbone, seed)
    return Report(subject.variant.label, tuple(subject.checks()))


def checks(variant: Variant, backbone: FrozenViT | None = None, seed: int = 0) -> Iterator[Check]:
    """As `check_method`, one after the other."""
    return _Subject(variant, backbone, seed).checks()


class _Fault(Exception):
    """A check that failed: where, unless the text says that itself."""

    def __init__(self, said: str, where: str | None = None):
        super().__init__(said)
        self.where = where


class _Skipped(Exception):
    """A check that says nothing of this method, and why."""


@dataclass(frozen=True)
class _Images:
    """A toy split: noise around a level a class."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        return self.images[index].to(device), self.labels[index].to(device)

    def still(self) -> "_Images":
        return self


def _drawn(images: int, seed: int) -> _Images:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(images) % CLASSES
    levels = torch.tensor([[-1.0, 0.0, 1.0], [1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])[labels]
    noise = 0.5 * torch.randn(images, 3, SIDE, SIDE, generator=rng)
    return _Images(noise + levels[:, :, None, None], labels)


def _tiny(name: str) -> VisionTransformer:
    """Four blocks, 16 image tokens of 48 values."""
    vit = VisionTransformer(
        img_size=SIDE,
        patch_size=8,
        embed_dim=48,
        depth=4,
        num_heads=3,
        mlp_ratio=2,
        num_classes=0,
        **TINY[name],
    ).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return vit


def _as_is(method: type[Method]) -> Variant:
    """Of a class whose declaration may be no good: a check says so."""
    return Variant(method, str(getattr(method, "name", method.__name__)), {}, method.__name__)


class _Subject:
    """A method under test, and what several checks read."""

    def __init__(self, variant: Variant, backbone: FrozenViT | None, seed: int):
        self.variant, self.backbone, self.seed = variant, backbone, seed
        self.method = variant.method
        with seeded(0):
            self.vits = {name: _tiny(name) for name in TINY}
        self.refused: dict[str, str] = {}
        """Backbones that the method can't be built on, with its reason."""
        self.names = set[str]()
        """Of its parameters, with any arguments that were tried."""
        self.train, self.held_out = _drawn(TRAIN, 1), _drawn(HELD_OUT, 2)
        self.kind = Classification()

    def checks(self) -> Iterator[Check]:
        faulty: set[str] = set()
        for name, check, needs in CHECKS:
            missing = [need for need in needs if need in faulty]
            if missing:
                found = Check(name, "skipped", f"until '{missing[0]}' is ok")
            else:
                found = self._found(name, check)
            if found.state == "failed":
                faulty.add(name)
            yield found

    def _found(self, name: str, check: "Callable[[_Subject], str]") -> Check:
        try:
            with seeded(self.seed), _one_thread():
                return Check(name, "ok", check(self))
        except _Skipped as skipped:
            return Check(name, "skipped", str(skipped))
        except _Fault as fault:
            return Check(name, "failed", f"{fault} ({fault.where or self.place('forward')})")
        except BdbQuit:
            raise
        except (Exception, SystemExit) as error:  # the user's code may fail in any way
            said = user_errors.line(error)
            if user_errors.place(error) is None and ".py:" not in said:
                said += f" ({self.place('forward')})"
            return Check(name, "failed", said, error)

    def place(self, *names: str) -> str:
        """Where the method's module has the first of these, or else its forward, its constructor or
        any function of the class: `mine.py:12, in forward`."""
        own = [base for base in self.method.__mro__ if base.__module__ == self.method.__module__]
        for name in (*names, "forward", "__init__", *vars(self.method)):
            for base in own:
                found: Any = vars(base).get(name)
                found = getattr(found, "fget", getattr(found, "__func__", found))
                code = getattr(inspect.unwrap(found) if callable(found) else None, "__code__", None)
                if code is not None:
                    return f"{near(code.co_filename)}:{code.co_firstlineno}, in {name}"
        return self.variant.origin

    @property
    def arguments(self) -> dict[str, Any]:
        known = declaration.own_arguments(self.method)
        return {name: value for name, value in self.variant.arguments.items() if name in known}

    def build(self, vit: FrozenViT, **more: Any) -> Method:
        return self.variant.build(vit, {**self.arguments, **more})

    @property
    def plain(self) -> FrozenViT:
        """The first tiny backbone that the method can be built on."""
        name = next(name for name in TINY if name not in self.refused)
        return FrozenViT(self.vits[name], "avg" if name == "mean-pooled" else "cls")

    @property
    def recipe(self) -> ClassificationRecipe:
        optimizer = self.method.optimizer.get("optimizer", "sgd")
        lr = 0.1 if optimizer == "sgd" else 0.002
        return ClassificationRecipe(
            optimizer=optimizer,
            base_lr=lr * 256 / BATCH,
            weight_decay=1e-4,
            batch_size=BATCH,
            epochs=2,
            warmup_epochs=0,
        )

    def model(self) -> Model:
        method = self.build(self.plain)
        return Model(method, LinearHead(method, CLASSES))

    def hooks(self, model: Model) -> Hooks:
        return Hooks(
            model,
            lambda: train_split(self.kind, model, self.train, self.recipe, self.seed, CPU),
        )

    @cached_property
    def before_steps(self) -> Model:
        """After `begin`: to be copied."""
        model = self.model()
        self.hooks(model).begin()
        return model

    def begun(self) -> Model:
        return copy.deepcopy(self.before_steps)

    def fitted(
        self, held_out: _Images | None = None, files: list[str] | None = None
    ) -> tuple[Model, float]:
        """Two epochs by the engine; also the units that it spent. `files` gets those that `begin`
        and `advance` read."""
        built: list[Model] = []

        def build() -> Model:
            model = self.model()
            if files is not None:
                model.method.begin = _watched(model.method.begin, files)
                model.method.advance = _watched(model.method.advance, files)
            built.append(model)
            return model

        held_out = held_out or self.held_out
        *_, score = fit(self.kind, build, self.train, held_out, self.recipe, self.seed, CPU, ())
        return built[0].eval(), score.units

    @cached_property
    def trained(self) -> tuple[Model, float]:
        return self.fitted()

    def logits(self, model: Model, images: Tensor) -> Tensor:
        with torch.inference_mode():
            return model.eval()(images)


def _contract(subject: _Subject) -> str:
    """The class's declaration, and the constructor over the search space."""
    method, where = subject.method, subject.place("__init__")
    also = protocols.load("mini").arguments
    try:
        declaration.check(method, method.__name__, also)
    except BadInput as error:
        raise _Fault(str(error).rstrip("."), where) from None
    if not hasattr(method, "name"):
        raise _Fault('the class has no name: write name = "..."', where)
    for name, parameter in declaration.own_arguments(method).items():
        if parameter.default is parameter.empty and name not in subject.variant.arguments:
            raise _Fault(f"argument {name} has no default", where)
    built: dict[str, Method] = {}
    for name in TINY:
        try:
            built[name] = subject.build(
                FrozenViT(subject.vits[name], "avg" if name == "mean-pooled" else "cls")
            )
        except ValueError as error:
            subject.refused[name] = str(error)
    if not built:
        raise _Fault(next(iter(subject.refused.values())), where)
    stages = next(iter(built.values())).stages
    planned = method.effort(subject.arguments, TRAIN, BATCH).stages
    if stages != planned:
        raise _Fault(
            f"it has {stages} stages and effort() says {planned}: a plan would count wrongly",
            subject.place("effort"),
        )
    subject.names = {name for own in built.values() for name, _ in own.named_parameters()}
    points = list(_points(method, subject.variant))
    refused = 0
    for name, value in points:
        try:
            method.check({**subject.arguments, name: value})
            other = subject.build(subject.plain, **{name: value})
            subject.names |= {name for name, _ in other.named_parameters()}
        except ValueError:
            refused += 1
        except Exception as error:
            said = user_errors.line(error)
            raise _Fault(f"{name}={value} can't be built: {said}", where) from error
    said = f"{method.name}, version {method.version}; built on {', '.join(built)}"
    for name, reason in subject.refused.items():
        said += f"; refuses {name}: {reason}"
    if points:
        said += f"; {len(points) - refused} of {len(points)} ends of the search space and toggles"
    return said


def _points(method: type[Method], variant: Variant) -> Iterator[tuple[str, Any]]:
    """Arguments one at a time: the ends of the search space, and every toggle switched."""
    known = declaration.own_arguments(method)
    for name, distribution in method.search_space.items():
        if name in known and name not in variant.arguments:
            yield from ((name, value) for value in _ends(distribution))
    for name in method.toggles:
        if name not in variant.arguments:
            yield name, not known[name].default


def _ends(distribution: BaseDistribution) -> tuple[Any, Any]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0], distribution.choices[-1]
    found: Any = distribution
    return found.low, found.high


def _values(subject: _Subject) -> str:
    """What is trained, by group."""
    vit = subject.backbone or subject.plain
    try:
        method = subject.build(vit)
    except ValueError as error:
        raise _Skipped(str(error)) from None
    kept, only = trained_values(method)
    for attribute, names in (("train_only", method.train_only), ("factors()", method.factors())):
        for name in names:
            if name != "head" and not any(one.startswith(name) for one in subject.names):
                raise _Fault(
                    f"{attribute} names '{name}', and no parameter's name begins so",
                    subject.place("__init__"),
                )
    if not kept + only:
        if method.constant_features:
            return "none but the head's: its features are constant"
        raise _Fault(
            "it trains nothing: no parameter of it requires a gradient", subject.place("__init__")
        )
    groups: dict[str, int] = {}
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            group = "backbone" if name.startswith("vit.") else name.partition(".")[0]
            groups[group] = groups.get(group, 0) + parameter.numel()
    whole = sum(parameter.numel() for parameter in vit.parameters())
    parts = ", ".join(f"{name} {values:,}" for name, values in groups.items())
    said = f"{kept:,}, {100 * kept / whole:.2f} % of the backbone's {whole:,}: {parts}"
    return said + (f"; {only:,} of them for training alone" if only else "")


def _gradients(subject: _Subject) -> str:
    """Which tensors the first two steps reach, of every stage."""
    if subject.method.constant_features:
        raise _Skipped("its features are constant")
    model, recipe, kind = subject.begun(), subject.recipe, subject.kind
    hooks = subject.hooks(model)
    lines: list[str] = []
    for stage in range(hooks.stages):
        if stage:
            hooks.advance(stage)
        optimizer = new_optimizer(model, recipe)
        trained = {
            name.removeprefix("method."): parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and name.startswith("method.")
        }
        reached: list[set[str]] = []
        hooks.epoch(0, recipe)
        batches = next(iter(kind.rounds(subject.train, recipe, subject.seed, CPU)))
        for batch in batches:
            optimizer.zero_grad()
            backward(kind, model.train(), subject.train, batch, recipe, CPU)
            reached.append(
                {name for name, p in trained.items() if p.grad is not None and p.grad.any()}
            )
            for name, parameter in trained.items():
                if parameter.grad is not None and not parameter.grad.isfinite().all():
                    raise _Fault(f"the gradient of {name} isn't finite")
            optimizer.step()
        at = f"stage {stage + 1}, " if hooks.stages > 1 else ""
        never = [name for name in trained if not any(name in one for one in reached)]
        if never:
            none = [name for name in never if trained[name].grad is None]
            kind_of_it = "no gradient arrives" if none else "the gradient is zero"
            raise _Fault(f"{at}steps 1 and 2: {kind_of_it} at {first_few(none or never)}")
        for step, names in enumerate(reached, start=1):
            without = [name for name in trained if name not in names]
            said = f"all but {first_few(without)}" if without else f"all {len(trained)}"
            lines.append(f"{at}step {step}: {said}")
    return "; ".join(lines)


POOLINGS: dict[str, tuple[Pooling, ...]] = {
    "CLS": ("cls", "avg", "vpt-mae"),
    "mean-pooled": ("avg", "vpt-mae"),
    "registers": ("cls", "avg"),
}


def _shapes(subject: _Subject) -> str:
    """What the heads read, for every read; and that no tensor's shape depends on the data."""
    reads: list[str] = []
    images = {count: _drawn(count, count).images for count in (1, 3)}
    for name, poolings in POOLINGS.items():
        if name in subject.refused:
            continue
        for pooling in poolings:
            try:
                method = subject.build(FrozenViT(subject.vits[name], pooling))
            except ValueError:
                continue  # what it can't be built for
            for training in (True, False):
                seen = [
                    _read(method.train(training), method.vit.read(), one)
                    for one in (*images.values(), 0 * images[3])
                ]
                if len({tokens[-1].shape[1] for tokens in seen}) > 1:
                    raise _Fault("the number of rows depends on the images")
                features = method.pool(seen[1][-1])
                if features.shape != (3, method.width):
                    raise _Fault(
                        f"pool() gives {tuple(features.shape)}, and width says (3, {method.width})",
                        subject.place("pool"),
                    )
            reads.append(pooling)
    said = f"{', '.join(dict.fromkeys(reads))}"
    said += _segmentation(subject, images[3])
    before = {name: tensor.shape for name, tensor in subject.model().state_dict().items()}
    model = subject.begun()
    hooks = subject.hooks(model)
    for stage in range(hooks.stages):
        if stage:
            hooks.advance(stage)
        name = "advance" if stage else "begin"
        after = {name: tensor.shape for name, tensor in model.state_dict().items()}
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                own = key.removeprefix("method.")
                shapes = [tuple(one[key]) if key in one else "absent" for one in (before, after)]
                raise _Fault(
                    f"{own} is {shapes[0]} when built and {shapes[1]} after {name}()",
                    subject.place(name),
                )
    return said


def _read(method: Method, read: Read, images: Tensor, segmentation: bool = False) -> list[Tensor]:
    """Raises where what `forward` gives isn't what a head reads."""
    tokens = method(images, read)
    check_tokens(method, read, tokens, len(images))
    least = 1 if read.rows == "cls" else method.vit.image_tokens
    if type(method).pool is not Method.pool and not segmentation:
        return tokens  # which rows it gives is between its forward and its pool
    exact = read.rows != "image+prompts"
    for block, selected in zip(read.blocks, tokens, strict=True):
        rows = selected.shape[1]
        if rows < least or (rows > least and exact):
            raise _Fault(
                f"forward gives {rows} rows of block {block}, and a head that reads"
                f" '{read.rows}' reads {least}"
            )
    return tokens


def _segmentation(subject: _Subject, images: Tensor) -> str:
    kind, labels = kind_of("segmentation"), torch.zeros(len(images), SIDE, SIDE, dtype=torch.long)
    if reason := subject.method.refuses.get(kind.task.name):
        return f"; refuses segmentation: {reason}"
    for name in TINY:
        if name in subject.refused:
            continue
        method = subject.build(
            FrozenViT(subject.vits[name], "avg" if name == "mean-pooled" else "cls")
        )
        if method.width != method.vit.dim:
            return "; no segmentation: it makes features of an image"
        head = SetrPup(method.vit, CLASSES)
        model = Model(method, head)
        for training in (True, False):
            _read(method.train(training), head.train(training).read, images, segmentation=True)
        loss = loss_of(kind, model.train(), images, labels)
        if loss.requires_grad:
            loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    return "; segmentation"


def _repeatable(subject: _Subject) -> str:
    """Two runs with one seed."""
    (one, _), (other, _) = subject.trained, subject.fitted()
    if differing := _differing(one, other):
        raise _Fault(
            f"the same seed gives another {first_few(differing)}: is something drawn from the"
            " system, the time or a generator of its own?",
            subject.place("__init__"),
        )
    images = subject.held_out.images
    logits = subject.logits(one, images)
    if not torch.equal(logits, subject.logits(other, images)):
        raise _Fault("the same seed gives the same tensors and other logits")
    return f"logits {sha256_of(logits)[:8]} twice from seed {subject.seed}"


def _differing(one: Model, other: Model) -> list[str]:
    """Tensors of a checkpoint that aren't equal in two models."""
    first, second = checkpoint.tuned_tensors(one), checkpoint.tuned_tensors(other)
    return [
        name.removeprefix("method.")
        for name in first
        if name not in second or not torch.equal(first[name], second[name])
    ]


def _held_out(subject: _Subject) -> str:
    """Another split to score on must change nothing of what is trained; no file may be read."""
    files: list[str] = []
    other, _ = subject.fitted(_drawn(HELD_OUT + 2, 99), files)
    place = subject.place("begin")
    if differing := _differing(subject.trained[0], other):
        raise _Fault(
            f"with other images to score on, training gives another {first_few(differing)}: it"
            " must not see them",
            place,
        )
    if files:
        raise _Fault(
            f"begin or advance reads {first_few(files)}: what it learns of the task comes from"
            " `train` alone, and what else it needs is read in __init__",
            place,
        )
    return "training is the same whatever it is scored on"


@contextmanager
def _one_thread() -> Generator[None, None, None]:
    """So small a model is quickest with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


_listening: list[list[str]] = []
_hooked: list[bool] = []


def _watched(call: Callable[..., None], files: list[str]) -> Callable[..., None]:
    """A hook that adds to `files` those, but code, that are opened for reading within it."""

    def watched(*arguments: Any) -> None:
        if not _hooked:
            sys.addaudithook(_heard)
            _hooked.append(True)
        _listening.append(files)
        try:
            call(*arguments)
        finally:
            _listening.remove(files)

    return watched


def _heard(event: str, details: tuple[Any, ...]) -> None:
    if event != "open" or not _listening:
        return
    path, mode = details[0], details[1]
    if not isinstance(path, str | bytes) or (isinstance(mode, str) and set("wax") & set(mode)):
        return
    path = path.decode(errors="replace") if isinstance(path, bytes) else path
    if not (
        path.endswith(NO_DATA)
        or path.startswith(ASIDE)
        or Path(path).is_dir()
        or "site-packages" in path
        or path.startswith(sys.base_prefix)
    ):
        _listening[-1].append(near(path))


def _checkpoint(subject: _Subject) -> str:
    """What is kept of a run, put into an object that was built with another seed."""
    model, _ = subject.trained
    images = subject.held_out.images
    expected = subject.logits(model, images)
    data = save({name: one.clone() for name, one in checkpoint.contents(model).items()})
    for seed in (subject.seed, subject.seed + 1):
        seed_all(seed)
        fresh = subject.model()
        try:
            checkpoint.put(fresh, load(data))
        except ValueError:
            mine = checkpoint.tuned_tensors(fresh)
            odd = sorted(set(mine) ^ set(load(data)))
            raise _Fault(
                f"its tensors aren't those of a fresh object: {first_few(odd)}",
                subject.place("__init__"),
            ) from None
        found = subject.logits(fresh, images)
        if not torch.equal(found, expected):
            unkept = first_few(_unkept(model, fresh)) or "something"
            raise _Fault(
                f"a fresh object with the checkpoint's tensors differs in logits by"
                f" {(found - expected).abs().max():.2g}: {unkept} is made anew and isn't in the"
                " checkpoint; make it a parameter, or a buffer by register_buffer",
                subject.place("__init__"),
            )
    return f"equal logits from {len(data):,} bytes"


def _unkept(one: Model, other: Model) -> list[str]:
    """Tensors of the method, registered or not, in which two models differ, and that no checkpoint
    has."""
    kept = set(checkpoint.tuned_tensors(one))
    mine, theirs = _held(one), _held(other)
    return [
        name.removeprefix("method.")
        for name, tensor in mine.items()
        if name not in kept and (name not in theirs or not torch.equal(tensor, theirs[name]))
    ]


def _held(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the method's own modules: parameters, buffers, plain attributes and those in
    lists."""
    found: dict[str, Tensor] = {}
    modules: list[tuple[str, Any]] = list(model.named_modules())  # pyright: ignore[reportUnknownArgumentType]  # torch: no annotation
    for prefix, module in modules:
        if AS_LOADED in module.__dict__:
            continue
        held: dict[str, Any] = {**module.__dict__, **module._parameters, **module._buffers}
        for name, value in held.items():
            items: list[Any] = list(value) if isinstance(value, list | tuple) else [value]  # pyright: ignore[reportUnknownArgumentType]
            for item in items:
                if isinstance(item, Tensor):
                    found.setdefault(f"{prefix}.{name}", item)
    return found


def _micro_batch(subject: _Subject) -> str:
    """The gradient of a batch in two parts."""
    if subject.method.whole_batch:
        raise _Skipped("whole_batch: its loss depends on a batch as a whole")
    if subject.method.constant_features:
        raise _Skipped("its features are constant")
    model, recipe = subject.begun(), subject.recipe
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = torch.arange(BATCH)

    def gradients(training: bool, seed: int, part: int | None) -> dict[str, Tensor]:
        model.load_state_dict(state)
        model.zero_grad()
        model.train(training)
        seed_all(seed)
        backward(
            subject.kind,
            model,
            subject.train,
            rows,
            replace(recipe, micro_batch=part),
            CPU,
        )
        return {
            name: parameter.grad.clone()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None
        }

    whole = gradients(True, 0, None)
    drawn = _apart(whole, gradients(True, 1, None)) is not None
    if drawn:
        whole = gradients(False, 0, None)
    apart = _apart(whole, gradients(not drawn, 0, PART))
    if apart:
        raise _Fault(
            f"the gradient of {apart[0]} in parts of {PART} and {BATCH - PART} images differs from"
            f" that of the whole batch by {100 * apart[1]:.2g} %: make the penalty a mean over"
            " images, or say whole_batch = True",
            subject.place("penalty"),
        )
    return f"{BATCH} images at once or in parts: the same gradient" + (
        ", without what is drawn" if drawn else ""
    )


def _apart(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[str, float] | None:
    """A tensor in which two sets of gradients differ by more than rounding, and by how much of the
    largest value."""
    least = CLOSE * max((float(tensor.abs().max()) for tensor in one.values()), default=0.0)
    for name, tensor in one.items():
        largest = max(float(tensor.abs().max()), least, 1e-30)
        by = float((tensor - other[name]).abs().max()) / largest if name in other else 1.0
        if by > CLOSE:
            return name.removeprefix("method."), by
    return None


def _evaluation(subject: _Subject) -> str:
    """A forward in eval mode changes nothing, draws nothing, and sees each image alone."""
    model, _ = subject.trained
    images = subject.held_out.images
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    states = _generators()
    logits = subject.logits(model, images)
    for name, state in _generators().items():
        if not np.array_equal(state, states[name]):
            raise _Fault(f"evaluation draws from {name}'s generator")
    for name, tensor in model.state_dict().items():
        if not torch.equal(tensor, before[name]):
            raise _Fault(f"evaluation changes {name.removeprefix('method.')}")
    subject.logits(model, subject.train.images)
    if not torch.equal(logits, subject.logits(model, images)):
        raise _Fault("the same images give other logits in a second evaluation")
    alone = torch.cat([subject.logits(model, image[None]) for image in images])
    if _apart({"": logits}, {"": alone}):
        raise _Fault("in evaluation, an image's logits depend on the others of its batch")
    return "changes and draws nothing; each image by itself"


def _generators() -> dict[str, Any]:
    numpy: Any = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy(),
        "numpy": np.array([*numpy[1], numpy[2]]),
    }


def _bf16(subject: _Subject) -> str:
    """A step and an evaluation as on a GPU."""
    model = subject.begun()
    images, labels = subject.train.batch(torch.arange(BATCH), CPU)
    with torch.no_grad():
        full = subject.kind.loss(model.eval()(images), labels)
    with torch.autocast("cpu", torch.bfloat16):
        loss = loss_of(subject.kind, model.train(), images, labels)
        with torch.no_grad():
            half = subject.kind.loss(model.eval()(images), labels)
    loss.backward()  # pyright: ignore[reportUnknownMemberType]  # torch: no annotation
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            raise _Fault(f"under bf16 the gradient of {name.removeprefix('method.')} isn't finite")
    if not (loss.isfinite() and half.isfinite()):
        raise _Fault("under bf16 the loss isn't finite")
    return f"loss {half:.4f}, in float32 {full:.4f}"


def _cost(subject: _Subject) -> str:
    """Beside VPT-Deep, of the same batch in turns."""
    if subject.method.constant_features:
        raise _Skipped("its features are constant: only the head is trained")
    vit = subject.backbone or subject.plain
    models: list[Model] = []
    for build in (subject.build, _Subject(one("vpt-deep"), None, 0).build):
        method = build(vit)
        models.append(Model(method, LinearHead(method, CLASSES)).train())
    flops = [step_flops(subject.kind, model, vit.image_size, 64, CPU) for model in models]
    kept = [_kept(subject, model, vit.image_size) for model in models]
    times = [float("inf")] * 2
    for _ in range(4):
        for at, model in enumerate(models):
            started = time.perf_counter()
            _step(subject, model, vit.image_size)
            times[at] = min(times[at], time.perf_counter() - started)
    return (
        f"a step of {BATCH} images {1000 * times[0]:.1f} ms; of VPT-Deep's time"
        f" {times[0] / times[1]:.2f}, FLOPs {flops[0] / flops[1]:.2f}, memory"
        f" {kept[0] / kept[1]:.2f}"
    )


def _step(subject: _Subject, model: Model, side: int) -> None:
    images, labels = torch.randn(BATCH, 3, side, side), torch.arange(BATCH) % CLASSES
    loss_of(subject.kind, model, images, labels).backward()  # pyright: ignore[reportUnknownMemberType]
    model.zero_grad()


def _kept(subject: _Subject, model: Model, side: int) -> int:
    """Bytes that a step keeps for its backward pass, weights aside."""
    return kept_bytes(lambda: _step(subject, model, side), model.state_dict().values())


def _plan(subject: _Subject) -> str:
    """What a run spends is what a plan says of it."""
    _, spent = subject.trained
    effort = subject.method.effort(subject.arguments, TRAIN, BATCH)
    expected = 2 * TRAIN * subject.recipe.epochs * effort.stages + effort.forwards + HELD_OUT
    if spent > expected:
        raise _Fault(
            f"a run on {TRAIN} images passed {spent:.0f} forward-image units, and effort() lets a"
            f" plan say {expected:.0f}",
            subject.place("effort", "begin"),
        )
    return f"{spent:.0f} forward-image units, planned {expected:.0f}"


CHECKS: tuple[tuple[str, Callable[[_Subject], str], tuple[str, ...]], ...] = (
    ("contract", _contract, ()),
    ("trained values", _values, ("contract",)),
    ("shapes", _shapes, ("contract",)),
    ("gradients", _gradients, ("contract", "shapes")),
    ("evaluation", _evaluation, ("contract", "shapes", "gradients")),
    ("repeatable", _repeatable, ("contract", "shapes", "gradients", "evaluation")),
    ("held-out split", _held_out, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("checkpoint", _checkpoint, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("micro-batch", _micro_batch, ("contract", "shapes", "gradients", "evaluation", "repeatable")),
    ("bf16", _bf16, ("contract", "shapes")),
    ("plan", _plan, ("contract", "shapes", "gradients")),
    ("cost", _cost, ("contract", "shapes")),
)
"""Name, what it does, and checks without which it would say nothing of its own."""
