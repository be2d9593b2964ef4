"""Published numbers: read with care, held to their own means, and beside the measured ones, never
among them."""

import csv
import io
import re
from dataclasses import replace
from inspect import signature
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from harness.errors import BadInput
from harness.io.resources import published_csv
from harness.planning.registry import registered
from harness.reporting.columns import Layout
from harness.reporting.display import NOTHING
from harness.reporting.formats.terminal import LeaderboardTable
from harness.reporting.leaderboard import leaderboard
from harness.reporting.published.numbers import (
    COLUMNS,
    VARIANTS,
    PublishedRow,
    differences,
    matching_rows,
    means,
    means_checked,
    means_disagree,
    named_here,
    published,
)
from harness.reporting.published.page_columns import published_rows
from harness.reporting.published.table import published_table
from harness.reporting.rows import Rows, read
from harness.reporting.section import Section, sections
from harness.tasks.cards import load_cards, load_suites

VTAB, FGVC = list(load_suites()["vtab"].tasks), list(load_suites()["fgvc"].tasks)
IN21K, MAE = "vit_base_patch16_224.orig_in21k", "vit_base_patch16_224.mae"
MOCO, SWIN = "vit_base_patch16_224.mocov3", "swin_base_patch4_window7_224.ms_in22k"
REFERENCE = Path(__file__).resolve().parents[4].parent / "shared" / "reference"


def section(
    filler: Any,
    tasks: Any = VTAB,
    backbone: str = IN21K,
    pixels: str = "pil",
    seeds: int = 3,
    **more: Any,
) -> Section:
    """Of `linear` and `vpt`."""
    for task in tasks:
        for variant in ("linear", "vpt"):
            more.setdefault("suite", "fgvc" if task in FGVC else "vtab")
            filler.results(
                filler.cell(
                    variant, task, backbone=backbone, group=load_cards()[task].group, **more
                ),
                [50.0 + seed for seed in range(seeds)],
            )
    board = [
        replace(row, cell=replace(row.cell, pixels=pixels))
        for row in leaderboard(read(filler.store))
    ]
    (found,) = sections(board, tasks, None)
    return found


def named(found: Any, method: str) -> PublishedRow:
    (row,) = [row for row in found.rows if row.method == method]
    return row


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([",".join(COLUMNS), *lines, ""]))
    return path


def test_the_shipped_file_is_sound() -> None:
    found: Any = pd.DataFrame(published())
    assert tuple(found.columns) == COLUMNS
    assert len(found) == 1007
    assert found["metric"].value_counts().to_dict() == {"top1": 969, "mIoU-SS": 19, "mIoU-MS": 19}
    assert not found.duplicated(["method", "backbone", "pretrain", "task", "metric"]).any()
    assert found["source"].str.strip().str.len().min() > 15, "a source that says nothing"
    assert found["task"].str.startswith("mean-").sum() == 196
    assert found["value"].dtype == float
    assert found["value"].sum() == pytest.approx(
        sum(float(row["value"]) for row in csv.DictReader(published_csv().read_text().splitlines()))
    )


def test_no_row_is_there_under_two_names() -> None:
    """Another table's copy of a row, under its own name, would be read as a second measurement."""
    found = pd.DataFrame(published())
    tasks = found[~found["task"].str.startswith("mean-") & (found["metric"] == "top1")]
    rows = {
        key: dict(zip(of["task"], of["value"], strict=True))
        for key, of in tasks.groupby(["method", "backbone", "pretrain"])
    }
    for (one, numbers), (other, others) in combinations(rows.items(), 2):
        shared = [task for task in numbers if task in others]
        same = sum(numbers[task] == others[task] for task in shared)
        assert len(shared) < 4 or same < len(shared) / 2, (one, other)


def test_the_weights_are_those_that_each_source_used() -> None:
    """SSF, GPS and HST build timm 0.6.5's `vit_base_patch16_224_in21k`, whose weights are AugReg's;
    NOAH and OSU load ViT-B_16.npz."""
    found = pd.DataFrame(published())
    assert set(found.loc[found["pretrain"] == "AugReg-IN21k", "method"]) == {
        "SSF",
        "GPS(V-PETL)",
        "HST(V-PETL)",
    }
    assert set(found["pretrain"]) == {"sup-IN21k", "AugReg-IN21k", "MAE-IN1k", "MoCov3-IN1k"}
    for method in ("SSF", "GPS(V-PETL)", "HST(V-PETL)"):
        assert set(found.loc[found["method"] == method, "pretrain"]) == {"AugReg-IN21k"}


def test_numbers_carry_the_name_of_whoever_measured_them() -> None:
    found: Any = pd.DataFrame(published())
    assert not set(found["method"]) & {"LoRA(V-PETL)", "Adapter(V-PETL)", "NOAH(V-PETL)", "SPT"}
    for method in ("LoRA(NOAH)", "Adapter(NOAH)", "NOAH"):
        assert (
            found.loc[found["method"] == method, "source"]
            .str.startswith("NOAH paper Table 1")
            .all()
        )
    spt = found[found["method"] == "SPT-Shallow"]
    assert len(spt) == 8
    assert spt["source"].str.contains("VIPAMIN paper").all()
    assert (
        found.loc[(found["method"] == "BitFit") & (found["task"] == "dtd"), "source"]
        .str.startswith("VPT paper")
        .all()
    )


@pytest.mark.parametrize(
    ("method", "printed"),
    {
        **{
            "Adapter(NOAH)": 71.44,
            "LoRA(NOAH)": 72.25,
            "NOAH": 73.25,
            "SSF": 73.10,
            "BitFit": 62.05,
            "AdaptFormer(V-PETL)": 72.32,
        },
        **{
            "SCT(V-PETL)": 73.59,
            "FacT(V-PETL)": 73.23,
            "RepAdapter(V-PETL)": 73.84,
            "Hydra(V-PETL)": 74.21,
            "LST(V-PETL)": 71.70,
        },
        **{
            "DTL(V-PETL)": 74.58,
            "HST(V-PETL)": 75.99,
            "GPS(V-PETL)": 75.18,
            "LAST(V-PETL)": 74.15,
            "SNF(V-PETL)": 74.10,
        },
    }.items(),
)
def test_the_rows_of_v_petl_have_the_means_that_it_prints(method: str, printed: float) -> None:
    """The column "Mean" of its README (c188fad), which the file doesn't hold: a number copied
    wrongly would move it."""
    found = pd.DataFrame(published())
    row = found[(found["method"] == method) & (found["backbone"] == "ViT-B/16")].set_index("task")[
        "value"
    ]
    assert np.mean([row[task] for task in VTAB]) == pytest.approx(printed, abs=0.0051)


@pytest.mark.parametrize(
    ("method", "natural", "specialized", "structured"),
    [
        ("Convpass(OSU)", 81.56, 85.15, 62.35),
        ("Adapter-Houlsby(OSU)", 81.35, 85.61, 61.84),
        ("vpt-deep(OSU)", 80.08, 81.48, 58.63),
        ("vpt(OSU)", 76.77, 80.21, 41.17),
        ("BitFit(OSU)", 81.33, 84.06, 58.23),
        ("full(OSU)", 59.70, 78.36, 47.50),
        ("linear(OSU)", 68.94, 80.54, 32.07),
    ],
)
def test_the_rows_of_osu_have_the_group_means_of_their_files(
    method: str, natural: float, specialized: float, structured: float
) -> None:
    """Taken once from the 19 `final_result.json` of each method (cea7e21)."""
    found = pd.DataFrame(published())
    row = found[found["method"] == method].set_index("task")["value"]
    groups = [
        means()[name]
        for name in ("mean-vtab_natural7", "mean-vtab_specialized4", "mean-vtab_structured8")
    ]
    got = [np.mean([row[task] for task in group]) for group in groups]
    assert got == pytest.approx([natural, specialized, structured], abs=0.0051)


def test_the_means_are_over_as_many_tasks_as_they_say() -> None:
    sizes = {name: len(tasks) for name, tasks in means().items()}
    assert sizes == {
        "mean-vtab_natural7": 7,
        "mean-vtab_specialized4": 4,
        "mean-vtab_structured8": 8,
        "mean-fgvc5": 5,
        "mean-vtab19_tasks": 19,
        "mean-vtab3_groups": 19,
    }
    assert means()["mean-vtab_natural7"] + means()["mean-vtab_specialized4"] + means()[
        "mean-vtab_structured8"
    ] == tuple(VTAB)


def test_the_published_means_agree_with_the_published_numbers() -> None:
    """By hand: of 196 printed means 49 can be recomputed; the largest distance is VPT-Shallow's on
    FGVC, 84.62 for 84.66."""
    found = published()
    assert means_checked(found) == (49, 196)
    assert means_disagree(found) == []
    vpt = {
        number.task: number.value
        for number in found
        if (number.method, number.pretrain) == ("vpt", "sup-IN21k")
    }
    assert vpt["mean-fgvc5"] == 84.62
    assert np.mean([vpt[task] for task in FGVC]) == pytest.approx(84.66)


@pytest.mark.parametrize(
    ("method", "mean", "off", "said"),
    [
        ("vpt", "mean-fgvc5", 0.07, "mean-fgvc5 is printed as 84.55, its own numbers give 84.66"),
        (
            "full",
            "mean-vtab_natural7",
            -0.2,
            "mean-vtab_natural7 is printed as 76.08, its own numbers give 75.89",
        ),
        (
            "linear",
            "mean-vtab19_tasks",
            10.0,
            "mean-vtab19_tasks is printed as 42.94, its own numbers give 52.94",
        ),
        (
            "vpt-deep",
            "mean-vtab3_groups",
            0.12,
            "mean-vtab3_groups is printed as 71.84, its own numbers give 71.97",
        ),
        (
            "DA-VPT",
            "mean-vtab3_groups",
            1.0,
            "mean-vtab3_groups is printed as 73.69, its own numbers give 74.69",
        ),
    ],
)
def test_a_mean_that_disagrees_is_named(method: str, mean: str, off: float, said: str) -> None:
    place = (method, "sup-IN21k", mean)
    numbers = [
        replace(number, value=number.value - off)
        if (number.method, number.pretrain, number.task) == place
        else number
        for number in published()
    ]
    assert means_disagree(numbers) == [f"{method} on ViT-B/16 (sup-IN21k): {said}"]


def test_the_two_means_of_vtab_are_not_taken_for_each_other() -> None:
    other = {"mean-vtab19_tasks": "mean-vtab3_groups", "mean-vtab3_groups": "mean-vtab19_tasks"}
    numbers = [replace(number, task=other.get(number.task, number.task)) for number in published()]
    assert len(means_disagree(numbers)) > 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "vpt,ViT-B/16,sup-IN21k,cifar100,top1,many,a paper",
            "line 3: the value 'many' isn't a number",
        ),
        (
            "vpt,ViT-B/16,sup-IN21k,cifar100,top1,nan,a paper",
            "line 3: the value nan isn't a percentage",
        ),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top1,100.1,a paper", "isn't a percentage"),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top1,-1,a paper", "isn't a percentage"),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top1,50,", "line 3: no source"),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top1,50", "line 3: 6 columns, expected 7"),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top1,50,a,b", "line 3: 8 columns, expected 7"),
        (
            "vpt,ViT-B/16,sup-IN21k,cifar10,top1,50,a paper",
            "unknown task 'cifar10'. Did you mean 'cifar100'",
        ),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top5,50,a paper", "unknown metric 'top5'"),
        ("vpt,ViT-B/16,sup-IN21k,dtd,top1,50,a paper", "line 3: repeats the number of line 2"),
        ("vpt,ViT-B/16,sup-IN21k,cifar100,top1,50,a\x1b[31m paper", "control character in source"),
    ],
)
def test_a_fault_is_said_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    good = "vpt,ViT-B/16,sup-IN21k,dtd,top1,60.5,a paper"
    assert len(published(written(tmp_path / "good.csv", good))) == 1
    with pytest.raises(BadInput) as caught:
        published(written(tmp_path / "bad.csv", good, line))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "songs.csv").write_text("song,length\nx,1\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00\x81" * 50)
    for name in ("songs.csv", "empty.csv", "bytes.csv", "absent.csv"):
        with pytest.raises(BadInput, match=name):
            published(tmp_path / name)


def test_beside_vtab_are_the_papers_numbers_on_the_same_backbone(filler: Any) -> None:
    found = matching_rows(section(filler), published())
    assert found.reason is None
    vpt = named(found, "vpt-deep")
    assert (vpt.backbone, vpt.pretrain, vpt.metric) == ("ViT-B/16", "sup-IN21k", "top1")
    assert list(vpt.numbers) == VTAB
    assert (
        vpt.numbers["cifar100"],
        vpt.means["mean-vtab_natural7"],
        vpt.means["mean-vtab19_tasks"],
    ) == (78.8, 78.48, 69.43)
    assert "mean-fgvc5" not in vpt.means
    assert vpt.source.startswith("VPT paper Table 13")
    assert "FGVC" not in vpt.source
    assert {"full", "linear", "vpt", "LoRA(NOAH)", "SSF(OSU)", "SA2VP"} <= {
        row.method for row in found.rows
    }
    assert not {"SSF", "GPS(V-PETL)"} & {row.method for row in found.rows}, (
        "they were measured on AugReg's weights"
    )
    assert "GateVPT" not in {row.method for row in found.rows}, "it was measured on other backbones"


def test_means_over_tasks_that_were_not_measured_are_left_out(filler: Any) -> None:
    found = matching_rows(section(filler, [*VTAB[:3], *VTAB[7:11]]), published())
    vpt = named(found, "vpt")
    assert list(vpt.numbers) == [*VTAB[:3], *VTAB[7:11]]
    assert set(vpt.means) == {"mean-vtab_specialized4"}
    assert set(named(found, "SA2VP").means) == {"mean-vtab_specialized4"}
    assert named(found, "SA2VP").numbers == {}


def test_another_backbone_is_said(filler: Any) -> None:
    other = section(filler, ["cifar100"], "mini_vit")
    found = matching_rows(other, published())
    assert (found.reason, named(found, "vpt-deep").numbers) == (None, {"cifar100": 78.8})
    assert (
        differences(other, named(found, "vpt-deep"))[0]
        == "backbone: mini_vit here, ViT-B/16 (sup-IN21k) there"
    )


def test_other_tasks_have_none(filler: Any) -> None:
    small = matching_rows(section(filler, ["digits"], "mini_vit", suite="mini"), published())
    assert (small.rows, small.reason) == (
        (),
        "no paper's numbers on these tasks are known",
    )


def test_no_number_on_these_tasks_is_said(filler: Any) -> None:
    found = matching_rows(section(filler, ["digits"], suite="mini"), published())
    assert (found.rows, found.reason) == (
        (),
        "no paper's numbers on these tasks are known",
    )


def test_augreg_is_matched_to_augreg(filler: Any) -> None:
    found = matching_rows(section(filler, VTAB, "vit_base_patch16_224.augreg_in21k"), published())
    assert {row.method for row in found.rows} == {"SSF", "GPS(V-PETL)", "HST(V-PETL)"}


def test_mae_is_matched_to_mae(filler: Any) -> None:
    found = matching_rows(section(filler, FGVC, MAE), published())
    assert {row.pretrain for row in found.rows} == {"MAE-IN1k"}
    assert named(found, "GateVPT").means["mean-fgvc5"] == 73.39


@pytest.mark.parametrize(
    ("backbone", "pretrain", "methods"),
    [
        (SWIN, ("Swin-B", "sup-IN21k"), {"full", "linear", "vpt", "vpt-deep", "BitFit"}),
        (MAE, ("ViT-B/16", "MAE-IN1k"), {"full", "linear", "vpt", "GateVPT", "SPT-Deep"}),
        (MOCO, ("ViT-B/16", "MoCov3-IN1k"), {"full", "linear", "vpt", "GateVPT", "SPT-Deep"}),
    ],
)
def test_beside_other_backbones_are_their_own_rows_alone(
    filler: Any, backbone: str, pretrain: tuple[str, str], methods: set[str]
) -> None:
    """Of VTAB papers print the means of groups alone; each is beside the measured one."""
    part = section(filler, backbone=backbone)
    found = matching_rows(part, published())
    assert {(row.backbone, row.pretrain) for row in found.rows} == {pretrain}
    assert methods <= {row.method for row in found.rows}
    assert not any(phrase.startswith("backbone") for phrase in differences(part, found.rows[0]))
    grid = published_table(part, published(), groups=True).grid
    assert grid[0][1:4] == ["natural (7)", "specialized (4)", "structured (8)"]
    assert all(NOTHING not in row[1:4] for row in grid if row[0].startswith(("full", "vpt")))
    columns = {
        column: value
        for row in published_rows(part, published())["rows"]
        if row["method"] == "vpt-deep"
        for column, value, *_ in row["values"]
    }
    vpt = named(found, "vpt-deep").means
    assert columns == {f"group,{place}": value for place, value in enumerate(vpt.values())}


def test_swins_rows_are_those_of_vpts_table_2(filler: Any) -> None:
    rows = matching_rows(section(filler, backbone=SWIN), published())
    assert {row.method: tuple(row.means.values()) for row in rows.rows} == {
        "full": (79.10, 86.21, 59.65),
        "linear": (73.52, 80.77, 33.52),
        "vpt": (79.85, 82.45, 37.75),
        "vpt-deep": (76.78, 84.53, 53.35),
        "BitFit": (74.19, 80.14, 42.42),
    }
    assert {row.source for row in rows.rows} == {"VPT paper Table 2 as transcribed in the VPT note"}


def test_of_swin_on_fgvc_there_are_none_and_of_others_it_is_said(filler: Any) -> None:
    found = matching_rows(section(filler, FGVC, SWIN), published())
    assert (found.rows, found.reason) == (
        (),
        "no paper's numbers on these tasks with Swin-B (sup-IN21k) are known",
    )


def test_other_weights_of_swin_are_not_taken_for_vpts(filler: Any) -> None:
    other = section(filler, backbone=f"{SWIN}_ft_in1k")
    first = matching_rows(other, published()).rows[0]
    assert (first.backbone, first.pretrain) == ("ViT-B/16", "sup-IN21k")
    assert differences(other, first)[0].startswith(f"backbone: {SWIN}_ft_in1k here, ViT-B/16")


@pytest.mark.parametrize(
    ("backbone", "found", "gate"),
    [
        ("vit_large_patch16_224.orig_in21k", ("ViT-L/16 + SETR-PUP", "sup-IN21k"), []),
        (MAE, ("ViT-B/16 + SETR-PUP", "MAE-IN1k"), [38.44]),
        (MOCO, ("ViT-B/16 + SETR-PUP", "MoCov3-IN1k"), [36.81]),
    ],
)
def test_in_segmentation_too(
    filler: Any, backbone: str, found: tuple[str, str], gate: list[float]
) -> None:
    """GateVPT's Table 3, at one scale."""
    part = section(filler, ["ade20k"], backbone, suite="ade20k", metric="miou")
    rows = matching_rows(part, published()).rows
    assert {(row.backbone, row.pretrain) for row in rows} == {found}
    assert [row.numbers["ade20k"] for row in rows if row.method == "GateVPT"] == gate


def test_each_published_method_is_one_of_ours_or_known_not_to_be() -> None:
    """A name that isn't matched stands alone, and is compared with all methods."""
    ours = {named_here(number.method) for number in published()}
    absent = {"gps", "hst", "hydra", "last", "lst", "snf", "spt-lora", "viapt", "vpt-deep+bias"}
    assert ours - registered().keys() == absent
    assert {
        named_here(name) for name in ("GateVPT", "BitFit(V-PETL)", "SPT-Shallow", "SPT-Deep")
    } == {
        "gate-vpt",
        "bitfit",
        "self-prompt",
    }
    assert set(VARIANTS) <= {number.method.partition("(")[0].lower() for number in published()}
    for method, arguments in VARIANTS.items():
        ours_of = signature(registered()[named_here(method)].load()).parameters
        assert arguments.keys() <= ours_of.keys()


RENAMED = {
    **{"LoRA(V-PETL)": "LoRA(NOAH)", "Adapter(V-PETL)": "Adapter(NOAH)", "NOAH(V-PETL)": "NOAH"},
    "SPT": "SPT-Shallow",
    "SPT-LoRA(sensitivity-aware, not Self-Prompt-Tuning)": "SPT-LoRA(sensitivity-aware)",
}
"""Rows that reference files have under another name: results/README.md says why."""

ELSEWHERE = {"SPT-Deep", "SPT-LoRA(sensitivity-aware)", "VIPAMIN"}
"""Methods with numbers that were read elsewhere than in their tables."""


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs ../shared/reference")
def test_row_by_row_nothing_of_the_reference_files_is_missing_or_other() -> None:
    shipped = {
        (number.method, number.backbone, number.pretrain, number.task, number.metric): number.value
        for number in published()
    }
    read_ = {}
    for name in ("published.csv", "peft_published_rows.csv"):
        with (REFERENCE / name).open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                method, pretrain = RENAMED.get(line["method"], line["method"]), line["pretrain"]
                if method in ("SSF", "HST(V-PETL)"):  # both build AugReg's weights
                    pretrain = "AugReg-IN21k"
                key = (method, line["backbone"], pretrain, line["task"], line["metric"])
                read_[key] = float(line["value"])
    assert len(read_) > 900
    assert {key: shipped.get(key) for key in read_} == read_
    others = {key for key in shipped if key not in read_}
    assert {method for method, *_ in others} == ELSEWHERE
    assert {(backbone, task) for _, backbone, _, task, _ in others} == {
        ("ViT-B/16", name) for name in means()
    }


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs ../shared/reference")
def test_nor_what_its_notes_say_of_mae_and_moco_v3() -> None:
    shipped = {
        (number.method.partition("(")[0], number.pretrain, number.task): number.value
        for number in published()
        if number.backbone == "ViT-B/16"
    }
    peft, prompts = (
        (REFERENCE / f"{name}_family.md").read_text(encoding="utf-8") for name in ("peft", "prompt")
    )
    groups = ["mean-vtab_natural7", "mean-vtab_specialized4", "mean-vtab_structured8"]
    four = r"([\d.]+)/([\d.]+)/([\d.]+) \(([\d.]+)\)"
    (found,) = re.findall(rf"SPT-LoRA MAE {four}, MoCo {four}", peft)
    for pretrain, values in (("MAE-IN1k", found[:4]), ("MoCov3-IN1k", found[4:])):
        for task, value in zip([*groups, "mean-vtab3_groups"], values, strict=True):
            assert shipped["SPT-LoRA", pretrain, task] == float(value)
    (deep,) = re.findall(
        r"SPT-Deep MoCo Natural ([\d.]+), FGVC ([\d.]+); MAE Natural ([\d.]+)", prompts
    )
    assert [
        shipped["SPT-Deep", "MoCov3-IN1k", groups[0]],
        shipped["SPT-Deep", "MoCov3-IN1k", "mean-fgvc5"],
        shipped["SPT-Deep", "MAE-IN1k", groups[0]],
    ] == list(map(float, deep))


def test_a_mean_that_disagrees_is_said_beside_its_own_backbone_alone(filler: Any) -> None:
    numbers = [
        replace(number, value=10.0)
        if (number.method, number.pretrain, number.task)
        == ("vpt", "sup-IN21k", "mean-vtab19_tasks")
        else number
        for number in published()
    ]
    said = "vpt on ViT-B/16 (sup-IN21k): mean-vtab19_tasks is printed as 10"
    for backbone, count in ((IN21K, 1), (MAE, 0), (SWIN, 0)):
        part = section(filler, backbone=backbone)
        notes = published_table(part, numbers, groups=True).notes
        assert sum(note.startswith(said) for note in notes) == count
        assert len(published_rows(part, numbers)["faults"]) == count


def test_what_sets_a_section_apart_is_said(filler: Any) -> None:
    part = section(filler)
    vpt = named(matching_rows(part, published()), "vpt")
    found = differences(part, vpt)
    assert found[0] == "pixels: pil here, tf there"
    assert "seeds: 3 here, 5 there" in found
    assert not any("not known" in phrase for phrase in found), (
        "its means by others are of its own numbers"
    )
    other = named(matching_rows(part, published()), "SNF(V-PETL)")
    assert differences(part, other) == ["how it was made: not known for its source"]
    mixed = PublishedRow(**{**vars(vpt), "sources": {**vpt.sources, "dtd": "a paper"}})
    assert differences(part, mixed)[-1] == "how it was made: not known for some of its sources"
    assert "pixels: pil here, tf there" in differences(part, mixed)


def test_another_metric_and_backbone_are_said(filler: Any) -> None:
    part = section(filler, ["cifar100", "dtd"])
    other = PublishedRow(
        "vpt",
        "ViT-B/16",
        "MAE-IN1k",
        "mIoU-MS",
        {"ade20k": 40.0},
        {},
        {"ade20k": "VPT paper segmentation table"},
    )
    assert differences(part, other) == [
        f"backbone: {IN21K} here, ViT-B/16 (MAE-IN1k) there",
        "metric: top1 here, mIoU-MS there",
        "how it was made: not known for its source",
    ]


def test_published_numbers_cannot_get_into_a_leaderboard(filler: Any) -> None:
    filler.results(filler.cell("vpt", "cifar100", backbone=IN21K), [50.0, 51.0])
    rows = read(filler.store)
    with pytest.raises(AttributeError):
        leaderboard(Rows((*rows.runs, *published()), ()))  # type: ignore[arg-type]
    assert not set(PublishedRow.__annotations__) & {"score", "scores", "seed", "variant", "mean"}


def test_notes_say_a_source_once(filler: Any) -> None:
    notes = published_table(section(filler, backbone=SWIN), published(), groups=True).notes
    table = "VPT paper Table 2 as transcribed in the VPT note."
    assert [note for note in notes if table in note] == [f"[1 to 5] {table}"]
    assert not any("best epoch on test" in note for note in notes), "VPT reports the last one"


def test_notes_say_what_choosing_on_test_is_worth_and_what_isnt_known(filler: Any) -> None:
    notes = published_table(section(filler, backbone=MAE), published(), groups=True).notes
    assert any("best epoch on test" in note for note in notes), "SPT's means alone are there"
    assert any(note.startswith("Not known of [") and "pixels" in note for note in notes)
    assert not any("not known for its source" in note for note in notes)


@pytest.mark.parametrize(("width", "left_out"), [(80, ""), (60, "natural (7), specialized (4)")])
def test_in_a_terminal_names_break_before_columns_go(
    filler: Any, width: int, left_out: str
) -> None:
    part = section(filler, backbone=MAE)
    printed = io.StringIO()
    Console(file=printed, width=width).print(LeaderboardTable([part], Layout(), published()))
    text = printed.getvalue().partition("Published")[2]
    assert max(map(len, text.splitlines())) <= width
    assert re.search(r"^SPT-LoRA .*69\.80", text, re.MULTILINE)
    assert re.search(r"^\(sensitivity-aware\) \[\d+\]", text, re.MULTILINE)
    assert ("Left out here" in text) == bool(left_out)
    assert left_out in text
    assert ("59.29" in text) == (width == 80)
