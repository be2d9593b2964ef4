"""Known settings: run as they are, or to begin searches with."""

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from in_process import fill
from planned import GRID, GRID_SPACE, TPE, TPE_SPACE, planned

from harness.engine.reproduce import replan
from harness.engine.study import CellSearch
from harness.errors import BadInput
from harness.io.resources import osu_csv, published_csv
from harness.planning import protocols
from harness.planning.known import table
from harness.planning.plan import RunPlan, plan
from harness.planning.registry import registered
from harness.planning.variant import read_arguments
from harness.reporting.filters import Setting
from harness.reporting.result_list import Wanted
from harness.reporting.tuned_table import tuned_table, write
from harness.store import Store, Trial
from harness.tasks.cards import load_cards

OSU_NAMES = {
    "AdaptFormer": "adaptformer",
    "LN-tuning": "ln-tuning",
    "Adapter-Houlsby": "houlsby",
    "Adapter-Pfeiffer": "pfeiffer",
}


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def osu_as(folder: Path, task: str, of: str = "cifar100") -> Path:
    """OSU's lines for one task, as if they were for another."""
    lines = [{**line, "task": task} for line in lines_of(osu_csv()) if line["task"] == of]
    path = folder / "theirs.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    return path


def test_osus_table_is_theirs_and_its_arguments_are_ours():
    lines = lines_of(osu_csv())
    assert Counter(line["method"] for line in lines) == dict.fromkeys(
        {line["method"] for line in lines}, 19
    )
    assert {line["task"] for line in lines} <= set(load_cards())
    printed = {
        (OSU_NAMES.get(name := line["method"][:-5], name.lower()), line["task"]): line["value"]
        for line in lines_of(published_csv())
        if line["method"].endswith("(OSU)")
    }
    ours = {(line["method"], line["task"]): float(line["last_epoch"]) for line in lines}
    assert ours == {key: float(value) for key, value in printed.items()}
    assert {float(line["base_lr"]) * 64 / 256 for line in lines} == {0.001, 0.01}
    here, also = registered(), protocols.load("petl").arguments
    missing = {line["method"] for line in lines} - here.keys()
    for line in lines:
        if line["method"] not in missing:
            method = here[line["method"]].load()
            read = read_arguments(line["method"], method, line["arguments"], also)
            assert len(read) == len([part for part in line["arguments"].split(",") if part])
    assert {"linear", "lora", "vpt", "vpt-deep", "full", "ssf"}.isdisjoint(missing)


def test_given_settings_arrive_in_the_rows_without_a_search(tiny, tmp_path: Path):
    given = osu_as(tmp_path, "toy")
    asked: dict[str, Any] = {"hparams": str(given)}
    found = plan(tiny.request("lora,vpt-deep,linear", **asked))
    store = Store(tmp_path / "given.db")
    fill(found, store)
    rows = {
        (cell.labels["variant"], result.seed): result.params
        for result in store.results()
        for cell in [store.cells()[result.cell]]
    }
    lora = {"base_lr": 0.04, "weight_decay": 0.0001, "rank": 1, "alpha": 1}
    lora |= {"targets": "qkv", "dropout": 0.1}  # theirs
    assert rows == {
        **{("lora", seed): lora for seed in (0, 1)},
        **{
            ("vpt-deep", seed): {"base_lr": 0.004, "weight_decay": 0.001, "prompts": 5}
            for seed in (0, 1)
        },
        **{("linear", seed): rows["linear", 0] for seed in (0, 1)},
    }
    assert not store.trials()
    assert [cell.trials for cell in found.cells] == [0, 0, 0]
    # another key than a searched cell, and than one with other settings
    searched = plan(tiny.request("lora,vpt-deep,linear"))
    assert {cell.key for cell in found.cells}.isdisjoint(cell.key for cell in searched.cells)
    cell = store.cells()[found.cells[0].key]
    assert cell.identity["protocol"]["fixed"] == lora
    assert cell.labels["protocol"] == "quick+theirs"
    # the search that it doesn't have is no part of it
    shorter = plan(tiny.request("lora", trials=7, **asked))
    assert shorter.cells[0].key == found.cells[0].key
    result = next(result for result in store.results() if result.cell == cell.key)
    again, _ = replan(result, cell, None, tiny.cards, "mini_vit")
    assert (again.key, again.trials) == (cell.key, 0)


def test_what_has_no_settings_is_said_and_not_run(tiny, tmp_path: Path):
    given = str(osu_as(tmp_path, "toy"))
    found = plan(tiny.request("lora,linear,ivpt", tasks="toy,toy2", hparams=given))
    assert [(cell.variant.label, cell.card.name) for cell in found.cells] == [
        ("lora", "toy"),
        ("linear", "toy"),
    ]
    text = "\n".join(found.warnings)
    assert "theirs has no settings for lora on toy2: not run" in text
    assert "theirs has no settings for ivpt on toy, toy2: not run" in text
    assert "theirs on linear: drop-path 0.1 there" in text
    with pytest.raises(BadInput, match=r"--hparams osu has no settings for lora on toy\."):
        plan(tiny.request("lora", hparams="osu"))


def test_a_variants_own_line_comes_first_and_its_arguments_stay(tiny, tmp_path: Path):
    (tmp_path / "mine.csv").write_text(
        "method,task,base_lr,weight_decay,arguments\n"
        'vpt-deep,toy,1.0,0.0,"prompts=3,dropout=0.2"\n'
        '"vpt-deep(prompts=4, dropout=0.0)",toy,2.0,0.0,\n'
    )
    text = "vpt-deep,vpt-deep(prompts=2),vpt-deep(dropout=0.0,prompts=4)"
    cells = plan(tiny.request(text, hparams=str(tmp_path / "mine.csv"))).cells
    assert [cell.protocol.fixed for cell in cells] == [
        {"base_lr": 1.0, "weight_decay": 0.0, "prompts": 3, "dropout": 0.2},
        {"base_lr": 1.0, "weight_decay": 0.0, "dropout": 0.2},
        {"base_lr": 2.0, "weight_decay": 0.0},
    ]
    assert cells[1].method_arguments(dict(cells[1].protocol.fixed)) == {
        "prompts": 2,
        "dropout": 0.2,
    }


def test_conditions_of_a_protocol_hold_at_given_settings(tmp_path: Path):
    """Also where the search would not have chosen such a value."""
    (tmp_path / "mine.csv").write_text(
        "method,task,base_lr,weight_decay,arguments\nvpt,digits,1.0,0.0,prompts=150\n"
    )
    from harness.planning.request import Request

    request = Request("vpt", tasks="digits", protocol="vpt", hparams=str(tmp_path / "mine.csv"))
    (cell,) = plan(request).cells
    assert cell.recipe(dict(cell.protocol.fixed)).batch_size == 64
    assert cell.protocol.override == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task,lr\n", "has no column 'method'"),
        ("method,task\nlora,toy\nlora,toy\n", "line 3: lora on toy is in line 2 too"),
        ("method,task\nlora\n", "line 2: 1 columns, expected 2"),
        ("method,task\nlora,\n", "line 2: a line needs a method and a task"),
        ("method,task,base_lr\nlora,toy,1.0\n", "line 2: no weight_decay for lora on toy"),
        (
            "method,task,base_lr,weight_decay,arguments\nlora,toy,1.0,0.0,rang=3\n",
            "line 2: unknown argument of lora 'rang'. Did you mean 'rank'",
        ),
        (
            "method,task,base_lr,weight_decay,arguments\nlora,toy,fast,0.0,rank=3\n",
            "line 2: lora: base_lr must be float, not 'fast'",
        ),
        ("method,task\nlo\x1bra,toy\n", "line 2: a control character"),
    ],
)
def test_a_fault_of_a_table_is_one_line_with_its_place(
    tiny, tmp_path: Path, text: str, message: str
):
    (tmp_path / "odd.csv").write_text(text)
    with pytest.raises(BadInput) as caught:
        plan(tiny.request("lora", hparams=str(tmp_path / "odd.csv")))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_of_no_table_and_both_flags_are_refused(tiny, tmp_path: Path):
    with pytest.raises(BadInput, match="the shipped table is 'osu'"):
        table("ohsu")
    with pytest.raises(BadInput, match=r"no such file: give .osu., a FILE\.csv or a store"):
        plan(tiny.request("lora", start_from=str(tmp_path / "no.db")))
    with pytest.raises(BadInput, match="leave one out"):
        tiny.request("lora", hparams="osu", start_from="osu")
    (tmp_path / "fixed.toml").write_text('extends = "petl"\nfixed = { base_lr = 1.0 }\n')
    with pytest.raises(BadInput, match="fixed: is a cell's, not a protocol's"):
        protocols.load(str(tmp_path / "fixed.toml"))


START = [{"base_lr": 3.0, "weight_decay": 0.1}, {"base_lr": 1.0, "weight_decay": 0.1}]


@pytest.mark.parametrize("sampler", ["tpe", "grid"])
def test_a_search_begins_with_known_points_once(sampler: str):
    base, space = (GRID, GRID_SPACE) if sampler == "grid" else (TPE, TPE_SPACE)
    cell = planned(protocol=base.model_copy(update={"start": tuple(START)}), space=space)
    search = CellSearch(cell, [])
    asked = [search.ask()[1] for _ in range(4)]
    assert asked[:2] == START
    assert all(point not in START for point in asked[2:])
    if sampler == "grid":
        assert len({str(point) for point in asked}) == 4  # each once
    # a run that was interrupted after the first of them
    done = Trial(cell.key, 0, START[0], "complete", 50.0, {6: 50.0}, None, 1.0, 1.0, {}, {})
    assert CellSearch(cell, [done]).ask() == (1, START[1])
    few = planned(
        protocol=base.model_copy(update={"start": tuple(START), "trials": 1}), space=space
    )
    assert CellSearch(few, []).first == START[:1]


def test_start_from_is_identity_where_it_has_points(tiny, tmp_path: Path):
    (tmp_path / "near.csv").write_text(
        "method,task,base_lr,weight_decay,arguments\n"
        "vpt-deep,toy,0.5,0.0,prompts=4\nvpt-deep,toy2,5.0,0.0,prompts=3\nlinear,toy,0.2,0.0,\n"
    )
    asked: dict[str, Any] = {"tasks": "toy,toy2"}
    plain = plan(tiny.request("vpt-deep,linear", **asked))
    found = plan(tiny.request("vpt-deep,linear", **asked, start_from=str(tmp_path / "near.csv")))
    started = {(cell.variant.label, cell.card.name): cell.protocol.start for cell in found.cells}
    assert started == {
        ("vpt-deep", "toy"): ({"prompts": 4, "base_lr": 0.5, "weight_decay": 0.0},),
        ("linear", "toy"): ({"base_lr": 0.2, "weight_decay": 0.0},),
        ("vpt-deep", "toy2"): (),
        ("linear", "toy2"): (),
    }
    same = {cell.key for cell in plain.cells} & {cell.key for cell in found.cells}
    assert same == {cell.key for cell in found.cells if not cell.protocol.start}
    text = "\n".join(found.warnings)
    assert "left out: vpt-deep on toy2: prompts 3, base_lr 5.0" in text
    assert "near has no settings for linear on toy2: searched from scratch" in text


def test_a_setting_of_another_variant_is_no_start(tiny, tmp_path: Path):
    """Its rank is searched, but not the maps that it changes, which are others here."""
    (tmp_path / "near.csv").write_text(
        "method,task,base_lr,weight_decay,arguments\n"
        'lora,toy,0.01,0.0,"rank=8,targets=qkv"\nlora,toy2,0.01,0.0,"rank=8,targets=qv"\n'
    )
    near = {"tasks": "toy,toy2", "start_from": str(tmp_path / "near.csv")}
    for text, starts in (("lora", [0, 1]), ("lora(targets=qkv)", [1, 1])):
        found = plan(tiny.request(text, **near))
        assert [len(cell.protocol.start) for cell in found.cells] == starts
        left = "left out: lora on toy: targets qkv" in "\n".join(found.warnings)
        assert left == (0 in starts)


def test_a_store_is_exported_run_again_and_searched_from(tiny, tmp_path: Path):
    found = plan(tiny.request("vpt-deep,linear"))
    store = Store(tiny.store)
    fill(found, store)
    chosen = {store.cells()[result.cell].labels["variant"]: result for result in store.results()}
    lines = tuned_table(store, Wanted().cells(store))
    write(lines, tmp_path / "mine.csv")
    assert lines_of(tmp_path / "mine.csv") == lines
    assert {line["seeds"] for line in lines} == {"2"}
    given = plan(tiny.request("vpt-deep,linear", hparams=str(tmp_path / "mine.csv")))
    for cell in given.cells:
        assert cell.protocol.fixed == chosen[cell.variant.label].params
    # the same store, which has grown by what began with it
    begun = [plan(tiny.request("vpt-deep", start_from=str(tiny.store)))]
    assert begun[0].cells[0].protocol.start == (chosen["vpt-deep"].params,)
    fill(RunPlan(begun[0].cells, begun[0].backbones, ("toy",), None), store)
    first = min(store.trials(begun[0].cells[0].key), key=lambda trial: trial.number)
    assert first.params == chosen["vpt-deep"].params
    begun.append(plan(tiny.request("vpt-deep", start_from=str(tiny.store))))
    assert begun[0].cells[0].key == begun[1].cells[0].key
    with pytest.raises(BadInput, match=r"vpt-deep on toy .* under quick .* under quick\+results"):
        tuned_table(store, Wanted().cells(store))
    assert len(tuned_table(store, Wanted(setting=Setting(protocol="quick")).cells(store))) == 2
