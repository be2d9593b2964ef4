"""Which arithmetic runs compute in: asked for, a protocol's, or what is usual where they run; and
that it is part of what names a result."""

from typing import Any

import pytest
import torch
from in_process import fill
from PIL import Image

import harness
from harness.engine.reproduce import reproduce
from harness.engine.run import slower_than_need_be
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.planning import arithmetic
from harness.planning.cell import PlannedCell
from harness.planning.choices import settings, suite_of
from harness.planning.plan import plan
from harness.reporting.compare import compare
from harness.store import Store
from harness.tasks.cards import load_cards, load_suites
from harness.training import forward
from harness.training.forward import computing_in, each_in, precision, precision_of

CPU = torch.device("cpu")


def planned(tiny: Any, **asked: Any) -> PlannedCell:
    (cell,) = plan(tiny.request("linear", **asked)).cells
    return cell


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine with a GPU, as far as a plan asks: `gpu(False)` has no bf16."""

    def found(bf16: bool) -> None:
        monkeypatch.setattr(arithmetic, "may_have_gpus", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True: bf16 or including_emulation,
        )

    return found


def of_toy(tiny: Any, **asked: Any) -> str | None:
    request = tiny.request("linear", **asked)
    card = load_cards(tiny.cards)["toy"]
    return settings(request, card, suite_of(card, None, load_suites()))[1].precision


def test_float32_leaves_a_key_as_it_was_and_bf16_makes_another(tiny):
    usual, fp32, bf16 = (planned(tiny, precision=name) for name in (None, "fp32", "bf16"))
    assert "precision" not in usual.cell.identity["protocol"]
    assert "precision" not in usual.cell.labels["settings"]
    assert usual.key == fp32.key != bf16.key
    assert [one.precision for one in (usual, fp32, bf16)] == ["fp32", "fp32", "bf16"]
    assert bf16.cell.identity["protocol"]["precision"] == "bf16"
    assert bf16.cell.labels["settings"]["precision"] == "bf16"
    assert bf16.inputs["precision"] == "bf16"


def test_a_protocols_own_holds_unless_another_is_asked_for(tiny):
    tiny.protocol.write_text('precision = "bf16"\n' + tiny.protocol.read_text())
    assert of_toy(tiny) == "bf16"
    assert of_toy(tiny, precision="fp32") == "fp32"
    with pytest.raises(BadInput, match=r"unknown precision 'bf61'\. Did you mean 'bf16'"):
        of_toy(tiny, precision="bf61")
    tiny.protocol.write_text(
        tiny.protocol.read_text() + '\n[[override]]\nmethod = "linear"\nprecision = "fp32"\n'
    )
    with pytest.raises(BadInput, match="precision: is the same for all"):
        of_toy(tiny)


def test_a_gpu_that_has_bf16_computes_in_it_and_an_older_one_in_float32(tiny, gpu):
    assert of_toy(tiny) == "fp32"
    gpu(True)
    assert of_toy(tiny) == "bf16"
    assert of_toy(tiny, cpu=True) == of_toy(tiny, precision="fp32") == "fp32"
    gpu(False)
    assert of_toy(tiny) == "fp32"
    with pytest.raises(BadInput, match=r"Tesla T4 computes it only by emulation.*--precision fp32"):
        of_toy(tiny, precision="bf16")


def test_a_segmentation_table_has_its_own_or_the_protocols():
    from harness.planning import protocols

    mini = protocols.load("mini")
    asked = mini.model_copy(update={"precision": "bf16"})
    assert asked.of("segmentation").precision == "bf16"
    own = asked.segmentation
    assert own is not None
    own = own.model_copy(update={"precision": "fp32"})
    both = asked.model_copy(update={"segmentation": own})
    assert both.of("segmentation").precision == "fp32"
    assert both.of("classification").precision == "bf16"


def test_a_run_in_bf16_has_a_row_of_its_own_and_is_made_again_in_bf16(tiny, tmp_path):
    store = Store(tiny.store)
    linear, deep = (
        f"{name}base_lr=0.5,weight_decay=0.0)" for name in ("linear(", "vpt-deep(prompts=2,")
    )
    for methods, name in ((deep, "fp32"), (f"{linear},{deep}", "bf16")):
        run = plan(tiny.request(methods, precision=name, seeds=(3,)))
        fill(run, store, Trainer(run, threads=1, keep=checkpoint_files.Keep(store.checkpoints)))
    rows = {
        (store.cells()[row.cell].identity["method"]["name"], row.provenance["precision"]): row
        for row in store.results()
    }
    fp32, bf16 = (rows.pop(("vpt-deep", name)) for name in ("fp32", "bf16 autocast"))
    assert set(rows) == {("linear", "bf16 autocast")}
    assert fp32.logits_sha256 != bf16.logits_sha256
    for row in (bf16, *rows.values()):
        assert reproduce(row, store.cells()[row.cell], None, None, None).equal
    said = harness.report(store).text("md")
    assert "protocol quick, fp32" in said
    assert "protocol quick, bf16" in said
    assert "--precision bf16" in str(compare(store, "linear", "vpt-deep"))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    tuned = tuned_model.load(checkpoint_files.find(store, bf16))
    logits = tuned.predict([tmp_path / "red.png"])
    assert torch.equal(logits, tuned(tuned.pixels(Image.new("RGB", (8, 8), "red"))[None]))
    for device, expected in ((CPU, "fp32"), (torch.device("cuda"), "bf16")):
        with tuned._computing(device):
            assert forward._precision.get() == expected


def test_what_is_computed_is_in_one_arithmetic_and_what_is_between_in_the_usual():
    def half() -> bool:
        with precision(CPU):
            return torch.is_autocast_enabled("cpu")

    seen = [(inside, half()) for inside in each_in("bf16", (half() for _ in range(3)))]
    assert seen == [(True, False)] * 3
    with computing_in("bf16"):
        assert half()
        assert not any(each_in("fp32", (half() for _ in range(3))))
    assert not half()


def test_float32_on_a_gpu_is_without_tf32(monkeypatch: pytest.MonkeyPatch):
    cudnn: Any = torch.backends.cudnn
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    with computing_in("bf16"):
        assert cudnn.allow_tf32
    with computing_in("fp32"):
        assert not cudnn.allow_tf32
        with computing_in("bf16"):
            assert not cudnn.allow_tf32
    assert cudnn.allow_tf32


def test_the_usual_arithmetic_of_a_gpu_is_bf16_where_it_has_it(gpu):
    assert forward.usual_precision(CPU) == "fp32"
    gpu(True)
    assert forward.usual_precision(torch.device("cuda")) == "bf16"
    gpu(False)
    assert forward.usual_precision(torch.device("cuda")) == "fp32"


def test_rows_of_before_have_it_in_their_provenance():
    keyed, before = {"protocol": {"precision": "bf16"}}, {"protocol": {}}
    assert precision_of(keyed, {}) == "bf16"
    assert precision_of(before, {"precision": "bf16 autocast"}) == "bf16"
    assert precision_of(before, {"precision": "fp32"}) == precision_of(before, {}) == "fp32"


def test_a_driver_without_a_gpu_says_that_a_clusters_gpus_are_to_compute_in_float32(
    tiny, gpu, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.engine.run.may_have_gpus", lambda: False)
    run, gpus = plan(tiny.request("linear")), {"cpu": 1.0, "gpu": 1.0}
    assert "--precision bf16" in (slower_than_need_be(run, gpus) or "")
    assert slower_than_need_be(run, {"cpu": 1.0}) is None
    assert slower_than_need_be(plan(tiny.request("linear", precision="fp32")), gpus) is None
    monkeypatch.setattr("harness.engine.run.may_have_gpus", lambda: True)
    assert slower_than_need_be(run, gpus) is None
