"""Reports, comparisons and lists of rows by backbone, protocol and kind of task."""

from pathlib import Path
from typing import Any

import pytest
from groups import MINI

from harness import api
from harness.errors import BadInput
from harness.reporting.filters import Setting
from harness.reporting.result_list import Wanted
from harness.store import Store

METHODS = ["linear", "vpt"]


@pytest.fixture
def store(filler: Any) -> Store:
    """Two methods: on two backbones, and on one of them by two protocols."""
    for backbone, name, epochs in (
        ("mini_vit", "mini", 10),
        ("mini_mae", "mini", 10),
        ("mini_vit", "long", 100),
    ):
        for method in METHODS:
            for task in MINI:
                cell = filler.cell(
                    method,
                    task,
                    backbone=backbone,
                    sha=backbone[-1] * 64,
                    name=name,
                    protocol={"epochs": epochs},
                )
                filler.results(cell, [50.0, 51.0])
    return filler.store


@pytest.mark.parametrize(
    ("asked", "sections"),
    [
        ({}, 3),
        ({"backbone": "mini_vit"}, 2),
        ({"protocol": "mini"}, 2),
        ({"backbone": "mini_mae", "protocol": "mini"}, 1),
        ({"kind": "classification"}, 3),
    ],
)
def test_reports_and_lists_have_the_rows_of_a_setting(
    asked: dict[str, Any], sections: int, store: Store
):
    rows = len(METHODS) * len(MINI) * 2 * sections
    assert len(api.report(store, **asked).results) == rows
    assert len(Wanted(setting=Setting(**asked)).results(store)) == rows


def test_a_comparison_is_of_a_setting(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.store.Store", lambda _: store)
    assert len(api.compare("vpt", "linear").parts) == 3
    assert len(api.compare("vpt", "linear", protocol="long").parts) == 1


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"backbone": "mini_vat"}, r"unknown backbone 'mini_vat'\. Did you mean 'mini_vit'"),
        ({"protocol": "min"}, r"unknown protocol 'min'\. Did you mean 'mini'"),
        ({"kind": "segmentation"}, "unknown kind 'segmentation'"),
        (
            {"backbone": "mini_mae", "protocol": "long"},
            "nothing stored was measured with backbone mini_mae, protocol long",
        ),
    ],
)
def test_what_is_not_there_is_named(asked: dict[str, Any], says: str, store: Store):
    with pytest.raises(BadInput, match=says):
        str(api.report(store, **asked))
    with pytest.raises(BadInput, match=says):
        Wanted(setting=Setting(**asked)).cells(store)


def test_a_backbone_may_be_named_with_its_side():
    measured = Setting("mini_vit@32", "mini", "classification")
    assert Setting("mini_vit").includes(measured)
    assert Setting("mini_vit@32").includes(measured)
    assert not Setting("mini_vit@24").includes(measured)


def test_a_figure_says_what_it_leaves_out(store: Store, tmp_path: Path):
    board = api.report(store, backbone="mini_vit")
    assert board.left_out_of_figures is not None
    assert api.report(store, backbone="mini_vit", protocol="long").left_out_of_figures is None
    assert board.to_figure(tmp_path / "ranks.svg", "cost").is_file()


OWN = """
from methods.vpt import VPTDeep


class Mine(VPTDeep):
    name = "mine"
"""


@pytest.fixture
def variants(filler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Of built-in methods, and of a file's."""
    for variant in ("linear", "vpt-deep", "ivpt", "ivpt(da=false)", "mine(prompts=5)"):
        filler.results(filler.cell(variant, "digits"), [50.0])
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    return filler.store


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("ivpt", {"ivpt", "ivpt(da=false)"}),
        ("ivpt(cdc=true)", {"ivpt"}),
        ("ivpt( ar = true, da=false )", {"ivpt(da=false)"}),
        ("prompts", {"vpt-deep", "ivpt", "ivpt(da=false)"}),
        ("./mine.py:Mine", {"mine(prompts=5)"}),
        ("mine.py:Mine(prompts=5)", {"mine(prompts=5)"}),
    ],
)
def test_a_method_is_named_as_for_a_run(asked: str, found: set[str], variants: Store):
    shown = api.report(variants, methods=[asked]).results
    assert set(shown["variant"]) == found


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("da-vpt", "no result of 'da-vpt' is here, only of ivpt, ivpt\\(da=false\\), linear"),
        ("vpt-deep(prompts=10)", r"no result of 'vpt-deep\(prompts=10\)' is here"),  # it searches
        ("mine.py:Mine(prompts=6)", r"no result of 'mine.py:Mine\(prompts=6\)' is here"),
        ("ivpt(cdcc=true)", "unknown argument of ivpt 'cdcc'. Did you mean 'cdc'"),
        ("absent.py:Mine", "absent.py"),
        ("ivtp", "unknown method 'ivtp'. Did you mean 'ivpt'"),
    ],
)
def test_what_isnt_there_is_said(asked: str, said: str, variants: Store):
    with pytest.raises(BadInput, match=said):
        str(api.report(variants, methods=[asked]))


def test_comparisons_and_lists_take_such_names_too(
    variants: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("harness.store.Store", lambda _: variants)
    compared = api.compare("./mine.py:Mine", "ivpt(cdc=true)")
    assert "mine(prompts=5)" in str(compared)
    assert len(Wanted(methods=["prompts"]).results(variants)) == 3
