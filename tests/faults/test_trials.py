"""A trial that runs out of memory, raises or yields NaN: recorded, tried again, then a gap; the
other cells go on. Without Ray."""

import pytest
import torch

from harness.engine import failures as faults
from harness.engine.jobs import OUT_OF_MEMORY, FinalJob
from harness.engine.reproduce import reproduce
from harness.engine.scheduler import Scheduler
from harness.engine.trainer import Trainer
from harness.planning.plan import plan
from harness.store import Store
from harness.training.classification import Classification
from methods.linear import Linear
from methods.vpt import VPTDeep


def fill(tiny, methods: str, seeds: tuple[int, ...] = (0, 1)) -> Store:
    """A run of these methods on the toy task in this process: a trainer in a worker's place."""
    run = plan(tiny.request(methods, seeds=seeds))
    store, trainer = Store(tiny.store), Trainer(run, threads=1)
    for cell in run.cells:
        store.add_cell(cell.cell)
    scheduler, number = Scheduler(run, store), 0
    while not scheduler.finished:
        number += 1
        job = scheduler.next(f"{number}")
        if job is None:
            assert scheduler.finished
            break
        try:
            *_, outcomes = trainer.run(job)
            assert isinstance(outcomes, list)
            scheduler.finish(f"{number}", outcomes)
        except Exception as error:
            scheduler.lose(f"{number}", faults.reason_of(error, 256))
    return store


def short_of_memory(
    monkeypatch: pytest.MonkeyPatch, method: type, at_once: int, only_training: bool = True
) -> None:
    """A device on which `method` has room for so many images at once."""
    forward = method.forward

    def cramped(self, images, read):
        if len(images) > at_once and (self.training or not only_training):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return forward(self, images, read)

    monkeypatch.setattr(method, "forward", cramped)


def test_what_needs_too_much_memory_is_trained_in_parts_which_reproduce_replays(
    tiny, monkeypatch: pytest.MonkeyPatch
):
    """Batches of 8, room for 4: every point fails once, and comes through with half; the other
    method never notices."""
    short_of_memory(monkeypatch, VPTDeep, at_once=4)
    store = fill(tiny, "vpt-deep,ivpt")
    deep, other = store.cells()
    trials = store.trials(deep)
    assert [trial.state for trial in trials].count("complete") + [
        trial.state for trial in trials
    ].count("pruned") == 2
    for trial in trials:
        if trial.state == "failed":
            said = (
                f"{OUT_OF_MEMORY} with 8 images at once: OutOfMemoryError: CUDA out of memory."
                " Tried to allocate 2.00 GiB. ("
            )
            assert trial.reason is not None
            assert trial.reason.startswith(said)
            assert "micro_batch" not in trial.provenance
        else:
            assert trial.provenance["micro_batch"] == 4
    assert {result.provenance["micro_batch"] for result in store.results(deep)} == {4}
    assert all(
        "micro_batch" not in row.provenance for row in (*store.trials(other), *store.results(other))
    )
    assert len(store.results()) == 4

    result = store.results(deep)[0]
    again = reproduce(result, store.cells()[deep], None, None, None)
    assert again.equal  # with the room there is, the whole batch raises
    monkeypatch.undo()
    assert reproduce(result, store.cells()[deep], None, None, None).equal


def test_features_that_need_too_much_memory_are_computed_in_parts(
    tiny, monkeypatch: pytest.MonkeyPatch
):
    plain = fill(tiny, "linear").results()
    tiny.store.unlink()
    # then 32, then 16: splits have 12 to 30 images
    monkeypatch.setattr(Classification, "scored_together", 64)
    short_of_memory(monkeypatch, Linear, at_once=16, only_training=False)
    store = fill(tiny, "linear")
    assert {result.provenance["micro_batch"] for result in store.results()} == {2}
    assert [trial.state for trial in store.trials()] == ["failed"] * 4 + ["complete"] * 2
    assert [result.score for result in store.results()] == [result.score for result in plain]


def test_nan_is_a_gap_with_its_reason_and_the_others_go_on(tiny, monkeypatch: pytest.MonkeyPatch):
    forward = VPTDeep.forward
    monkeypatch.setattr(
        VPTDeep,
        "forward",
        lambda self, images, read: [
            tokens * float("nan") for tokens in forward(self, images, read)
        ],
    )
    store = fill(tiny, "vpt-deep,ivpt")
    deep, other = store.cells()
    # two points, each tried twice
    assert [trial.state for trial in store.trials(deep)] == ["failed"] * 4
    assert all(
        "Diverged: the loss is nan by epoch 1" in (trial.reason or "")
        for trial in store.trials(deep)
    )
    assert [failure.cell for failure in store.failures()] == [deep, deep]
    assert len(store.results(other)) == 2


def test_a_retry_that_comes_through_leaves_no_gap(tiny, monkeypatch: pytest.MonkeyPatch):
    run, calls = Trainer.run, []

    def once_broken(self, job):
        calls.append(job)
        if len(calls) == 1 or (
            isinstance(job, FinalJob) and sum(isinstance(call, FinalJob) for call in calls) == 1
        ):
            raise RuntimeError("cosmic ray")
        return run(self, job)

    monkeypatch.setattr(Trainer, "run", once_broken)
    store = fill(tiny, "vpt-deep")
    assert [trial.state for trial in store.trials()].count("failed") == 1
    assert len(store.results()) == 2
    assert store.failures() == []


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:119] data. DefaultCPUAllocator: can't allocate"
                " memory: 8 bytes"
            ),
            True,
        ),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_running_out_of_memory_is_told_from_other_errors(error: Exception, is_memory: bool):
    assert faults.out_of_memory(error) == is_memory
    assert (
        faults.reason_of(error, 8).startswith(f"{OUT_OF_MEMORY} with 8 images at once: ")
        == is_memory
    )


def test_a_reason_is_one_short_line():
    assert len(faults.reason_of(RuntimeError("a\nb " * 1000), 1)) <= 500
    assert "\n" not in faults.reason_of(RuntimeError("a\nb"), 1)
