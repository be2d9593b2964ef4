"""Keys: what makes a new cell, and what doesn't."""

from pathlib import Path

import numpy as np
import pytest

from harness.errors import BadInput
from harness.planning.plan import plan
from harness.planning.request import Request
from methods.vpt import VPTDeep


@pytest.fixture
def key(tiny):
    def of(**changes) -> str:
        request = {
            "methods": "vpt-deep",
            "tasks": "toy",
            "cards": tiny.cards,
            "protocol": str(tiny.protocol),
            "backbone": "mini_vit",
            **changes,
        }
        (cell,) = plan(Request(**request)).cells
        return cell.key

    return of


def test_the_same_request_has_the_same_key_and_seeds_are_no_part_of_it(key):
    assert key() == key() == key(seeds=(5,))


def test_trials_arguments_and_protocol_are_part_of_it(key, tiny):
    keys = {
        key(),
        key(trials=3),
        key(methods="vpt-deep(prompts=4)"),
        key(methods="vpt"),
        key(protocol="mini"),
    }
    assert len(keys) == 5
    before = key()
    tiny.protocol.write_text(tiny.protocol.read_text().replace("epochs = 2", "epochs = 3", 1))
    assert key() != before


def test_a_methods_version_is_part_of_it(key, monkeypatch: pytest.MonkeyPatch):
    before = key()
    monkeypatch.setattr(VPTDeep, "version", "another")
    assert key() != before


def test_the_tasks_data_is_part_of_it(key, tiny):
    before = key()
    with np.load(tiny.cards / "toy.npz") as arrays:
        changed = dict(arrays)
    changed["test_images"][0, 0, 0] ^= 1
    np.savez(tiny.cards / "toy.npz", allow_pickle=False, **changed)
    assert key() != before


def test_what_a_card_only_tells_is_no_part_of_it_and_what_it_decides_is(key, tiny):
    before, card = key(), tiny.cards / "toy.toml"
    card.write_text(card.read_text().replace("grey squares", "squares of grey"))
    assert key() == before
    card.write_text(
        card.read_text().replace('metric = "top1"', 'metric = "top1"\ntrain_on = "train"')
    )
    assert key() != before


def test_the_backbones_bytes_are_part_of_it_and_its_file_format_isnt(key, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    from harness.backbones import WEIGHTS

    state = load_file(WEIGHTS / "mini_vit.safetensors")
    torch.save(state, tmp_path / "same.pth")
    assert key(backbone=f"mini_vit={tmp_path / 'same.pth'}") == key()
    state["norm.bias"][0] += 1
    save_file(state, tmp_path / "other.safetensors")
    assert key(backbone=f"mini_vit={tmp_path / 'other.safetensors'}") != key()


def test_a_data_root_that_isnt_there_is_one_line(tmp_path: Path):
    request = Request(methods="linear", suite="vtab", data_root=tmp_path / "typo")
    with pytest.raises(
        BadInput, match=r"^--data-root .*typo: no such folder.* cifar100, "
    ) as caught:
        plan(request)
    assert "\n" not in str(caught.value)
    assert plan(Request(methods="linear", tasks="digits", data_root=tmp_path / "typo")).cells
