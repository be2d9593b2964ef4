"""A trainer without Ray: what a job may see, and what it gives back."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from in_process import outcomes
from outcomes import outcome_of
from torch import nn

from harness.backbones.vit import FrozenViT
from harness.data.loader import FinalData, TestSetSealed, TuningData
from harness.engine import trainer as module
from harness.engine.jobs import FinalJob, Outcome, TuneJob
from harness.engine.trainer import Trainer
from harness.planning.plan import RunPlan, plan
from harness.training.features import features
from harness.training.forward import predict
from harness.training.heads import HeadOnTokens, LinearHead, Model
from harness.training.loop import fit
from harness.training.method import Method
from methods.linear import Linear
from methods.vpt import VPTDeep

POINT = {"base_lr": 0.5, "weight_decay": 0.0}


@pytest.fixture
def planned(tiny) -> RunPlan:
    return plan(tiny.request("linear,vpt-deep,ivpt"))


def test_a_trial_is_scored_on_val_as_it_goes_and_a_final_run_once(planned: RunPlan):
    trainer = Trainer(planned, threads=1)
    key = planned.cells[1].key
    scores, (tuned,) = outcomes(trainer, TuneJob(key, ((0, {**POINT, "prompts": 2}),)))
    assert [score.epoch for score in scores] == [1]
    assert list(tuned.curve) == [1, 2]
    assert tuned.units == 2 * 18 * 2 + 2 * 12
    scores, (final,) = outcomes(trainer, FinalJob(key, (0,), {**POINT, "prompts": 2}))
    assert scores == []
    assert list(final.curve) == [2]
    assert final.units == 2 * 30 * 2 + 15
    assert final.trainable == 4 * 2 * 96
    assert final.head_params == 96 * 3 + 3


def test_tuning_is_never_handed_the_test_split(planned: RunPlan, monkeypatch: pytest.MonkeyPatch):
    import harness.data.loader as loader

    opened = []
    cached = loader.cached
    monkeypatch.setattr(
        loader,
        "cached",
        lambda card, root, split, *rest: opened.append(split) or cached(card, root, split, *rest),
    )
    trainer = Trainer(planned, threads=1)
    for cell in planned.cells:
        point = {**POINT, "prompts": 2} if cell.variant.name != "linear" else POINT
        outcome = outcome_of(trainer, TuneJob(cell.key, ((0, point),)))
        assert outcome.reason is None
    assert set(opened) == {"train", "val"}
    data = next(iter(trainer.warm.values()))
    assert isinstance(data, TuningData)
    with pytest.raises(TestSetSealed):
        _ = data.test


def test_the_same_job_gives_the_same_logits(planned: RunPlan):
    job = FinalJob(planned.cells[2].key, (1,), {**POINT, "prompts": 4})
    (_, (one,)), (_, (other,)) = (
        outcomes(Trainer(planned, threads=1), job),
        outcomes(Trainer(planned, threads=1), job),
    )
    assert one.logits_sha256 == other.logits_sha256


def test_cached_features_give_the_scores_of_the_plain_way(planned: RunPlan):
    cell, cpu = planned.cells[0], torch.device("cpu")
    trainer = Trainer(planned, threads=1)
    vit = planned.backbones["mini_vit"].vit
    from harness.data.loader import open_final

    data = open_final(cell.card, cell.root, 32, cell.fingerprint)
    recipe = replace(cell.recipe(POINT), epochs=4)

    def plain():
        return Model(Linear(vit), LinearHead(Method(vit), 3))

    def on_features():
        return HeadOnTokens(LinearHead(Method(vit), 3))

    *_, slow = fit(cell.kind, plain, data.train, data.test, recipe, 0, cpu, ())
    train, test = (
        features(Linear(vit), vit.read(), split, cpu) for split in (data.train, data.test)
    )
    *_, fast = fit(cell.kind, on_features, train, test, recipe, 0, cpu, ())
    assert fast.value == slow.value
    torch.manual_seed(0)
    head = LinearHead(Method(vit), 3)
    model = Model(Linear(vit), head)
    torch.testing.assert_close(
        predict(HeadOnTokens(head), test, cpu), predict(model, data.test, cpu), rtol=1e-5, atol=1e-5
    )
    _, found = outcomes(trainer, TuneJob(cell.key, ((0, POINT), (1, {**POINT, "base_lr": 0.2}))))
    assert [outcome.units for outcome in found] == [18 + 12, 0]
    _, (again,) = outcomes(trainer, TuneJob(cell.key, ((2, POINT),)))
    assert again.units == 0
    assert all(isinstance(d, TuningData | FinalData) for d in trainer.warm.values())


def test_a_run_that_diverges_is_an_outcome_with_its_reason(planned: RunPlan):
    _, (outcome,) = outcomes(
        Trainer(planned, threads=1),
        FinalJob(planned.cells[1].key, (0,), {**POINT, "base_lr": float("inf"), "prompts": 2}),
    )
    assert outcome.score is None
    assert outcome.reason is not None
    assert outcome.reason.startswith("Diverged")


OTHERS = '''
import gc
import random

import numpy as np
import torch
from timm.models.vision_transformer import Attention
from torch import nn

from harness.training.method import Method
from harness.backbones.vit import FrozenViT


class Norms(Method):
    """Unfreezes what it is given, without a copy."""

    def __init__(self, vit):
        super().__init__(vit)
        for module in self.vit.vit.modules():
            if isinstance(module, nn.LayerNorm):
                module.requires_grad_(True)


class Zeroed(Method):
    """Overwrites what it is given."""

    def __init__(self, vit):
        super().__init__(vit)
        self.moved = nn.Parameter(torch.zeros(1, vit.dim))
        with torch.no_grad():
            for tensor in vit.vit.parameters():
                tensor.zero_()

    def forward(self, images, read):
        return self.vit.run(self.vit.embed(images) + self.moved, read)


class Replaced(Method):
    def __init__(self, vit):
        super().__init__(vit)
        for block in vit.vit.blocks:
            block.mlp = nn.Sequential(nn.Linear(vit.dim, 4), nn.Linear(4, vit.dim))


class Reaching(Norms):
    """Finds every ViT of the process, not only its own."""

    def __init__(self, vit):
        super().__init__(vit)
        for other in gc.get_objects():
            if type(other) is FrozenViT:
                other.vit.blocks[1].mlp.fc1.weight.data.zero_()


class OfAll(Norms):
    """Changes timm's class while it runs."""

    def forward(self, images, read):
        Attention.forward = lambda self, x, **_: x
        return super().forward(images, read)


class Drawing(Norms):
    def __init__(self, vit):
        super().__init__(vit)
        self.factor = random.random() * np.random.rand()

    def forward(self, images, read):
        drawn = self.factor * np.random.rand() * random.random()
        return [drawn * tokens for tokens in super().forward(images, read)]


class Unused(Norms):
    def __init__(self, vit):
        super().__init__(vit)
        self.spare = nn.Parameter(torch.zeros(3))


class Untrained(Method):
    def __init__(self, vit):
        super().__init__(vit)
        self.one, self.two = nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3))
'''


@pytest.fixture
def other_methods(tiny):
    """Plans methods of a user's file beside built-in ones: (linear, vpt-deep, then the file's)."""
    (tiny.folder / "others.py").write_text(OTHERS)

    def make(*classes: str) -> RunPlan:
        named = ",".join(f"{tiny.folder / 'others.py'}:{name}" for name in classes)
        request = tiny.request(f"linear,vpt-deep,{named}")
        return plan(request)

    return make


def final(trainer: Trainer, planned: RunPlan, index: int) -> Outcome:
    point = {**POINT, "prompts": 2} if planned.cells[index].variant.name == "vpt-deep" else POINT
    _, (outcome,) = outcomes(trainer, FinalJob(planned.cells[index].key, (0,), point))
    return outcome


def test_a_method_may_do_anything_with_its_backbone_and_no_other_sees_it(other_methods):
    classes = ("Norms", "Zeroed", "Replaced")
    planned = other_methods(*classes)
    clean = [final(Trainer(planned, threads=1), planned, index).logits_sha256 for index in (0, 1)]
    trainer = Trainer(planned, threads=1)
    for index in range(2, 2 + len(classes)):
        own = final(trainer, planned, index)
        assert own.reason is None
        assert own.trainable > 0 or classes[index - 2] == "Replaced"
        assert [final(trainer, planned, other).logits_sha256 for other in (0, 1)] == clean
        assert final(trainer, planned, index).logits_sha256 == own.logits_sha256
    assert final(trainer, planned, 0).trainable == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Reaching",
            (
                r"others\.py:Reaching|Reaching changed the backbone of all methods"
                r" \(blocks\.1\.mlp\.fc1\.weight\)"
            ),
        ),
        ("OfAll", r"OfAll changed Attention\.forward of all methods"),
    ],
)
def test_a_job_that_changes_what_all_methods_share_fails_and_the_next_gets_it_as_it_was(
    other_methods, name: str, said: str
):
    planned = other_methods("Norms")
    clean = [final(Trainer(planned, threads=1), planned, index).logits_sha256 for index in (0, 1)]
    trainer = Trainer(planned, threads=1)
    assert final(trainer, planned, 2).reason is None
    rogue = replace(
        planned.cells[2],
        variant=replace(planned.cells[2].variant, method=_of_file(planned, name), name=name),
    )
    trainer.plan = replace(planned, cells=(*planned.cells[:2], rogue))
    failed = final(trainer, planned, 2)
    assert failed.score is None
    assert failed.reason is not None
    import re

    assert re.search(said, failed.reason), failed.reason
    trainer.plan = replace(trainer.plan, cells=planned.cells)
    assert [final(trainer, planned, other).logits_sha256 for other in (0, 1)] == clean


def _of_file(planned: RunPlan, name: str):
    import sys

    return getattr(sys.modules[planned.cells[2].variant.method.__module__], name)


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_point_had_no_memory_for_the_next_ones_of_its_job_are_spared(
    planned: RunPlan, monkeypatch: pytest.MonkeyPatch, whole: bool
):
    tried = []

    def full(kind: Any, build: Any, train: Any, held_out: Any, recipe: Any, *more: Any) -> Any:
        tried.append(recipe.micro_batch)
        if (recipe.micro_batch or recipe.batch_size) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fit(kind, build, train, held_out, recipe, *more)

    monkeypatch.setattr(module, "fit", full)
    monkeypatch.setattr(Linear, "whole_batch", whole)
    points = tuple((number, POINT) for number in range(4))
    _, ended = outcomes(Trainer(planned, threads=1), TuneJob(planned.cells[0].key, points))
    assert tried == ([None] * 4 if whole else [None, 4, 2, 2])
    assert [(one.provenance or {}).get("micro_batch") for one in ended] == tried
    assert [one.score is None for one in ended] == [True, True, whole, whole]


@pytest.mark.usefixtures("unchecked")  # checks draw from Python's generator
def test_pythons_and_numpys_generators_follow_the_seed(other_methods):
    planned = other_methods("Drawing")
    one, other = (final(Trainer(planned, threads=1), planned, 2) for _ in range(2))
    assert one.logits_sha256 == other.logits_sha256
    _, (third,) = outcomes(Trainer(planned, threads=1), FinalJob(planned.cells[2].key, (1,), POINT))
    assert third.logits_sha256 != one.logits_sha256


def test_tensors_without_a_gradient_are_told_and_a_method_without_any_fails(other_methods):
    planned = other_methods("Unused", "Untrained")
    told = final(Trainer(planned, threads=1), planned, 2)
    assert told.extras is not None
    assert told.extras["warnings"] == ["1 of 21 trained tensors got no gradient: spare."]
    assert told.extras["flops"] > told.extras["flops_scored"] > told.extras["flops_overhead"] == 0
    assert told.extras["seconds_image"] > 0
    assert told.extras["checkpoint_bytes"] > 4 * told.trainable
    failed = final(Trainer(planned, threads=1), planned, 3)
    assert failed.score is None
    assert (
        failed.reason
        == "Untrained: none of the 2 tensors that the method trains got a gradient: one, two."
        " Untrained has no forward of its own"
    )
    assert "warnings" not in (final(Trainer(planned, threads=1), planned, 1).extras or {})


class Twice(Method):
    """A map behind another, which folds into it."""

    name = "twice"

    def __init__(self, vit: FrozenViT):
        super().__init__(vit)
        mlp: Any = vit.vit.blocks[0].mlp
        mlp.fc2 = nn.Sequential(mlp.fc2, nn.Linear(self.width, self.width))

    def merge(self) -> None:
        mlp: Any = self.vit.vit.blocks[0].mlp
        first, second = mlp.fc2
        first.weight.copy_(second.weight @ first.weight)
        mlp.fc2 = first


def test_what_merges_costs_nothing_to_score_and_is_left_as_it_was(planned: RunPlan):
    cell, trainer = planned.cells[1], Trainer(planned, threads=1)
    for kind in (Twice, VPTDeep):
        vit: Any = deepcopy(trainer._vit(cell))
        method = kind(vit)
        before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
        trainer.model = Model(method, LinearHead(method, 3))
        counted = trainer._flops(cell, 64)
        assert (counted["flops_overhead"] == 0) == (kind is Twice)
        assert counted["flops"] > counted["flops_scored"] > counted["flops_overhead"]
        after = method.state_dict()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_probes_logits_do_not_depend_on_what_the_worker_did_before(tiny):
    """Its features are warm when it comes again after another task; whatever is built anew then
    draws nothing of the run's own."""
    both = plan(tiny.request("linear", tasks="toy,toy2"))
    trainer, jobs = (
        Trainer(both, threads=1),
        [FinalJob(cell.key, (7,), POINT) for cell in both.cells],
    )
    (_, (first,)), _, (_, (again,)) = (
        outcomes(trainer, job) for job in (jobs[0], jobs[1], jobs[0])
    )
    assert again.units == 0
    assert again.logits_sha256 == first.logits_sha256


def test_the_data_that_was_used_least_recently_goes_first(tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "WARM_TASKS", 0.5)  # two sets of data
    request = tiny.request("vpt-deep", tasks="toy,toy2")
    one, other = plan(request).cells
    trainer = Trainer(plan(request), threads=1)
    tune = {cell.key: TuneJob(cell.key, ((0, {**POINT, "prompts": 2}),)) for cell in (one, other)}
    first = trainer._data(one, tune[one.key])[0]
    trainer._data(other, tune[other.key])
    assert trainer._data(one, tune[one.key])[0] is first
    trainer._data(one, FinalJob(one.key, (0,), POINT))
    assert [(key[0], key[1]) for key in trainer.warm] == [(TuneJob, "toy"), (FinalJob, "toy")]
    assert trainer._data(one, tune[one.key])[0] is first


def test_a_trainer_notes_the_splits_that_it_had_to_decode(
    planned: RunPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("VPT_HARNESS_CACHE", str(tmp_path / "empty"))
    cell = planned.cells[1]
    cold, warm = Trainer(planned, threads=1), Trainer(planned, threads=1)
    for trainer in (cold, warm):
        trainer._data(cell, TuneJob(cell.key, ((0, POINT),)))
        trainer._data(cell, FinalJob(cell.key, (0,), POINT))
    assert cold.decoded == ["toy train", "toy val", "toy test"]
    assert warm.decoded == []
