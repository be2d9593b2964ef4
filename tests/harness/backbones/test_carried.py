"""Where a backbone lacks what a method needs, that is one line, before anything runs."""

import sys
from pathlib import Path
from typing import Any

import pytest
from in_process import fill

import harness
from harness.backbones import architecture
from harness.backbones.carried import CAN, Uncarried, lacking
from harness.cli.main import main
from harness.engine.reproduce import reproduce
from harness.errors import BadInput
from harness.planning import declaration
from harness.planning.plan import plan
from harness.planning.registry import registered
from harness.planning.variants import one
from harness.store import Store
from harness.training.method import Method

SAID = "vpt-deep needs tokens that prompts can join, which mini_vit doesn't have."


@pytest.fixture
def promptless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no ViT took prompts."""
    monkeypatch.setattr("harness.backbones.vit.FrozenViT.carried", frozenset({"column"}))


def ended(capsys: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What a command that exits with 2 says, before ray is imported."""
    monkeypatch.setattr(sys, "argv", ["harness", *arguments])
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemExit) as found:
        main()
    assert found.value.code == 2
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_run_is_refused_before_it_runs(
    promptless: None,
    never_ahead: None,
    tiny,
    monkeypatch: pytest.MonkeyPatch,
    capsys,
    more: tuple[str, ...],
):
    arguments = tiny.arguments("--backbone", "mini_vit", *more)
    assert SAID in ended(capsys, monkeypatch, *arguments)
    assert not tiny.store.exists()


def test_try_and_fit_are_refused(promptless: None, tiny, monkeypatch: pytest.MonkeyPatch, capsys):
    assert SAID in ended(capsys, monkeypatch, "try", "vpt-deep", "--task", "digits")
    with pytest.raises(BadInput) as caught:
        harness.fit("vpt-deep", "digits")
    assert str(caught.value) == SAID


def test_reproducing_a_row_is_refused(tiny, monkeypatch: pytest.MonkeyPatch):
    run, store = plan(tiny.request("vpt-deep", seeds=(3,))), Store(tiny.store)
    fill(run, store)
    (result,) = store.results()
    found, cell = store.result(result.id[:5])
    monkeypatch.setattr("harness.backbones.vit.FrozenViT.carried", frozenset({"column"}))
    with pytest.raises(BadInput) as caught:
        reproduce(found, cell, None, None, None)
    assert SAID in str(caught.value)


def test_a_method_that_doesnt_say_runs_on_plain_vits_alone(tmp_path: Path):
    file = tmp_path / "mine.py"
    file.write_text("from harness import Method\nclass Mine(Method):\n    name = 'mine'\n")
    vit = architecture("mini_vit")
    variant = one(f"{file}:Mine")
    variant.build(vit, {})
    vit.carries -= {"plain blocks"}
    with pytest.raises(Uncarried, match=r"mine needs the blocks of a plain .* needs = \(\"column"):
        variant.build(vit, {})
    with pytest.raises(Uncarried) as caught:
        one("difffit").build(vit, {})
    assert "write needs" not in str(caught.value)
    file.write_text(file.read_text() + "    needs = ('column', 'prompts')\n")
    vit.carries -= {"column"}
    with pytest.raises(Uncarried, match=r'leave "column" out of needs: new_prompts\(') as caught:
        one(f"{file}:Mine").build(vit, {})
    assert "write needs" not in str(caught.value)


def test_needs_are_words_that_are_known():
    class Wrong(Method):
        name = "wrong"
        needs = ("promts",)

    with pytest.raises(BadInput, match="needs must be a tuple of plain blocks, prompts, cls"):
        declaration.check(Wrong, "here")
    for entry in registered().values():
        declaration.check(entry.load(), entry.name)


def test_the_first_word_that_is_lacking_is_said():
    assert lacking(("column", "cls", "kv"), "b", {"column"}) == (
        "a class token, which b doesn't have"
    )
    assert lacking((), "b", ()) == lacking(tuple(CAN), "b", CAN) == ""


def test_a_class_token_is_carried_where_there_is_one():
    from timm.models.vision_transformer import VisionTransformer

    from harness.backbones.vit import FrozenViT

    shape: dict[str, Any] = {"img_size": 32, "embed_dim": 24, "depth": 2, "num_heads": 2}
    with_cls = FrozenViT(VisionTransformer(**shape))
    without = FrozenViT(VisionTransformer(class_token=False, global_pool="avg", **shape), "avg")
    assert with_cls.carries - without.carries == {"cls", "saliency"}
    assert with_cls.carries == set(CAN) - {"convolutions"}
    assert with_cls.widths == (24, 24)
