"""What a method may ask for beside its forward: each hook, through the engine's own trainer."""

import types
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import fill, outcomes
from optuna.distributions import CategoricalDistribution
from outcomes import outcome_of
from segmentation import seg
from torch import Tensor, nn

from harness import Effort, Factors, Method, Read, TrainSplit, new_prompts
from harness.data.loader import Split, open_final, open_tuning
from harness.data.normalization import IMAGENET, INCEPTION
from harness.engine.jobs import OUT_OF_MEMORY, FinalJob, Outcome, TuneJob
from harness.engine.scheduler import Scheduler
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint, checkpoint_files, tuned_model
from harness.planning.cell import PlannedCell
from harness.planning.cost import variant_cost
from harness.planning.plan import RunPlan, plan
from harness.planning.variant import Variant
from harness.store import Store
from harness.training.curves import POINTS, Curves
from harness.training.heads import LinearHead, Model
from harness.training.recipe import new_optimizer
from methods.vpt import VPTDeep

__all__ = ["seg"]
POINT = {"base_lr": 0.5, "weight_decay": 0.01}


def planned(tiny: Any, method: type[Method], **more: Any) -> tuple[RunPlan, PlannedCell]:
    """`method` on the toy task, or another: a plan of one cell."""
    variant = Variant(method, "spy", {}, "spy")
    found = plan(tiny.request("spy", **more), [variant])
    return found, found.cells[0]


def final(tiny: Any, method: type[Method], **more: Any) -> Outcome:
    found, cell = planned(tiny, method)
    trainer = Trainer(found, threads=1, raises=True, **more)
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), POINT))
    return outcome


class Beginning(VPTDeep):
    """Keeps what it is shown."""

    name = "beginning"
    search_space = {}
    shown: list[tuple[Tensor, Tensor, bool, bool]] = []
    splits: list[TrainSplit] = []

    def begin(self, train: TrainSplit, head: nn.Module) -> None:
        self.splits.append(train)
        for images, labels in train.batches():
            self.shown.append((images, labels, torch.is_grad_enabled(), self.training))
            self.vit.run(self.vit.embed(images), self.vit.read())
        with torch.no_grad():
            self.prompts.copy_(torch.randn(self.prompts.shape, generator=train.generator))


@pytest.fixture(autouse=True)
def _nothing_shown() -> None:
    Beginning.shown, Beginning.splits = [], []


def test_begin_sees_the_images_that_are_trained_on_and_no_others(tiny):
    found, cell = planned(tiny, Beginning)
    trainer = Trainer(found, threads=1, raises=True)
    opened = (cell.card, cell.root, 32, cell.fingerprint)
    for job, data in (
        (TuneJob(cell.key, ((0, POINT),)), open_tuning(*opened)),
        (FinalJob(cell.key, (0,), POINT), open_final(*opened)),
    ):
        Beginning.shown = []
        outcome = outcome_of(trainer, job)
        ((images, labels, grad, training),) = Beginning.shown
        expected = data.train.batch(torch.arange(len(data.train)), torch.device("cpu"))
        assert torch.equal(images, expected[0])
        assert torch.equal(labels, expected[1])
        assert not grad
        assert not training
        scored = 12 * 2 if isinstance(job, TuneJob) else 15
        assert outcome.units == len(images) + 2 * 2 * len(images) + scored
    assert (
        variant_cost(cell.variant, cell.card, cell.protocol, 1, 0).units == 18 + 2 * 2 * 18 + 2 * 12
    )
    assert variant_cost(cell.variant, cell.card, cell.protocol, 0, 1).units == 30 + 2 * 2 * 30 + 15


def test_no_way_leads_from_there_to_the_images_that_are_scored(tiny):
    found, cell = planned(tiny, Beginning)
    trainer = Trainer(found, threads=1, raises=True)
    outcomes(trainer, FinalJob(cell.key, (0,), POINT))
    (data,) = trainer.warm.values()
    reached, waiting = set(), [Beginning.splits[0]]
    while waiting:
        at = waiting.pop()
        if id(at) not in reached and not isinstance(at, type | types.ModuleType):
            reached.add(id(at))
            waiting += [
                one
                for one in (
                    *(vars(at).values() if hasattr(at, "__dict__") else ()),
                    *(cell.cell_contents for cell in getattr(at, "__closure__", None) or ()),
                    *(at.values() if isinstance(at, dict) else ()),
                    *(at if isinstance(at, list | tuple) else ()),
                )
                if one is not None
            ]
    assert id(data.train) in reached
    assert id(data.test) not in reached
    assert not any(id(part) in reached for part in data.test.parts)


def test_begin_follows_from_the_seed_and_is_not_called_on_loading(tiny):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    one, other = final(tiny, Beginning, keep=keep), final(tiny, Beginning)
    assert one.logits_sha256 == other.logits_sha256
    found, cell = planned(tiny, Beginning)
    Beginning.shown = []
    (file,) = keep.folder.iterdir()
    origin, tensors = checkpoint.read(file)
    base = found.backbones[cell.backbone]
    tuned_model.rebuilt("a test", cell.variant, base, origin, tensors)
    assert Beginning.shown == []


class Plain(VPTDeep):
    """Without dropout."""

    name = "plain"
    search_space = {}

    def __init__(self, vit: Any):
        super().__init__(vit, prompts=10, dropout=0.0)


class Penalised(Plain):
    """Whose penalty is a number in three batches of four."""

    name = "penalised"
    given: list[Tensor] = []

    def penalty(self, labels: Tensor, head: nn.Module) -> Tensor | None:
        self.given.append(labels)
        assert isinstance(head, LinearHead)
        if self.prompts.requires_grad and len(labels) == 6:
            return None
        self.log("pull", 0.25)
        return torch.tensor(0.25)


class Pulled(Plain):
    """Pulls its prompts to zero, as weight decay would."""

    name = "pulled"

    def penalty(self, labels: Tensor, head: nn.Module) -> Tensor:
        return 50 * self.prompts.square().mean()


def test_a_penalty_is_added_to_the_loss_whole_or_in_parts(tiny):
    found, cell = planned(tiny, Penalised)
    Penalised.given = []
    plain = planned(tiny, Plain)
    losses = []
    for run, own, micro in ((found, cell, None), (found, cell, 3), (*plain, None)):
        trainer = Trainer(run, threads=1, raises=True)
        _, (outcome,) = outcomes(trainer, FinalJob(own.key, (0,), POINT, micro))
        assert outcome.curves is not None
        losses.append(outcome.curves)
    whole, parts, without = losses
    added = [one - other for one, other in zip(whole["loss"], without["loss"], strict=True)]
    assert added == pytest.approx([0.75 * 0.25] * 2, abs=2e-4)
    added = [one - other for one, other in zip(parts["loss"], without["loss"], strict=True)]
    assert added == pytest.approx([0.25] * 2, abs=2e-3)  # a part is never of six images
    assert whole["pull"] == parts["pull"] == [0.25, 0.25]
    sizes = []
    for method in (Plain, Pulled):
        run, own = planned(tiny, method)
        trainer = Trainer(run, threads=1, raises=True)
        outcomes(trainer, FinalJob(own.key, (0,), {**POINT, "weight_decay": 0.0}))
        assert isinstance(trainer.model, Model)
        prompts = trainer.model.get_parameter("method.prompts")
        sizes.append(prompts.square().mean().item())
    assert sizes[1] < 0.9 * sizes[0]
    assert {len(labels) for labels in Penalised.given[:4]} == {8, 6}
    assert {len(labels) for labels in Penalised.given[10:32]} == {3, 2}


class Whole(Penalised):
    name = "whole"
    whole_batch = True


def test_a_loss_over_the_whole_batch_is_never_cut(tiny, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    for method in (Penalised, Whole):
        monkeypatch.setattr(method, "forward", full)
        found, cell = planned(tiny, method, seeds=(0,), trials=1)
        store, trainer = Store(tiny.folder / f"{method.name}.db"), Trainer(found, threads=1)
        store.add_cells([cell.cell])
        scheduler = Scheduler(found, store)
        job = scheduler.next("1")
        assert job is not None
        *_, ended = trainer.run(job)
        assert isinstance(ended, list)
        scheduler.finish("1", ended)
        (trial,) = store.trials(cell.key)
        assert trial.reason is not None
        assert trial.reason.startswith(f"{OUT_OF_MEMORY} with 8 images at once")
        again = scheduler.next("2")
        if method is Whole:
            assert again is None
            assert "which the method's loss needs together" in trial.reason
        else:
            assert again is not None
            assert again.micro_batch == 4


class Wide(Method):
    """CLS of the last block, twice."""

    name = "wide"

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.scale = nn.Parameter(torch.ones(()))

    @property
    def width(self) -> int:
        return 2 * self.vit.dim

    def pool(self, tokens: Tensor) -> Tensor:
        features = self.vit.pool(tokens)
        return torch.cat([features, self.scale * features], dim=1)


def test_a_method_may_have_features_of_its_own(tiny):
    outcome = final(tiny, Wide)
    assert outcome.score is not None
    assert (outcome.trainable, outcome.head_params) == (1, 2 * 96 * 3 + 3)


def test_segmentation_needs_tokens_and_a_method_may_refuse_a_kind(seg):
    with pytest.raises(BadInput, match=r"spy can't be built on mini_vit: Wide makes features"):
        planned(seg, Wide, tasks="halves")

    class Labelled(VPTDeep):
        refuses = {"segmentation": "its loss needs one class an image"}

    with pytest.raises(BadInput, match=r"^spy can't do segmentation \(task halves\): its loss"):
        planned(seg, Labelled, tasks="halves")


class Staged(Method):
    """Trains a scale, then with that frozen a shift."""

    name = "staged"
    stages = 2
    calls: list[tuple[Any, ...]] = []

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.scale = nn.Parameter(torch.ones(vit.dim))
        self.shift = nn.Parameter(torch.zeros(vit.dim), requires_grad=False)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        return [self.scale * one + self.shift for one in super().forward(images, read)]

    def epoch(self, number: int, epochs: int) -> None:
        self.calls.append(("epoch", number, epochs))

    def advance(self, stage: int, train: TrainSplit) -> None:
        assert self.training
        gradients = []
        for loss in train.losses():
            loss.backward()
            gradients.append(self.scale.grad.norm().item())  # type: ignore[union-attr]
        self.calls.append(("advance", stage, len(gradients), gradients[0] > 0))
        self.first = self.scale.detach().clone()
        self.scale.requires_grad_(False)
        self.shift.requires_grad_(True)

    @classmethod
    def effort(cls, arguments: Any, images: int, batch_size: int) -> Effort:
        return Effort(stages=2, forwards=2 * images)


def test_a_second_stage_trains_anew_what_it_leaves_free(tiny):
    Staged.calls = []
    found, cell = planned(tiny, Staged)
    trainer = Trainer(found, threads=1, raises=True)
    scores, (outcome,) = outcomes(trainer, TuneJob(cell.key, ((0, POINT),)))
    epochs = [("epoch", 0, 2), ("epoch", 1, 2)]
    assert Staged.calls == [*epochs, ("advance", 1, 3, True), *epochs]
    assert isinstance(trainer.model, Model)
    method = trainer.model.method
    assert isinstance(method, Staged)
    assert torch.equal(method.scale, method.first)
    assert (method.scale != 1).all()
    assert (method.shift != 0).any()
    assert [score.epoch for score in scores] == [1]
    assert list(outcome.curve) == [1, 2]
    assert outcome.units == 2 * (2 * 2 * 18) + 2 * 18 + 2 * 12
    assert outcome.units == variant_cost(cell.variant, cell.card, cell.protocol, 1, 0).units


def test_a_checkpoint_keeps_what_an_earlier_stage_trained(tiny):
    Staged.calls = []
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found, cell = planned(tiny, Staged)
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    outcomes(trainer, FinalJob(cell.key, (0,), POINT))
    (file,) = keep.folder.iterdir()
    origin, tensors = checkpoint.read(file)
    assert {"method.scale", "method.shift"} <= set(tensors)
    base = found.backbones[cell.backbone]
    tuned = tuned_model.rebuilt("a test", cell.variant, base, origin, tensors)
    images = torch.randn(3, 3, tuned.size, tuned.size)
    assert torch.equal(tuned(images), trainer.model.eval()(images))


class Grouped(Method):
    """One tensor that learns ten times as fast, and one that predictions don't need."""

    name = "grouped"
    train_only = ("helper",)
    search_space = {"head_weight_decay": CategoricalDistribution((0.5,))}

    def __init__(self, vit: Any):
        super().__init__(vit)
        self.prompts = new_prompts(vit, 2)
        self.quick = nn.Parameter(torch.ones(2, 2))
        self.helper = nn.Linear(3, 5)

    def forward(self, images: Tensor, read: Read) -> list[Tensor]:
        tokens = self.vit.embed(images)
        return self.vit.run(tokens, read, [self.quick.mean() * self.prompts] * self.vit.depth)

    def penalty(self, labels: Tensor, head: nn.Module) -> Tensor:
        return self.helper.weight.square().sum() + self.helper.bias.sum()

    def factors(self) -> dict[str, Factors]:
        return {"quick": Factors(lr=10, decay=0.5), "q": Factors(lr=7), "head": Factors(lr=3)}


def test_parameters_have_rates_and_decays_of_their_own(tiny):
    found, cell = planned(tiny, Grouped)
    assert list(cell.space) == ["head_weight_decay", "base_lr", "weight_decay"]
    recipe = cell.recipe({**POINT, "head_weight_decay": 0.5})
    assert cell.method_arguments({**POINT, "head_weight_decay": 0.5}) == {}
    method = Grouped(found.backbones[cell.backbone].vit)
    model = Model(method, LinearHead(method, 3))
    groups = {
        id(tensor): (group["factor"], group["weight_decay"])
        for group in new_optimizer(model, replace(recipe, head_factor=2.0)).param_groups
        for tensor in group["params"]
    }
    own = {
        name: groups[id(tensor)]
        for name, tensor in model.named_parameters()
        if id(tensor) in groups
    }
    assert own == {
        "method.prompts": (1.0, 0.01),
        "method.quick": (10.0, 0.005),
        "method.helper.weight": (1.0, 0.01),
        "method.helper.bias": (1.0, 0.01),
        "head.linear.weight": (6.0, 0.5),
        "head.linear.bias": (6.0, 0.0),
    }


def test_a_method_leaves_out_of_the_search_what_has_no_effect(tiny):
    class Optional(VPTDeep):
        search_space = {
            "prompts": CategoricalDistribution((2, 4)),
            "gain": CategoricalDistribution((1, 2)),
        }

        def __init__(self, vit: Any, prompts: int = 2, gained: bool = False, gain: int = 1):
            super().__init__(vit, prompts)

        @classmethod
        def space(cls, arguments: Any) -> dict[str, Any]:
            left_out = () if arguments.get("gained") else ("gain",)
            return {name: own for name, own in cls.search_space.items() if name not in left_out}

    shared = ["base_lr", "weight_decay"]
    for arguments, own in (({}, ["prompts"]), ({"gained": True}, ["prompts", "gain"])):
        found = plan(tiny.request("spy"), [Variant(Optional, "spy", arguments, "spy")])
        assert list(found.cells[0].space) == [*own, *shared]


def test_what_only_training_needs_is_counted_apart_and_not_kept(tiny):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found, cell = planned(tiny, Grouped, trials=1, seeds=(0,))
    store = Store(tiny.folder / "one.db")
    fill(found, store, Trainer(found, threads=1, keep=keep))
    (result,) = store.results()
    assert (result.trainable, result.train_only) == (2 * 96 + 4, 3 * 5 + 5)
    (file,) = keep.folder.iterdir()
    origin, tensors = checkpoint.read(Path(file))
    assert set(tensors) == {
        "method.prompts",
        "method.quick",
        "head.linear.weight",
        "head.linear.bias",
    }
    base = found.backbones[cell.backbone]
    tuned_model.rebuilt("a test", cell.variant, base, origin, tensors)
    (trial,) = store.trials(cell.key)
    for curves in (result.curves, trial.curves):
        assert list(curves) == ["epoch", "loss", "lr"]
        assert curves["epoch"] == [1, 2]


def test_curves_are_means_of_steps_and_at_most_fifty_points():
    curves = Curves(120)
    for done in range(1, 121):
        curves.add({"loss": done})
        curves.add({"loss": torch.tensor(done + 2.0)})
        if done == 119:
            curves.add({"rare": float("nan")})
        curves.close(done)
    read = curves.read()
    assert read["epoch"] == list(range(3, 121, 3))
    assert len(read["epoch"]) <= POINTS
    assert read["loss"][:2] == [3.0, 6.0]
    assert read["rare"] == [None] * 40
    few = Curves(3)
    for done in (1, 2, 3):
        few.add({"loss": 1.23456789e-5})
        few.close(done)
    assert few.read() == {"epoch": [1, 2, 3], "loss": [1.235e-05] * 3}


def test_a_value_is_logged_in_training_alone(tiny):
    vit: Any = planned(tiny, VPTDeep)[0].backbones["mini_vit"].vit
    method = VPTDeep(vit)
    method.eval().log("share", 1.0)
    assert method.logged() == {}
    method.train().log("share", 1.0)
    method.log("share", torch.tensor(3.0, requires_grad=True))
    (value,) = method.logged().values()
    assert value == 2.0
    assert not value.requires_grad
    assert method.logged() == {}


def test_still_images_have_no_random_crops():
    images = [torch.randint(255, (40, 40, 3), dtype=torch.uint8).numpy() for _ in range(2)]

    class Kept:
        labels = torch.tensor([0, 1]).numpy()

        def rows(self, index: Any) -> list[Any]:
            return [images[row] for row in index]

        def masks(self, index: Any) -> list[Any]:
            return []

    drawn = Split([Kept()], "vpt", 32, training=True)
    rows, cpu = torch.arange(2), torch.device("cpu")
    still = [drawn.still().batch(rows, cpu)[0] for _ in range(4)]
    assert all(torch.equal(still[0], other) for other in still)
    assert any(not torch.equal(still[0], drawn.batch(rows, cpu)[0]) for _ in range(8))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"whole_batch": 1}, "whole_batch must be True or False, not an int"),
        ({"train_only": ["a"]}, "train_only must be a tuple of names"),
        ({"refuses": ("segmentation",)}, "refuses must be a dict of reasons"),
        (
            {"constant_features": True, "penalty": lambda self, labels, head: None},
            r"its features are constant \(constant_features\), so penalty\(\) would never",
        ),
    ],
)
def test_a_wrong_declaration_is_one_line(wrong: dict[str, Any], said: str):
    from harness.planning import declaration

    method = type("Mine", (Method,), {"name": "mine", **wrong})
    with pytest.raises(BadInput, match=f"^mine.py: {said}"):
        declaration.check(method, "mine.py")


def test_a_prompt_of_pixels_knows_what_was_taken_out_of_them(tiny):
    class Pixels(Method):
        name = "pixels"

        def __init__(self, vit: Any):
            super().__init__(vit)
            self.at_first = vit.statistics
            self.shift = nn.Parameter(torch.zeros(3, 1, 1))

        def forward(self, images: Tensor, read: Read) -> list[Tensor]:
            return super().forward(images + self.shift, read)

    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found, cell = planned(tiny, Pixels, normalize="inception")
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    outcomes(trainer, FinalJob(cell.key, (0,), POINT))
    assert isinstance(trainer.model, Model)
    kept: Any = trainer.model.method
    assert kept.at_first == INCEPTION
    (file,) = keep.folder.iterdir()
    base = found.backbones[cell.backbone]
    tuned = tuned_model.rebuilt("a test", cell.variant, base, *checkpoint.read(file))
    again: Any = tuned.model.method
    assert again.at_first == INCEPTION
    assert base.vit.statistics == base.vit.at(16).statistics == IMAGENET


def test_a_protocols_drop_path_acts_on_a_methods_copy_in_training(tiny, tmp_path: Path):
    """In each trial and final run; what the method sees of the backbone has it from the start."""
    rates: list[tuple[float, bool]] = []

    class Seeing(VPTDeep):
        name = "seeing"
        search_space = {}

        def __init__(self, vit: Any):
            super().__init__(vit, prompts=2, dropout=0.0)

        def forward(self, images: Tensor, read: Read) -> list[Tensor]:
            path: Any = self.vit.vit.blocks[-1].drop_path2
            rates.append((round(getattr(path, "drop_prob", 0.0), 6), path.training))
            return super().forward(images, read)

    plain = final(tiny, Seeing)
    assert set(rates) == {(0.0, False)}
    rates.clear()
    dropping = tmp_path / "dropping.toml"
    dropping.write_text(f'extends = "{tiny.protocol}"\ndrop_path = 0.4\n')
    found, cell = planned(tiny, Seeing, protocol=str(dropping))
    trainer = Trainer(found, threads=1, raises=True)
    _, (outcome,) = outcomes(trainer, FinalJob(cell.key, (0,), POINT))
    assert set(rates) == {(0.4, True), (0.4, False)}
    assert outcome.logits_sha256 != plain.logits_sha256
    assert cell.cell.identity["protocol"]["drop_path"] == 0.4
