"""The page's file: what its data say, that nothing in them is HTML, that it loads nothing, and how
large it gets."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic_store
from scipy.stats import rankdata

from harness.errors import BadInput
from harness.reporting.columns import Layout
from harness.reporting.contents import Contents
from harness.reporting.costs import BUDGETS
from harness.reporting.figures import figure
from harness.reporting.formats.page.html import page, write
from harness.reporting.formats.page.runs import thinned
from harness.reporting.published.numbers import PublishedNumber
from harness.reporting.report import Report
from harness.reporting.statistics.friedman import friedman
from harness.reporting.statistics.intervals import bootstrap, interval
from harness.reporting.statistics.wilcoxon import pairwise
from harness.reporting.toggle_families import arguments
from harness.store import Store
from harness.tasks.cards import load_cards, load_suites

TASKS = {
    "digits": "natural",
    "fashion": "natural",
    "location": "structured",
    "orientation": "structured",
    "count": "structured",
}
VARIANTS = ("linear", "vpt", "vpt-deep", "ivpt(da=false)")
NOTE = "ivpt is a reading; not the paper's numbers."
SCORES = np.random.default_rng(0).uniform(30, 99, size=(len(VARIANTS), len(TASKS), 3)).round(2)
NASTY = "</script><script>alert(1)</script>\"'&<!--\u2028"


def _page(store: Store, live: str = "", numbers: Any = None, **options: Any) -> str:
    return page(Contents(store, **options), live, numbers)


@pytest.fixture
def mini(filler: Any) -> Store:
    """4 variants x 5 tasks x 3 seeds."""
    for row, variant in enumerate(VARIANTS):
        for column, (task, group) in enumerate(TASKS.items()):
            key = filler.cell(
                variant, task, group=group, note=NOTE if variant.startswith("ivpt") else ""
            )
            filler.trials(key, 2 if variant == "linear" else 5)
            filler.results(key, SCORES[row, column].tolist(), trainable=1000 * row)
    return filler.store


def _block(text: str, name: str) -> Any:
    found = re.search(
        rf'<script type="application/json" id="{name}">(.*?)</script>', text, re.DOTALL
    )
    assert found is not None
    return json.loads(found[1])


def _only(text: str) -> dict[str, Any]:
    (section,) = _block(text, "about")["sections"]
    return section


def test_every_number_is_numpys(mini: Store) -> None:
    section = _only(_page(mini))
    means = SCORES.mean(axis=2)
    order = np.argsort(-means.mean(axis=1))
    assert [said["name"] for said in section["variants"]] == [VARIANTS[row] for row in order]
    assert [task["name"] for task in section["tasks"]] == list(TASKS)
    assert [group["tasks"] for group in section["groups"]] == [[0, 1], [2, 3, 4]]
    groups = np.array([means[:, :2].mean(axis=1), means[:, 2:].mean(axis=1)])
    for of_group, shown in zip(groups, section["groups"], strict=True):
        _check_column(shown["cells"], of_group[order], 2)
    mean, mean_of_groups, rank = section["statistics"]
    _check_column(mean["cells"], means.mean(axis=1)[order], 2)
    _check_column(mean_of_groups["cells"], groups.mean(axis=0)[order], 2)
    ranks = rankdata(-means, axis=0).mean(axis=1)
    _check_column(rank["cells"], ranks[order], 2, lowest=True)
    for said, cells in zip(section["variants"], section["cells"], strict=True):
        row = VARIANTS.index(said["name"])
        assert said["params"] == [1000 * row, f"{row}k" if row else "0"]
        low, high = bootstrap(means[row].tolist()) or (0, 0)
        assert said["summary"][1][1].startswith(f"[{low:.2f}, {high:.2f}] ")
        for column, (value, n, text, small, facts, gaps) in enumerate(cells):
            seeds = SCORES[row, column]
            low, high = interval(seeds.tolist()) or (0, 0)
            std, place = seeds.std(ddof=1), 1 + (means[:, column] > seeds.mean()).sum()
            assert (value, n, gaps) == (pytest.approx(seeds.mean(), abs=1e-5), 3, [])
            assert (text, small) == (f"{seeds.mean():.1f}", f"±{std:.1f}")
            ends = f"[{low:.2f}, {high:.2f}]"
            assert facts == [f"{seeds.mean():.2f}", f"{std:.2f}", ends, f"{place} of 4"]


def _check_column(cells: list[Any], values: np.ndarray, digits: int, lowest: bool = False) -> None:
    """Numbers, their texts, and who is first and second."""
    assert [cell[0] for cell in cells] == pytest.approx(values.tolist(), abs=1e-5)
    assert [cell[1] for cell in cells] == [f"{value:.{digits}f}" for value in values]
    best = sorted(set(values.round(digits)), reverse=not lowest)
    places = {value: place for place, value in enumerate(best[:2], 1)}
    assert [cell[3] for cell in cells] == [places.get(value, 0) for value in values.round(digits)]


def test_every_number_is_shown_as_the_other_formats_show_it(mini: Store) -> None:
    """The text of a score, a mean, a rank and a count is that of the Markdown table."""
    section = _only(_page(mini, layout=Layout(columns=("params", *BUDGETS))))
    lines = str(Report(mini, layout=Layout(columns=("params", *BUDGETS))).render("md")).splitlines()
    titles, *rows = (line.strip("| ").split(" | ") for line in lines if line.startswith("| "))
    for place, row in enumerate(rows[1:]):
        shown = {title: re.sub(r"[*≈]", "", text) for title, text in zip(titles, row, strict=True)}
        variant = section["variants"][place]
        assert variant["name"] == shown["Method"]
        for task, cell in zip(section["tasks"], section["cells"][place], strict=True):
            assert f"{cell[2]} {cell[3]}" == shown[task["title"]]
        for statistic in section["statistics"]:
            if statistic["title"] in shown:
                assert statistic["cells"][place][1] == shown[statistic["title"]]
        for title, name in (
            *(("Params", "params"), ("Year", "year"), ("Train GFLOP", "flops")),
            *(("Trials", "trials"), ("Units", "units")),
        ):
            assert variant[name][1] == shown[title]
        assert variant["length"] == ["Epochs", shown["Epochs"]]
    assert {"Mean of 5", "Rank"} <= set(titles)


def test_the_front_is_the_figures(filler: Any) -> None:
    """Of two variants of equal cost and score, both are on it."""
    for variant, score, trainable in (("a", 60.0, 10), ("b", 60.0, 10), ("c", 50.0, 20)):
        filler.results(filler.cell(variant, "digits"), [score], trainable=trainable)
    section = _only(_page(filler.store))
    names = [variant["name"] for variant in section["variants"]]
    (_, _, fronts), *_ = section["tradeoff"]["scores"]
    assert {names[place] for place in fronts["params"]} == {"a", "b"}
    drawn = figure("tradeoff", Contents(filler.store).sections)
    (line,) = (line for line in drawn.axes[0].lines if line.get_gid() == "front")
    assert len(np.asarray(line.get_xdata())) == 2


def test_places_are_by_what_is_shown(filler: Any) -> None:
    for variant, seeds in {"a": [90.0, 90.08], "b": [89.9, 90.02], "c": [80.0, 80.0]}.items():
        filler.results(filler.cell(variant, "digits"), seeds)
    section = _only(_page(filler.store))
    assert [said["name"] for said in section["variants"]] == ["a", "b", "c"]
    (task,) = section["tasks"]
    assert (task["places"], task["near"]) == ([1, 1, 2], [1])


def test_the_runs_are_behind_their_cells(mini: Store) -> None:
    text = _page(mini)
    section, runs = _only(text), _block(text, "runs")
    for said, cells in zip(section["variants"], runs["cells"][0], strict=True):
        for column, made in enumerate(cells):
            scores = SCORES[VARIANTS.index(said["name"]), column].tolist()
            assert [run[1] for run in made] == [0, 1, 2]
            for run, score in zip(made, scores, strict=True):
                id, _, texts, places, curve, logged = run
                assert mini.result(id)[0].score == score
                assert texts[0] == f"{score:.2f}"
                assert texts[2:4] == ["1.00 GB", "1M"]
                params, epochs, *_ = (
                    values[place]
                    for values, place in zip(runs["shared"].values(), places, strict=True)
                )
                assert (params, epochs, curve) == ({}, [10], [round(score, 1)])
                assert logged == {}


def test_curves_are_thinned_and_keep_their_ends(filler: Any) -> None:
    epochs = [float(epoch) for epoch in range(2, 102, 2)]
    loss = [None if epoch == 4 else 1 / epoch for epoch in epochs]
    curves = {"epoch": epochs, "loss": loss, "lr": [0.123456] * 50}
    filler.results(filler.cell("a", "digits"), [60.0, 61.0], curves=curves)
    runs = _block(_page(filler.store), "runs")
    for *_, places, _, logged in runs["cells"][0][0][0]:
        steps = runs["shared"]["steps"][places[list(runs["shared"]).index("steps")]]
        assert (steps[0], steps[-1], len(steps)) == (2, 100, 24)
        assert logged["loss"] == [
            float(f"{value:.3g}") if (value := loss[epochs.index(step)]) else None for step in steps
        ]
        assert logged["lr"] == [0.123] * 24


def test_tests_are_those_of_the_project(mini: Store) -> None:
    tests = _only(_page(mini))["tests"]
    scores = {
        variant: dict(zip(TASKS, SCORES.mean(axis=2)[row].tolist(), strict=True))
        for row, variant in enumerate(VARIANTS)
    }
    found: Any = friedman(scores, list(TASKS))
    difference = found.critical_difference
    assert tests["friedman"]["critical_difference"] == [
        pytest.approx(difference, abs=1e-5),
        f"{difference:.2f}",
    ]
    assert [rank for rank, *_ in tests["friedman"]["ranks"]] == pytest.approx(
        list(found.ranks.values()), abs=1e-5
    )
    assert ("The methods differ" in tests["friedman"]["lead"]) == (found.f_p < tests["level"])
    assert (len(tests["pairs"]), tests["against"], tests["chosen"]) == (6, None, False)
    tests = _only(_page(mini, layout=Layout(baseline="vpt-deep")))["tests"]
    pairs: Any = {pair.one: pair for pair in pairwise(scores, list(TASKS), "vpt-deep")}  # type: ignore[union-attr]
    names = [said["name"] for said in _only(_page(mini))["variants"]]
    assert {names[pair["other"]] for pair in tests["pairs"]} == {"vpt-deep"}
    for row in tests["pairs"]:
        pair = pairs[names[row["one"]]]
        assert [row[name] for name in ("wins", "ties", "losses")] == [
            pair.wins,
            pair.ties,
            pair.losses,
        ]
        assert row["mean"] == [
            pytest.approx(pair.mean, abs=1e-5),
            f"{pair.mean:+.2f}".replace("-", "\u2212"),
        ]
        differs = "better" if pair.effect > 0 else "worse"
        assert row["verdict"] == (differs if pair.p_holm < 0.05 else "not shown to differ")


def test_too_few_tasks_for_a_test_is_a_sentence(filler: Any) -> None:
    for variant in ("a", "b", "c"):
        filler.results(filler.cell(variant, "digits"), [50.0])
    tests = _only(_page(filler.store))["tests"]
    assert tests["friedman"] == "Friedman's test needs at least 5 tasks; there is 1."
    assert tests["pairs"] == "Wilcoxon's test needs at least 5 tasks; there is 1."


def test_gaps_have_their_reason_and_no_rank(mini: Store, filler: Any) -> None:
    filler.results(filler.cell("late", "digits", group="natural"), [50.0])
    filler.failure(filler.cell("late", "fashion", group="natural"), 1, "out of\nmemory")
    section = _only(_page(filler.store))
    late = section["variants"][-1]
    assert (late["name"], late["tasks"]) == ("late", 1)
    mean, _, rank = (statistic["cells"][-1] for statistic in section["statistics"])
    assert (mean, rank) == ([None, "50.00", "1/5", 0], [None, "\u2013", "", 0])
    assert [group["cells"][-1] for group in section["groups"]] == [
        [None, "50.00", "1/2", 0],
        [None, "\u2013", "", 0],
    ]
    digits, fashion, *rest = section["cells"][-1]
    assert digits[0] == 50.0
    assert (fashion[0], fashion[1], fashion[5]) == (None, 0, [[1, "out of memory"]])
    assert rest == [None, None, None]
    assert section["tests"]["dropped"] == [[4, list(TASKS)[1:]]]
    assert "4 of 25 cells" in _page(filler.store)


def test_unequal_budgets_and_readings_are_flagged(mini: Store) -> None:
    section = _only(_page(mini))
    said = {said["name"]: said for said in section["variants"]}
    assert {name for name, of in said.items() if of["unequal"]} == {"linear"}
    assert {
        name: section["readings"][of["reading"]]
        for name, of in said.items()
        if of["reading"] is not None
    } == {VARIANTS[3]: NOTE}


def test_sections_are_kept_apart(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    filler.results(filler.cell("vpt", "digits", backbone="vit", sha="cd" * 32), [60.0])
    titles = [section["title"] for section in _block(_page(filler.store), "about")["sections"]]
    assert titles == ["mini · mini_vit · protocol mini", "mini · vit · protocol mini"]


def test_an_ablation_is_found_and_held_against_all_off(filler: Any) -> None:
    scores = {
        "mine": 60.0,
        "mine(a=false)": 57.0,
        "mine(a=false,b=false)": 55.0,
        "mine(a=false,b=false,k=3)": 1.0,
        "other(k=3)": 2.0,
    }
    for variant, score in scores.items():
        for index, task in enumerate(TASKS):
            filler.results(filler.cell(variant, task), [score + index, score + index])
    section = _only(_page(filler.store))
    (family,) = section["families"]
    names = [said["name"] for said in section["variants"]]
    assert (family["name"], family["toggles"], family["all_off"]) == ("mine", ["a", "b"], True)
    assert names[family["reference"]] == "mine(a=false,b=false)"
    found = {names[place]: (on, apart, texts) for place, on, apart, texts in family["settings"]}
    assert found == {
        "mine(a=false,b=false)": ([False, False], None, ["reference", ""]),
        "mine(a=false)": ([False, True], [2.0, 2.0, 2.0], ["+2.00", "[+2.00, +2.00]"]),
        "mine": ([True, True], [5.0, 5.0, 5.0], ["+5.00", "[+5.00, +5.00]"]),
    }


def test_a_variants_arguments_are_read_as_written() -> None:
    assert arguments("ivpt(b=false, a=x,y,k=3)") == {"a": "x,y", "b": "false", "k": "3"}
    assert arguments("vpt") == {}


def _vtab(filler: Any, **other: Any) -> None:
    """A variant on all of VTAB-1k."""
    cards = load_cards()
    for task in load_suites()["vtab"].tasks:
        key = filler.cell(
            "vpt",
            task,
            suite="vtab",
            group=cards[task].group,
            backbone="vit_base_patch16_224.orig_in21k",
            **other,
        )
        filler.results(key, [50.0])


def test_published_numbers_are_beside_and_never_among(filler: Any) -> None:
    _vtab(filler)
    common = {"backbone": "ViT-B/16", "pretrain": "sup-IN21k", "metric": "top1"}
    lines = [
        {"method": "vpt", "task": "cifar100", "value": 99.5, "source": NASTY, **common},
        {
            "method": "vpt",
            "task": "mean-vtab_natural7",
            "value": 88.5,
            "source": "a paper",
            **common,
        },
        {
            "method": "vpt",
            "task": "mean-vtab19_tasks",
            "value": 77.5,
            "source": "a paper",
            **common,
        },
        {
            "method": "vpt",
            "task": "mean-vtab3_groups",
            "value": 66.5,
            "source": "a paper",
            **common,
        },
        {"method": "BitFit", "task": "dtd", "value": 55.5, "source": "a paper", **common},
        {"method": "vpt", "task": "nabirds", "value": 3.0, "source": "of another task", **common},
        {
            "method": "vpt",
            "task": "dtd",
            "value": 4.0,
            "source": "of another backbone",
            **common,
            "backbone": "Swin-B",
        },
    ]
    section = _only(_page(filler.store, numbers=[PublishedNumber(**line) for line in lines]))
    vpt, bitfit = section["published"]["rows"]
    assert [(column, value) for column, value, *_ in vpt["values"]] == [
        ("task,0", 99.5),
        ("group,0", 88.5),
        ("mean", 77.5),
        ("mean_of_groups", 66.5),
    ]
    assert [section["published"]["sources"][place] for *_, place, _ in vpt["values"]] == [
        NASTY.replace("\u2028", " "),
        *["a paper"] * 3,
    ]
    assert (vpt["key"], bitfit["key"]) == ("vpt", "bitfit")
    assert [section["published"]["phrases"][place] for place in vpt["apart"]] == [
        "how it was made: not known for its source"
    ]
    assert [said["name"] for said in section["variants"]] == ["vpt"]
    assert section["statistics"][0]["cells"] == [[50.0, "50.00", "", 0]]


def test_shipped_published_numbers_find_their_places(filler: Any) -> None:
    _vtab(filler)
    section = _only(_page(filler.store))
    (vpt,) = (row for row in section["published"]["rows"] if row["method"] == "vpt")
    columns = {column for column, *_ in vpt["values"]}
    assert columns == {
        *(f"task,{index}" for index in range(19)),
        *(f"group,{index}" for index in range(3)),
        "mean",
        "mean_of_groups",
    }
    keys = {row["method"]: row["key"] for row in section["published"]["rows"]}
    wanted = {
        "BitFit(OSU)": "bitfit",
        "AdaptFormer(OSU)": "adaptformer",
        "Adapter-Houlsby(OSU)": "houlsby",
        "Adapter-Pfeiffer(OSU)": "pfeiffer",
        "LoRA(NOAH)": "lora",
        "vpt-deep(OSU)": "vpt-deep",
        "full": "full",
    }
    assert {method: keys[method] for method in wanted} == wanted


def test_without_published_numbers_the_page_says_why(filler: Any) -> None:
    filler.results(filler.cell("vpt", "digits"), [50.0])
    found = _only(_page(filler.store))["published"]
    assert found["reason"].startswith("no paper's numbers on these tasks")
    assert not any(found[name] for name in ("rows", "sources", "phrases", "faults"))


def test_what_comes_from_outside_stays_data(filler: Any) -> None:
    key = filler.cell(
        f"x({NASTY})", NASTY, suite=NASTY, group=NASTY, note=NASTY, name=NASTY, backbone=NASTY
    )
    filler.results(key, [50.0])
    filler.failure(
        filler.cell("y", NASTY, suite=NASTY, group=NASTY, name=NASTY, backbone=NASTY), 0, NASTY
    )
    text = _page(filler.store, suite=NASTY)
    assert text.count("<script") == text.count("</script") == 3
    assert "alert(1)</" not in text
    assert "<!--" not in text
    section = _only(text)
    assert section["variants"][0]["name"] == f"x({NASTY})".replace("\u2028", " ")
    assert section["cells"][1][0][5] == [[0, NASTY.strip()]]


def test_it_loads_nothing_and_runs_only_its_own(mini: Store) -> None:
    text = _page(mini)
    assert not re.search(
        r"""(?:src|href|url|import|fetch)\s*(?:=|\()?\s*["']?(?:https?:)?//""", text
    )
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,", "#panels"]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    said = dict(part.strip().split(" ", 1) for part in policy[1].replace("&#39;", "'").split(";"))
    assert (said["default-src"], said["connect-src"], said["base-uri"], said["form-action"]) == (
        "'none'",
    ) * 4
    for kind, pattern in {
        "script-src": r'<script type="module">(.*?)</script>',
        "style-src": r"<style>(.*?)</style>",
    }.items():
        inline = re.search(pattern, text, re.DOTALL)
        assert inline is not None
        assert (
            said[kind]
            == f"'sha256-{base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()}'"
        )


def test_only_a_live_page_may_ask_its_server(mini: Store) -> None:
    assert "connect-src &#39;none&#39;" in _page(mini)
    assert "connect-src &#39;self&#39;" in _page(mini, live="v1")
    assert _block(_page(mini, live="v1"), "about")["live"] == "v1"


def test_it_names_no_password_and_no_folder(tmp_path: Path, filler: Any) -> None:
    key = filler.cell("vpt", "digits")
    (cell,) = filler.store.cells().values()
    filler.results(key, [50.0])
    (result,) = filler.store.results()
    store = Store(tmp_path / "harness.db")
    store.add_cell(cell)
    made = {
        "inputs": {"data_root": "/home/me", "method": "vpt"},
        "checkpoint": "/home/me/x",
        "device": "cpu",
        "versions": {"torch": "2"},
    }
    store.add_result(type(result)(**{**vars(result), "provenance": made}))
    text = _page(store)
    assert "/home/me" not in text
    shared = _block(text, "runs")["shared"]
    assert (shared["machines"], shared["versions"], shared["inputs"]) == (
        [{"device": "cpu"}],
        [{"torch": "2"}],
        [{"method": "vpt"}],
    )


def test_the_command_names_a_store_that_is_not_the_default(
    mini: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cell, *_), (result, *_) = mini.cells().values(), mini.results()
    monkeypatch.chdir(tmp_path)
    found = {}
    for name in ("results/harness.db", "my results.db"):
        store = Store(name)
        store.add_cell(cell)
        store.add_result(result)
        found[name] = _block(_page(store), "about")["store"]
    assert found == {"results/harness.db": "", "my results.db": " --store 'my results.db'"}


def test_filters_and_nothing_to_show(mini: Store, tmp_path: Path) -> None:
    section = _only(_page(mini, tasks=["fashion", "digits"], methods=["ivpt", "vpt"], suite="two"))
    assert (section["suite"], [task["name"] for task in section["tasks"]]) == (
        "two",
        ["fashion", "digits"],
    )
    assert {said["name"] for said in section["variants"]} == {"ivpt(da=false)", "vpt"}
    with pytest.raises(BadInput, match="unknown method 'vptx'"):
        _page(mini, methods=["vptx"])
    with pytest.raises(BadInput, match="holds no results"):
        _page(mini, tasks=["cifar100"])
    with pytest.raises(
        BadInput, match=r"absent.db holds no results: add some with `harness run --store .*`"
    ):
        _page(Store(tmp_path / "absent.db"))


def test_a_store_of_failures_alone_has_a_page(filler: Any) -> None:
    filler.failure(filler.cell("vpt", "digits"), 0, "lost")
    section = _only(_page(filler.store))
    assert section["cells"] == [[[None, 0, "failed", "", [], [[0, "lost"]]]]]


def test_curves_are_thinned_to_their_ends() -> None:
    curve = {epoch: float(epoch) + 0.04 for epoch in range(1, 101)}
    thin = thinned(curve)
    assert len(thin) == 24
    assert (next(iter(thin)), next(reversed(thin)), thin[100]) == (1, 100, 100.0)
    assert thinned({5: 1.0, 2: 3.0}) == {2: 3.0, 5: 1.0}


@pytest.mark.slow
def test_a_large_store_makes_a_page_that_can_be_mailed(large: Store, tmp_path: Path) -> None:
    text = _page(large, tasks=load_suites()["all"].tasks, suite="all")
    write(tmp_path / "page.html", text)
    assert (tmp_path / "page.html").stat().st_size < 12e6
    runs = _block(text, "runs")
    assert sum(len(made) for row in runs["cells"][0] for made in row) == 12_000
    assert len(runs["shared"]["versions"]) == len(runs["shared"]["machines"]) == 1


def test_writing_is_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "made" / "page.html"
    write(path, "one")
    write(path, "two \u2713")
    assert path.read_text(encoding="utf-8") == "two \u2713"
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(BadInput, match="can't write"):
        write(path / "below.html", "three")
    with pytest.raises(BadInput, match="can't write"):
        write(tmp_path / "made", "a folder")
    assert list(tmp_path.iterdir()) == [path.parent]


def test_importing_it_needs_neither_torch_nor_ray() -> None:
    script = (
        "import sys, harness.reporting.formats.page; print({'torch', 'ray'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


def test_one_task_is_one() -> None:
    store = Store("sqlite://")
    synthetic_store.fill(store, wanted=2, suite="mini", seeds=1)
    assert "<summary>2 methods, 1 task</summary>" in page(Contents(store, tasks=["digits"]))
    assert "<summary>2 methods, 5 tasks</summary>" in page(Contents(store))
