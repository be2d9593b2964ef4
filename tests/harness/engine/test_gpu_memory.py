"""A worker's share of its GPU's memory, by what it asks of torch; no GPU is needed."""

import os
from types import SimpleNamespace

import pytest
import torch

from harness.engine import worker
from harness.engine.gpu_memory import CONTEXT, SETTINGS, let_segments_grow

TOTAL = 80 * 10**9


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is asked of torch as parts of a GPU's memory."""
    fractions: list[float] = []
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(SETTINGS[0], "")  # so that it is as it was afterwards
    monkeypatch.delenv(SETTINGS[0])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", fractions.append)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=TOTAL)
    )
    return fractions


def assign(monkeypatch: pytest.MonkeyPatch, gpu: float) -> torch.device:
    """What a worker makes of Ray's assignment."""
    context = SimpleNamespace(
        get_accelerator_ids=lambda: {"GPU": ["0"] if gpu else []},
        get_assigned_resources=lambda: {"CPU": 1.0, **({"GPU": gpu} if gpu else {})},
    )
    monkeypatch.setattr(worker.ray, "get_runtime_context", lambda: context)
    return worker.assigned_device()


@pytest.mark.parametrize(
    ("share", "jobs"), [(1.0, 1), (2.0, 1), (0.6, 1), (0.5, 2), (0.3, 3), (0.25, 4), (0.0625, 16)]
)
def test_jobs_that_share_a_gpu_get_equal_parts_of_its_memory(
    asked: list[float], monkeypatch: pytest.MonkeyPatch, share: float, jobs: int
):
    assert assign(monkeypatch, share).type == "cuda"
    assert os.environ[SETTINGS[0]] == "expandable_segments:True"
    if jobs == 1:
        assert asked == []
        return
    (part,) = asked
    assert jobs * (part * TOTAL + CONTEXT) == pytest.approx(TOTAL)


def test_a_part_is_half_of_a_share_at_least(asked: list[float], monkeypatch: pytest.MonkeyPatch):
    """Where contexts alone would fill the GPU."""
    assign(monkeypatch, 0.005)
    assert asked == [0.0025]


def test_a_job_without_a_gpu_leaves_it_alone(asked: list[float], monkeypatch: pytest.MonkeyPatch):
    assert assign(monkeypatch, 0.0).type == "cpu"
    assert asked == []
    assert SETTINGS[0] not in os.environ
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert assign(monkeypatch, 0.5).type == "cpu"
    assert asked == []


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.usefixtures("asked")
def test_an_allocator_that_the_user_has_set_stays_so(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "max_split_size_mb:128")
    let_segments_grow()
    assert {key: value for key, value in os.environ.items() if key in SETTINGS} == {
        name: "max_split_size_mb:128"
    }
