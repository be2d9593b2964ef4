"""A bench without Ray: what a job may see, and what it gives back."""

from dataclasses import replace

import pytest
import torch

from harness.data.loader import FinalData, TestSetSealed, TuningData
from harness.features import features
from harness.heads import HeadOnTokens, LinearHead, Model
from harness.orchestrate.jobs import FinalJob, Outcome, TuneJob
from harness.orchestrate.worker import Bench
from harness.plan import Request, RunPlan, plan
from harness.train import Score, fit, predict
from methods.linear import Linear

POINT = {"base_lr": 0.5, "weight_decay": 0.0}


@pytest.fixture
def planned(tiny) -> RunPlan:
    return plan(Request("linear,vpt-deep,ivpt", tasks="toy", cards=tiny.cards, protocol=str(tiny.protocol), backbone="mini_vit"))


def outcomes(bench: Bench, job) -> tuple[list[Score], list[Outcome]]:
    *scores, last = bench.carry_out(job)
    return scores, last


def test_a_trial_is_scored_on_val_as_it_goes_and_a_final_run_once(planned: RunPlan):
    bench = Bench(planned, threads=1)
    key = planned.cells[1].key
    scores, (tuned,) = outcomes(bench, TuneJob(key, ((0, {**POINT, "prompts": 2}),)))
    assert [score.epoch for score in scores] == [1]
    assert list(tuned.curve) == [1, 2]
    assert tuned.units == 2 * 18 * 2 + 2 * 12
    scores, (final,) = outcomes(bench, FinalJob(key, (0,), {**POINT, "prompts": 2}))
    assert scores == []
    assert list(final.curve) == [2]
    assert final.units == 2 * 30 * 2 + 15
    assert final.trainable == 4 * 2 * 96
    assert final.head_params == 96 * 3 + 3


def test_tuning_is_never_handed_the_test_split(planned: RunPlan, monkeypatch: pytest.MonkeyPatch):
    import harness.data.loader as loader

    opened = []
    cached = loader.cached
    monkeypatch.setattr(loader, "cached", lambda card, root, split, *rest: opened.append(split) or cached(card, root, split, *rest))
    bench = Bench(planned, threads=1)
    for cell in planned.cells:
        *_, (outcome,) = bench.carry_out(TuneJob(cell.key, ((0, {**POINT, "prompts": 2} if cell.variant.name != "linear" else POINT),)))
        assert outcome.reason is None
    assert set(opened) == {"train", "val"}
    data = next(iter(bench.warm.values()))
    assert isinstance(data, TuningData)
    with pytest.raises(TestSetSealed):
        _ = data.test


def test_the_same_job_gives_the_same_logits(planned: RunPlan):
    job = FinalJob(planned.cells[2].key, (1,), {**POINT, "prompts": 4})
    (_, (one,)), (_, (other,)) = outcomes(Bench(planned, threads=1), job), outcomes(Bench(planned, threads=1), job)
    assert one.logits_sha256 == other.logits_sha256


def test_cached_features_give_the_scores_of_the_plain_way(planned: RunPlan):
    cell, cpu = planned.cells[0], torch.device("cpu")
    bench = Bench(planned, threads=1)
    vit = planned.backbones["mini_vit"].vit
    from harness.data.loader import open_final

    data = open_final(cell.card, cell.root, 32, cell.fingerprint)
    recipe = replace(cell.recipe(POINT), epochs=4)

    def plain():
        return Model(Linear(vit), LinearHead(vit, 3))

    def on_features():
        return HeadOnTokens(LinearHead(vit, 3))

    *_, slow = fit(plain, data.train, data.test, recipe, 0, cpu, ())
    train, test = (features(Linear(vit), vit.read(), split, cpu) for split in (data.train, data.test))
    *_, fast = fit(on_features, train, test, recipe, 0, cpu, ())
    assert fast.value == slow.value
    torch.manual_seed(0)
    head = LinearHead(vit, 3)
    model = Model(Linear(vit), head)
    torch.testing.assert_close(predict(HeadOnTokens(head), test, cpu), predict(model, data.test, cpu), rtol=1e-5, atol=1e-5)
    _, found = outcomes(bench, TuneJob(cell.key, ((0, POINT), (1, {**POINT, "base_lr": 0.2}))))
    assert [outcome.units for outcome in found] == [18 + 12, 0]
    _, (again,) = outcomes(bench, TuneJob(cell.key, ((2, POINT),)))
    assert again.units == 0
    assert all(isinstance(d, TuningData | FinalData) for d in bench.warm.values())


def test_a_run_that_diverges_is_an_outcome_with_its_reason(planned: RunPlan):
    _, (outcome,) = outcomes(
        Bench(planned, threads=1), FinalJob(planned.cells[1].key, (0,), {**POINT, "base_lr": float("inf"), "prompts": 2})
    )
    assert outcome.score is None
    assert outcome.reason is not None
    assert outcome.reason.startswith("Diverged")
