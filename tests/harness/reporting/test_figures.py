"""Figures, read back from what is drawn: every number from its section, texts that don't touch, the
same bytes for the same data."""

import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import matplotlib
import numpy as np
import pytest
from groups import ALL, MINI
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from scipy import stats as scipy_stats

from harness.errors import BadInput
from harness.reporting.figures import FIGURES, SUFFIXES, figure, left_out, save
from harness.reporting.figures.ablation import families
from harness.reporting.figures.text import names
from harness.reporting.figures.tradeoff import pareto
from harness.reporting.statistics.friedman import Friedman, cliques, friedman
from harness.reporting.statistics.intervals import bootstrap, mean_difference
from harness.store import Trial

FOUR = ["linear", "vpt", "vpt-deep", "ivpt"]
NINE = [
    *FOUR,
    "bitfit",
    "ivpt(da=false)",
    "ivpt(ar=false,cdc=false,da=false)",
    "lora(rank=8)",
    "ssf",
]
FORTY = [
    *NINE,
    *(f"method{number:02}(prompts={number},cdc_source=recursive)" for number in range(31)),
]
HOSTILE = [
    r"$\frac{1}{2}$",
    '<script>alert("x")</script>',
    "a_b^{c}\\d",
    "中文",
    "x" * 120,
    "tab\tand\nline\u202e",
    "_hidden",
    "",
    "ok",
]
TOGGLED = [
    "ivpt",
    "ivpt(ar=false)",
    "ivpt(da=false)",
    "ivpt(ar=false,da=false)",
    "ivpt(cdc=false,da=false)",
    "ivpt(ar=false,cdc=false,da=false)",
]


def _drawn(found: Figure, prefix: str) -> dict[str, Any]:
    """The artists whose gid begins so, by gid."""
    artists = found.findobj(lambda artist: str(artist.get_gid() or "").startswith(prefix))
    return {str(artist.get_gid()): artist for artist in artists}


def _points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def _texts(found: Figure) -> list[str]:
    found.draw_without_rendering()
    return [text.get_text() for text in found.findobj(Text) if text.get_visible()]


def _note(found: Figure) -> str:
    return " ".join(found.get_supxlabel().split())


Tried = tuple[Literal["complete", "pruned", "failed"], float | None, Mapping[int, float]]


def _search(
    filler: Any,
    keys: Sequence[str],
    trials: Sequence[Tried],
) -> None:
    for key in keys:
        rows = [
            Trial(key, i, {}, state, value, dict(curve), None, 1.0, 1.0, {})
            for i, (state, value, curve) in enumerate(trials)
        ]
        filler.store.add_trials(rows)


TRIALS: list[Tried] = [
    ("complete", 50.0, {5: 40.0, 10: 50.0}),
    ("pruned", None, {5: 30.0, 10: 35.0}),
    ("complete", 45.0, {10: 45.0}),
    ("failed", None, {5: 20.0}),
    ("complete", 60.0, {10: 60.0}),
    ("pruned", None, {}),
]


# Score against parameters.


def test_tradeoff_shows_each_methods_mean_at_its_parameters(filler: Any) -> None:
    params = dict(
        zip(
            NINE,
            [0, 40_000, 500_000, 510_000, 100_000, 520_000, 460_000, 290_000, 200_000],
            strict=True,
        )
    )
    filler.grid(NINE, ALL, params=params)
    section = filler.section()
    found = figure("tradeoff", [section])
    drawn = _drawn(found, "")
    shown = {point for gid in ("front", "others") for point in _points(drawn[gid])}
    expected = {(params[variant], said.mean) for variant, said in section.methods.items()}
    assert {point for point in shown if point[0] in params.values()} == {
        point for point in expected if point[0] > 0
    }
    (zero,) = (point for point in shown if point[0] not in params.values())
    assert zero[1] == section.methods["linear"].mean
    assert zero[0] < 40_000
    labels = found.axes[0].get_xticklabels()
    assert labels[0].get_text() == "0"
    assert labels[0].get_position()[0] == pytest.approx(zero[0])
    assert _points(drawn["front-line"]) == _points(drawn["front"])


@given(
    st.dictionaries(
        st.text("abcdef", min_size=1),
        st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)),
    )
)
def test_the_front_is_what_no_other_method_beats(points: dict[str, tuple[float, float]]) -> None:
    def better(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return (one[0] < other[0] and one[1] >= other[1]) or (
            one[0] <= other[0] and one[1] > other[1]
        )

    expected = {
        variant
        for variant, point in points.items()
        if not any(better(other, point) for other in points.values())
    }
    front = pareto(points)
    assert set(front) == expected
    assert [points[variant] for variant in front] == sorted(points[variant] for variant in front)


def test_forty_methods_have_numbers_and_a_key(filler: Any) -> None:
    filler.grid(FORTY, MINI)
    texts = _texts(figure("tradeoff", [filler.section()]))
    order = list(filler.section().scores)
    for number, variant in enumerate(order, 1):
        assert str(number) in texts
        assert f"{number}  {variant}" in texts


@pytest.mark.parametrize("kind", ["tradeoff", "cost", "ranks"])
def test_a_method_with_a_gap_is_left_out_and_named(filler: Any, kind: str) -> None:
    filler.grid(FOUR, MINI, missing=[("vpt", "fashion")])
    found = figure(kind, [filler.section()])
    assert "Left out because they lack scores: vpt (lacks fashion)." in _note(found)
    assert not any(text == "vpt" or text.startswith("vpt (") for text in _texts(found))


def test_no_method_without_gaps_leaves_nothing_to_draw(filler: Any) -> None:
    filler.grid(["x", "y"], MINI, missing=[("x", "fashion"), ("y", "digits")])
    for kind in ("tradeoff", "cost"):
        with pytest.raises(BadInput, match="no method has a score on all 5 tasks"):
            figure(kind, [filler.section()])


# Ranks.


@pytest.mark.parametrize("variants", [FOUR, NINE, FORTY], ids=["4", "9", "40"])
def test_ranks_bars_and_the_critical_difference_are_to_scale(
    filler: Any, variants: list[str]
) -> None:
    filler.grid(variants, ALL)
    section = filler.section()
    test = friedman(section.scores, section.tasks)
    assert isinstance(test, Friedman)
    drawn = _drawn(figure("ranks", [section]), "")
    (left, _), (right, _) = _points(drawn["critical-difference"])
    scale = (right - left) / test.critical_difference
    places = {
        variant: _points(drawn[f"method-{number}"])[0][0]
        for number, variant in enumerate(test.variants)
    }
    best = test.variants[0]
    for variant, place in places.items():
        assert places[best] - place == pytest.approx(
            scale * (test.ranks[variant] - test.ranks[best]), abs=1e-6
        )
    bars = [_points(bar) for gid, bar in drawn.items() if gid.startswith("clique-")]
    covered = [
        {v for v, x in places.items() if bar[0][0] + 1.9 < x < bar[1][0] - 1.9} for bar in bars
    ]
    assert covered == [set(group) for group in cliques(test)]
    spans = [(bar[0][1], bar[0][0], bar[1][0]) for bar in bars]
    for one, other in itertools.combinations(spans, 2):
        assert one[0] != other[0] or one[2] < other[1] or other[2] < one[1]


def test_too_few_tasks_or_methods_for_a_test_are_said(filler: Any) -> None:
    filler.grid(["x", "y", "z"], {"natural": ["t", "u", "v", "w"]})
    with pytest.raises(
        BadInput, match="figure ranks: Friedman's test needs at least 5 tasks; there are 4"
    ):
        figure("ranks", [filler.section()])


# Differences.


def test_differences_are_paired_by_seed_with_students_t(filler: Any) -> None:
    made = filler.grid(FOUR, MINI, missing=[("ivpt", "fashion")])
    section = filler.section()
    found = figure("differences", [section], baseline="linear")
    drawn = _drawn(found, "")
    lines = [
        "natural",
        "digits",
        "fashion",
        "structured",
        "sprites-location",
        "sprites-orientation",
        "sprites-count",
        "mean of 5",
    ]
    assert [label.get_text() for label in found.axes[0].get_yticklabels()] == lines
    others = [variant for variant in section.scores if variant != "linear"]
    for panel, variant in enumerate(others):
        assert found.axes[panel].get_title() == variant
        means = []
        for y, task in enumerate(lines):
            if task not in made[variant]:
                continue
            apart = np.subtract(made[variant][task], made["linear"][task])
            means.append(float(apart.mean()))
            low, high = scipy_stats.t.interval(0.95, 2, apart.mean(), scipy_stats.sem(apart))
            mark = drawn[f"difference-{panel}-{y}"]
            assert _points(mark) == [(pytest.approx(apart.mean()), y)]
            assert [x for x, _ in _points(drawn[f"interval-{panel}-{y}"])] == pytest.approx(
                [low, high]
            )
            assert (mark.get_markerfacecolor() != "white") == (low > 0 or high < 0)
        if variant == "ivpt":
            assert f"difference-{panel}-7" not in drawn
        else:
            assert _points(drawn[f"difference-{panel}-7"]) == [(pytest.approx(np.mean(means)), 7)]
            assert [x for x, _ in _points(drawn[f"interval-{panel}-7"])] == pytest.approx(
                bootstrap(means)
            )
    assert "ivpt (fashion)" in _note(found)


def test_only_seeds_that_both_have_are_compared(filler: Any) -> None:
    filler.results(filler.cell("x", "t"), [50.0, 60.0, 70.0])
    filler.results(filler.cell("y", "t"), [55.0, 90.0], first_seed=1)
    found = figure("differences", [filler.section()], baseline="x")
    assert _points(_drawn(found, "difference-0-0")["difference-0-0"]) == [
        (pytest.approx((55 - 60 + 90 - 70) / 2), 0)
    ]


def test_one_seed_makes_no_interval(filler: Any) -> None:
    filler.grid(["x", "y"], MINI, seeds=1)
    found = figure("differences", [filler.section()], baseline="x")
    assert set(_drawn(found, "interval-")) == {"interval-0-7"}
    assert "a cross where one seed gives no interval" in _note(found)


def test_many_methods_share_a_matrix(filler: Any) -> None:
    made = filler.grid(FORTY, ALL, missing=[("vpt", "fgvc_task_0")])
    section = filler.section()
    found = figure("differences", [section], baseline="linear")
    axes = found.axes[0]
    others = [variant for variant in section.scores if variant != "linear"]
    columns = dict(zip(section.tasks, axes.get_xticks(), strict=True))
    shown = {}
    for gid in ("better-apart", "better-within", "worse-apart", "worse-within"):
        marks = _drawn(found, gid)[gid]
        for (x, y), size in zip(marks.get_offsets(), marks.get_sizes(), strict=True):
            shown[float(x), float(y)] = (gid, float(size))
    biggest, sizes = 0.0, {}
    for y, variant in enumerate(others):
        for task, scores in made[variant].items():
            apart = np.subtract(scores, made["linear"][task])
            low, high = scipy_stats.t.interval(0.95, 2, apart.mean(), scipy_stats.sem(apart))
            gid, size = shown[columns[task], y]
            side = "better" if apart.mean() >= 0 else "worse"
            assert gid == f"{side}-{'apart' if low > 0 or high < 0 else 'within'}"
            biggest, sizes[abs(float(apart.mean()))] = max(biggest, size), size
    largest = max(sizes)
    for difference, size in sizes.items():
        assert size == pytest.approx(max(0.6, biggest * difference / largest))
    assert _points(_drawn(found, "gaps")["gaps"]) == [(columns["fgvc_task_0"], others.index("vpt"))]


@pytest.mark.parametrize(
    ("baseline", "said"),
    [
        (None, "give --baseline, one of "),
        ("lineer", "unknown baseline 'lineer'. Did you mean 'linear'"),
    ],
)
def test_differences_need_a_known_baseline(filler: Any, baseline: str | None, said: str) -> None:
    filler.grid(FOUR, MINI)
    with pytest.raises(BadInput, match=said):
        figure("differences", [filler.section()], baseline=baseline)


# Ablation.


def test_ablation_bars_are_mean_differences_to_all_off(filler: Any) -> None:
    made = filler.grid([*TOGGLED, "linear"], MINI)
    by_seed = {
        variant: {task: dict(enumerate(scores)) for task, scores in tasks.items()}
        for variant, tasks in made.items()
    }
    found = figure("ablation", [filler.section()])
    drawn = _drawn(found, "")
    order = [
        "ivpt(ar=false,cdc=false,da=false)",
        "ivpt(cdc=false,da=false)",
        "ivpt(ar=false,da=false)",
        "ivpt(da=false)",
        "ivpt(ar=false)",
        "ivpt",
    ]
    on = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (0, 1, 1), (1, 1, 1)]
    for y, variant in enumerate(order):
        expected = mean_difference(by_seed[variant], by_seed[order[0]])
        assert expected is not None
        assert drawn[f"bar-{y}"].get_width() == pytest.approx(expected.mean)
        if y:
            assert [x for x, _ in _points(drawn[f"interval-{y}"])] == pytest.approx(
                [expected.low, expected.high]
            )
            assert bool(drawn[f"bar-{y}"].get_hatch()) == (expected.low <= 0 <= expected.high)  # type: ignore[operator]
        assert drawn[f"mean-{y}"].get_text() == f"{np.mean(list(made[variant].values())):.1f}"
        assert [
            drawn[f"toggle-{y}-{column}"].get_markerfacecolor() == "black" for column in range(3)
        ] == [bool(value) for value in on[y]]
    assert [label.get_text() for label in found.axes[0].get_xticklabels()] == ["ar", "cdc", "da"]


def test_families_are_read_from_labels() -> None:
    (found,) = families(["linear", *TOGGLED, "vpt(prompts=5)", "vpt(prompts=10)"])
    assert (found.name, found.toggles, found.off) == (
        "ivpt",
        ("ar", "cdc", "da"),
        "ivpt(ar=false,cdc=false,da=false)",
    )
    (fixed,) = families(["m(a=true,n=3)", "m(a=true,b=true,n=3)", "m(a=true)"])
    assert (fixed.name, fixed.toggles, fixed.settings) == (
        "m(n=3,a=true)",
        ("b",),
        {"m(a=true,n=3)": (False,), "m(a=true,b=true,n=3)": (True,)},
    )
    assert families(["m", "m(a=false)", "m(a=true)"]) == []
    assert families(["m(a=true)", "n(a=true)", ""]) == []


def test_what_an_ablation_lacks_is_said(filler: Any) -> None:
    filler.grid(["linear", "vpt"], MINI)
    with pytest.raises(BadInput, match="Run them with `harness ablate`"):
        figure("ablation", [filler.section()])
    filler.grid(["m(a=true,b=true)", "m(a=true)", "m(b=true)"], MINI)
    with pytest.raises(BadInput, match="no variant of m has all of a, b off"):
        figure("ablation", [filler.section()])
    filler.grid(["n", "n(a=true)", "n(b=true)"], MINI)
    with pytest.raises(BadInput, match="choose one method"):
        figure("ablation", [filler.section()])


def test_an_ablated_variant_with_a_gap_has_no_bar(filler: Any) -> None:
    filler.grid(TOGGLED, MINI, missing=[("ivpt", "fashion")])
    found = figure("ablation", [filler.section()])
    assert "bar-5" not in _drawn(found, "bar-")
    assert "Left out because they lack scores: ivpt." in _note(found)


# Search.


def test_search_shows_each_trial_and_the_best_so_far(filler: Any) -> None:
    filler.grid(["x"], {"natural": ["t"]})
    _search(filler, list(filler.store.cells()), TRIALS)
    drawn = _drawn(figure("search", [filler.section()], store=filler.store), "")
    assert _points(drawn["complete-0"]) == [(0, 50), (2, 45), (4, 60)]
    assert _points(drawn["best-0"]) == [(0, 50), (2, 50), (4, 60), (5, 60)]
    assert _points(drawn["pruned-0"]) == [(1, 35)]
    assert [x for x, _ in _points(drawn["failed-unscored-0"])] == [3]
    assert [x for x, _ in _points(drawn["pruned-unscored-0"])] == [5]
    assert "failed-0" not in drawn


def test_search_has_a_panel_a_study_and_says_where_there_are_too_many(filler: Any) -> None:
    filler.grid(["x", "y"], MINI)
    with pytest.raises(BadInput, match="no trials of these methods and tasks are stored"):
        figure("search", [filler.section()], store=filler.store)
    keys = list(filler.store.cells())
    _search(filler, keys, TRIALS)
    titles = [
        axes.get_title() for axes in figure("search", [filler.section()], store=filler.store).axes
    ]
    assert {title.replace("\n", " ") for title in titles if title} == {
        f"{v}, {task}" for v in "xy" for tasks in MINI.values() for task in tasks
    }
    filler.grid(["z"], MINI)
    _search(filler, list(filler.store.cells())[len(keys) :], TRIALS)
    with pytest.raises(BadInput, match="15 studies selected, of which 12 fit"):
        figure("search", [filler.section()], store=filler.store)


# Cost.


def test_cost_shows_means_over_tasks(filler: Any) -> None:
    for variant, seconds, memory in (("x", 100.0, 3 * 2**30), ("y", 40.0, 2**29)):
        for number, task in enumerate(("t", "u")):
            filler.results(
                filler.cell(variant, task),
                [50.0, 60.0],
                seconds=seconds + 10 * number,
                memory=memory,
            )
    found = figure("cost", [filler.section()])
    widths = {}
    for axes in found.axes:
        bars = [cast("Rectangle", bar).get_width() for bar in axes.patches]
        widths[axes.get_xlabel()] = dict(zip(filler.section().scores, bars, strict=True))
    assert widths["Time (s)"] == {"x": 105.5, "y": 45.5}
    assert widths["Peak memory (GiB)"] == {"x": 3.0, "y": 0.5}


# All kinds.


def _all(
    filler: Any, variants: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> dict[str, Figure]:
    """Every figure that these methods and tasks can have."""
    filler.grid(
        variants,
        groups,
        backbone="vit_base_patch16_224.orig_in21k",
        note="A note that every leaderboard with this method shows.",
    )
    section = filler.section()
    made = {
        kind: figure(kind, [section], baseline=variants[0])
        for kind in ("tradeoff", "ranks", "differences", "cost")
    }
    if "ivpt" in variants and "ivpt(da=false)" in variants:
        made["ablation"] = figure("ablation", [section])
    if len(variants) == 4:
        keys = [
            row.cell.key for (_, task), row in section.results.items() if task in section.tasks[:3]
        ]
        _search(filler, keys, TRIALS)
        made["search"] = figure("search", [section], store=filler.store)
    return made


@pytest.mark.parametrize(
    ("variants", "groups"),
    [(FOUR, MINI), (NINE, ALL), (FORTY, ALL), (HOSTILE, ALL)],
    ids=["4x5", "9x24", "40x24", "hostile"],
)
def test_texts_dont_touch_and_lie_within_the_figure(
    filler: Any, monkeypatch: pytest.MonkeyPatch, variants: list[str], groups: Any
) -> None:
    texts: list[Text] = []
    draw = Text.draw

    def drawing(text: Text, renderer: Any) -> None:
        texts.append(text)
        draw(text, renderer)

    for kind, found in _all(filler, variants, groups).items():
        found.draw_without_rendering()
        texts.clear()
        with monkeypatch.context() as patched:
            patched.setattr(Text, "draw", drawing)
            found.draw_without_rendering()
        width, height = found.get_size_inches() * found.dpi
        assert width / found.dpi in (3.25, 6.75)
        assert height / found.dpi <= 9.5
        boxes = {
            text: Text.get_window_extent(text)
            for text in texts
            if text.get_visible() and text.get_text().strip()
        }
        assert len(boxes) > 5
        point = found.dpi / 72
        for text, box in boxes.items():
            assert box.x0 > -point, (kind, text)
            assert box.x1 < width + point, (kind, text)
            assert box.y0 > -point, (kind, text)
            assert box.y1 < height + point, (kind, text)
        for (one, a), (other, b) in itertools.combinations(boxes.items(), 2):
            across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            # boxes have room above letters
            assert across < point or down < 1.5 * point, (kind, one, other)


def test_the_same_data_make_the_same_bytes(filler: Any, tmp_path: Path) -> None:
    first = _all(filler, FOUR, MINI)
    again = {
        kind: figure(kind, [filler.section()], store=filler.store, baseline=FOUR[0])
        for kind in first
    }
    for kind, suffix in itertools.product(first, SUFFIXES):
        file = tmp_path / f"{kind}{suffix}"
        made = []
        for found in (first[kind], again[kind]):
            save(found, file)
            made.append(file.read_bytes())
        assert made[0] == made[1], file.name
        assert made[0].startswith(
            {".png": b"\x89PNG\r\n", ".pdf": b"%PDF-", ".svg": b"<?xml"}[suffix]
        )


def test_names_stay_text(filler: Any, tmp_path: Path) -> None:
    for kind, found in _all(filler, HOSTILE, MINI).items():
        save(found, tmp_path / f"{kind}.svg")
        save(found, tmp_path / f"{kind}.pdf")
        text = (tmp_path / f"{kind}.svg").read_text()
        assert "<script" not in text
        assert r"$\frac{1}{2}$" in text
        assert "&lt;script&gt;" in text
        assert "U+4E2DU+6587" in text
        assert "/Type3" not in (tmp_path / f"{kind}.pdf").read_bytes().decode("latin-1")


@given(st.lists(st.text(), unique=True, max_size=20), st.integers(10, 40), st.integers(1, 3))
def test_shortened_names_fit_and_stay_apart(variants: list[str], width: int, lines: int) -> None:
    found = names(variants, width, lines)
    assert list(found) == variants
    assert len(set(found.values())) == len(variants)
    for name in found.values():
        assert name.count("\n") < lines
        assert all(len(line) <= width for line in name.split("\n"))


def test_kinds_and_files_that_cant_be_are_said(filler: Any, tmp_path: Path) -> None:
    filler.grid(FOUR, MINI)
    section = filler.section()
    with pytest.raises(BadInput, match=r"unknown figure 'rank'\. Did you mean 'ranks'"):
        figure("rank", [section])
    found = figure("cost", [section])
    with pytest.raises(BadInput, match=r"\.png, \.pdf, \.svg"):
        save(found, tmp_path / "x.jpg")
    with pytest.raises(BadInput, match="no folder"):
        save(found, tmp_path / "none" / "x.png")
    (tmp_path / "x.png").mkdir()
    with pytest.raises(BadInput, match=r"can't write .*x\.png"):
        save(found, tmp_path / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_of_several_sections_the_one_with_most_rows_is_drawn(filler: Any) -> None:
    filler.grid(FOUR, MINI)
    section = filler.section()
    small = replace(section, protocol="other", board=section.board[:3])
    assert left_out([section]) is None
    for parts in ([section, small], [small, section]):
        assert "protocol mini" in str(figure("cost", parts).get_label())
        assert left_out(parts) == (
            "The figure shows mini · mini_vit · protocol mini, which has most rows here. Not in it:"
            " mini · mini_vit · protocol other. --backbone, --protocol, --kind and --suite choose."
        )


@pytest.mark.parametrize("kind", ["cost", "ranks", "tradeoff"])
def test_without_a_caption_there_is_no_note_and_no_room_for_it(filler: Any, kind: str) -> None:
    filler.grid(FOUR, MINI)
    drawn, bare = (figure(kind, [filler.section()], caption=said) for said in (True, False))
    assert "protocol mini" in drawn.get_supxlabel()
    assert bare.get_supxlabel() == ""
    assert bare.get_figheight() < drawn.get_figheight() - 0.2
    assert bare.get_figwidth() == drawn.get_figwidth()


def test_settings_are_the_users_again_afterwards(filler: Any) -> None:
    filler.grid(FOUR, MINI)
    with matplotlib.rc_context({"font.size": 31, "axes.facecolor": "red"}):
        found = figure("cost", [filler.section()])
        assert matplotlib.rcParams["font.size"] == 31
    assert found.axes[0].get_facecolor() == (1, 1, 1, 1)


def test_drawing_needs_neither_pyplot_nor_torch_nor_ray() -> None:
    code = (
        "import sys, harness.reporting.figures; print([m for m in sys.modules if m in ('torch',"
        " 'ray', 'matplotlib.pyplot')])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
    assert set(FIGURES) == {"tradeoff", "ranks", "differences", "ablation", "search", "cost"}
