"""What a run tuned, kept and given back: the loaded model is the one that was scored. Without
Ray."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from outcomes import outcome_of, provenance_of
from PIL import Image
from safetensors import safe_open

import harness as package
from harness.data.loader import open_final
from harness.engine.jobs import FinalJob, Outcome
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.inference.predictions import rows
from harness.planning.cell import PlannedCell
from harness.planning.plan import RunPlan, plan
from harness.store import Store
from harness.training.forward import predict, sha256_of

METHODS = (
    "linear",
    "vpt",
    "vpt-deep",
    "ivpt",
    "ivpt(cdc_source=output,da=gate)",
    "full",
    "bitfit",
    "lora",
    "adaptformer",
    "houlsby",
    "adapter-plus",
    "ssf",
)
MINE = """
import torch
from harness.training.method import Method

class Counting(Method):
    name = "counting"
    def __init__(self, vit):
        super().__init__(vit)
        self.register_buffer("seen", torch.zeros(()))
        self.shift = torch.nn.Parameter(torch.zeros(3, 1, 1))
    def forward(self, images, read):
        if self.training:
            self.seen += 1
        return super().forward(images + self.shift * self.seen, read)
"""


def finish(tiny, method: str, keep: checkpoint_files.Keep) -> tuple[RunPlan, PlannedCell, Outcome]:
    """One final run of a method on the toy task."""
    found = plan(tiny.request(method))
    (cell,) = found.cells
    point = {"base_lr": 0.3, "weight_decay": 0.0} | (
        {"prompts": 2} if "prompts" in cell.space else {}
    )
    outcome = outcome_of(Trainer(found, threads=1, keep=keep), FinalJob(cell.key, (5,), point))
    assert outcome.reason is None
    return found, cell, outcome


@pytest.mark.parametrize("method", [*METHODS, "mine"])
def test_the_loaded_model_gives_the_logits_that_were_scored(tiny, method: str):
    if method == "mine":
        (tiny.folder / "mine.py").write_text(MINE)
        method = f"{tiny.folder / 'mine.py'}:Counting"
    _, cell, outcome = finish(tiny, method, checkpoint_files.Keep(tiny.folder / "kept"))
    tuned = package.load(
        provenance_of(outcome)["checkpoint"], method=method if ".py:" in method else None
    )
    test = open_final(cell.card, cell.root, tuned.size, cell.fingerprint).test
    assert not tuned.training
    assert (
        sha256_of(predict(tuned, test, torch.device("cpu")))
        == outcome.logits_sha256
        == tuned.origin.logits_sha256
    )
    assert tuned.origin.score == outcome.score
    assert tuned.origin.seed == 5


def test_only_what_was_tuned_is_kept_with_its_key_and_provenance(tiny):
    found, cell, outcome = finish(tiny, "vpt-deep", checkpoint_files.Keep(tiny.folder / "kept"))
    file = Path(provenance_of(outcome)["checkpoint"])
    with safe_open(file, "pt") as opened:
        assert sorted(opened.keys()) == ["head.linear.bias", "head.linear.weight", "method.prompts"]
        origin = json.loads(opened.metadata()["origin"])
    assert origin["cell"] == cell.key
    assert origin["identity"] == json.loads(json.dumps(cell.cell.identity))
    assert origin["arguments"] == {"prompts": 2}
    assert origin["provenance"]["versions"]["torch"] == version("torch")
    assert file.stat().st_size < 4 * (outcome.trainable + outcome.head_params) + 6000
    assert list(file.parent.iterdir()) == [file]
    loaded: Any = tuned_model.load(file, found.backbones["mini_vit"])
    given = found.backbones["mini_vit"].vit
    assert loaded.model.method.vit is not given
    assert all(
        map(torch.equal, loaded.model.method.vit.state_dict().values(), given.state_dict().values())
    )


def test_images_are_classified_as_they_were_scored(tiny):
    _, cell, outcome = finish(tiny, "ivpt", checkpoint_files.Keep(tiny.folder / "kept"))
    tuned = package.load(provenance_of(outcome)["checkpoint"])
    with np.load(tiny.cards / "toy.npz") as arrays:
        images = arrays["test_images"][:3]
    files = [tiny.folder / f"{index}.png" for index in range(3)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(file)
    scored = predict(
        tuned,
        open_final(cell.card, cell.root, tuned.size, cell.fingerprint).test,
        torch.device("cpu"),
    )[:3]
    torch.testing.assert_close(tuned.predict(files), scored, rtol=1e-5, atol=1e-5)
    found = rows(scored, scored.softmax(1), files, ("dark", "grey", "light"), 2)
    assert [row["top"][0]["class"] for row in found] == scored.argmax(1).tolist()
    assert found[0]["top"][0]["name"] == ("dark", "grey", "light")[int(scored[0].argmax())]
    load = f"harness.load({provenance_of(outcome)['checkpoint']!r})"
    code = f"import harness; print({load}.predict([{str(files[0])!r}])[0].tolist())"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    torch.testing.assert_close(
        torch.tensor(json.loads(fresh.stdout)), scored[0], rtol=1e-5, atol=1e-5
    )


def test_large_ones_are_kept_where_the_user_asks(tiny, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoint_files, "LARGE", 1000)
    _, _, outcome = finish(tiny, "bitfit", checkpoint_files.Keep(tiny.folder / "kept"))
    assert "--keep-large" in provenance_of(outcome)["no_checkpoint"]
    assert not (tiny.folder / "kept").exists()
    _, _, outcome = finish(tiny, "bitfit", checkpoint_files.Keep(tiny.folder / "kept", large=True))
    assert Path(provenance_of(outcome)["checkpoint"]).is_file()


def test_a_folder_that_cant_be_written_costs_the_checkpoint_not_the_score(tiny):
    (tiny.folder / "kept").write_text("a file")
    _, _, outcome = finish(tiny, "linear", checkpoint_files.Keep(tiny.folder / "kept"))
    assert outcome.score is not None
    assert "couldn't be written" in provenance_of(outcome)["no_checkpoint"]


def test_what_cant_be_loaded_says_why(tiny, monkeypatch: pytest.MonkeyPatch):
    _, cell, outcome = finish(tiny, "vpt-deep", checkpoint_files.Keep(tiny.folder / "kept"))
    file = Path(provenance_of(outcome)["checkpoint"])
    with pytest.raises(BadInput, match=r"no file absent\.safetensors"):
        package.load("absent.safetensors")
    (tiny.folder / "short").write_bytes(file.read_bytes()[:-100])
    with pytest.raises(BadInput, match="truncated"):
        package.load(tiny.folder / "short")
    with pytest.raises(BadInput, match="harness export"):
        package.load(
            Path(package.__file__).parent / "backbones" / "weights" / "mini_vit.safetensors"
        )
    with pytest.raises(BadInput, match="missing, or can't be decoded"):
        package.load(file).predict([tiny.cards / "toy.toml"])
    before = cell.variant.method.version
    monkeypatch.setattr(cell.variant.method, "version", "99")
    with pytest.raises(BadInput, match=f"by vpt-deep version {before}; this is version 99"):
        package.load(file)


FROZEN = """import torch
from torch import nn

from harness.training.method import Method


class Inserted(nn.Module):
    def __init__(self, old, dim):
        super().__init__()
        self.old = old
        {}

    def forward(self, tokens):
        return self.old(tokens) + {}


class Mine(Method):
    name = "mine"

    def __init__(self, vit):
        super().__init__(vit)
        self.vit.vit.blocks[0].mlp = Inserted(self.vit.vit.blocks[0].mlp, vit.dim)
"""


@pytest.mark.parametrize(
    ("made", "used"),
    [
        (
            (
                "self.fixed = nn.Parameter(torch.randn(dim, 4), requires_grad=False); self.up ="
                " nn.Linear(4, dim)"
            ),
            "self.up(tokens @ self.fixed)",
        ),
        (
            "self.norm = nn.BatchNorm1d(dim)",
            "self.norm(tokens.transpose(1, 2)).transpose(1, 2)",
        ),
    ],
    ids=["a random tensor that isn't trained", "running statistics"],
)
def test_what_a_method_puts_into_a_block_is_there_again(tiny, made: str, used: str):
    own = tiny.folder / "mine.py"
    own.write_text(FROZEN.format(made, used))
    _, cell, outcome = finish(tiny, f"{own}:Mine", checkpoint_files.Keep(tiny.folder / "kept"))
    torch.manual_seed(77)
    tuned = package.load(provenance_of(outcome)["checkpoint"], method=f"{own}:Mine")
    test = open_final(cell.card, cell.root, tuned.size, cell.fingerprint).test
    assert sha256_of(predict(tuned, test, torch.device("cpu"))) == outcome.logits_sha256


@pytest.mark.parametrize("line", ["{}['layer']", "raise ValueError('no such depth')"])
def test_a_method_of_the_users_that_can_no_longer_be_built_is_blamed_by_its_line(tiny, line: str):
    own = tiny.folder / "mine.py"
    head = "from methods.vpt import VPTDeep\n\n\nclass Mine(VPTDeep):\n    name = 'mine'\n"
    own.write_text(head)
    _, _, outcome = finish(tiny, f"{own}:Mine", checkpoint_files.Keep(tiny.folder / "kept"))
    own.write_text(
        f"{head}\n    def __init__(self, vit, prompts=1, dropout=0.0):\n       "
        f" super().__init__(vit, prompts)\n        {line}\n"
    )
    with (
        pytest.warns(UserWarning, match="a different version of"),
        pytest.raises(BadInput, match=r"can't be built on .*mine.py:9, in __init__\)"),
    ):
        package.load(provenance_of(outcome)["checkpoint"], method=f"{own}:Mine")


def test_other_weights_than_those_it_was_tuned_on_are_refused(tiny):
    from safetensors.torch import load_file, save_file

    _, _, outcome = finish(tiny, "linear", checkpoint_files.Keep(tiny.folder / "kept"))
    weights = load_file(
        Path(package.__file__).parent / "backbones" / "weights" / "mini_vit.safetensors"
    )
    save_file(
        {name: 2 * value for name, value in weights.items()}, tiny.folder / "other.safetensors"
    )
    with pytest.raises(BadInput, match="tuned on weights other"):
        package.load(
            provenance_of(outcome)["checkpoint"], f"mini_vit={tiny.folder / 'other.safetensors'}"
        )


def test_exporting_never_overwrites_something_else(tiny):
    (tiny.folder / "a").write_text("tuned")
    checkpoint_files.export(tiny.folder / "a", tiny.folder / "b")
    checkpoint_files.export(tiny.folder / "a", tiny.folder / "b")
    assert (tiny.folder / "b").read_text() == "tuned"
    (tiny.folder / "b").write_text("a thesis")
    with pytest.raises(BadInput, match="other contents"):
        checkpoint_files.export(tiny.folder / "a", tiny.folder / "b")
    with pytest.raises(BadInput, match="can't write"):
        checkpoint_files.export(tiny.folder / "a", tiny.folder / "nowhere" / "b")


def test_checkpoints_lie_beside_a_sqlite_store(tmp_path: Path):
    assert Store(tmp_path / "mine.db").checkpoints == tmp_path / "mine.checkpoints"
    assert Store("sqlite://").checkpoints.name == "harness.checkpoints"
