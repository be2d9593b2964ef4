"""The LaTeX table: its numbers, marks and gaps, that it compiles within the page, and that no name
is a command."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from groups import ALL, MINI
from hypothesis import given
from hypothesis import strategies as st

from harness.reporting.columns import PLAIN, Layout
from harness.reporting.costs import BUDGETS
from harness.reporting.formats.latex import MOST_LINES, latex
from harness.reporting.formats.latex_text import escaped
from harness.reporting.section import Section

NINE = [
    "linear",
    "bitfit",
    "vpt",
    "vpt-deep",
    "ivpt",
    "ivpt(da=false)",
    "ivpt(ar=false,cdc=false,da=false)",
    "lora(rank=8)",
    "ssf",
]
EVERY = Layout(columns=("params", *BUDGETS), baseline="vpt-deep")
HOSTILE = [
    r"\input{/etc/passwd}",
    "a_b^c~d$e$#f%g&h{i}",
    '<script>alert("x")</script>',
    "[opt]",
    "*star",
    "中文方法",
    "naïve-Ünïcode-\u0131-đ",
    "x" * 120,
    "a--b``c''?`",
    "smile\U0001f600\nnew\u202eline",
    r"$\frac{1}{2}$",
    r"\\[2cm]",
    "",
]


def _lines(text: str) -> dict[str, list[str]]:
    """Cells by the first one of each line of the table."""
    lines = [
        line.removesuffix(r" \\").split(" & ")
        for line in text.splitlines()
        if line.endswith(r" \\")
    ]
    return {line[0]: line[1:] for line in lines if line[0]}


@pytest.fixture(scope="module")
def pdflatex() -> str:
    found = shutil.which("pdflatex")
    if found is None:
        if os.environ.get("VPT_HARNESS_REQUIRE_LATEX") == "1":
            pytest.fail("no pdflatex, and VPT_HARNESS_REQUIRE_LATEX=1")
        pytest.skip("no pdflatex: apt-get install texlive-latex-base texlive-latex-recommended")
    return found


def _compiled(pdflatex: str, folder: Path, section: Section, layout: Layout = PLAIN) -> str:
    """The log of a document with the section's table."""
    (folder / "table.tex").write_text(latex([section], layout, standalone=True), encoding="ascii")
    command = [
        pdflatex,
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "table.tex",
    ]
    run = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    log = (folder / "table.log").read_text(errors="replace")
    assert run.returncode == 0, log[-3000:]
    assert (folder / "table.pdf").read_bytes().startswith(b"%PDF")
    assert not re.search(r"Overfull|Float too large|LaTeX Error|Missing character", log)
    return log


def test_the_numbers_are_the_sections(filler: Any) -> None:
    filler.grid(["linear", "vpt", "ivpt"], MINI)
    section = filler.section()
    lines = _lines(latex([section]))
    for variant, scores in section.scores.items():
        params, *cells, mean, rank = (
            re.sub(r"\\textbf|\\underline|(\\phantom\{)?\$\^{\\approx}\$\}?|[{}$]", "", cell)
            for cell in lines[variant]
        )
        assert params == {"linear": "0", "vpt": "1k", "ivpt": "2k"}[variant]
        expected = [
            rf"{scores[task]:.1f}_\pm {section.results[variant, task].std:.1f}"
            for task in section.tasks
        ]
        assert cells == expected
        assert (mean, rank) == (
            f"{section.methods[variant].mean:.2f}",
            f"{section.methods[variant].mean_rank:.2f}",
        )


def test_the_best_is_bold_and_the_second_underlined(filler: Any) -> None:
    for variant, score in {"x": 90.0, "y": 80.0, "z": 70.0}.items():
        filler.results(filler.cell(variant, "t"), [score])
    lines = _lines(latex([filler.section()]))
    assert [lines[variant][1] for variant in "xyz"] == [
        r"\textbf{90.0}",
        r"\underline{80.0}",
        "70.0",
    ]


def test_the_caption_says_what_the_numbers_are(filler: Any) -> None:
    filler.grid(NINE[:3], ALL, suite="all", backbone="vit_b", name="default")
    text = latex([filler.section()])
    for said in (
        "backbone vit\\_b",
        "protocol default",
        "pixels pil",
        "over 3 seeds",
        "Top-1 accuracy",
        "Mean of 24:",
        "Mean of 4 groups:",
    ):
        assert said in text
    assert text.startswith("% \\usepackage{booktabs,graphicx}\n\\begin{table*}")


def test_many_tasks_get_a_table_of_means_and_one_per_group(filler: Any) -> None:
    filler.grid(NINE[:3], ALL)
    section = filler.section()
    means, *of_groups = re.split(r"(?=\\begin{table)", latex([section]))[1:]
    first, *more = of_groups
    assert [text.count("_{\\pm") for text in of_groups] == [3 * len(of) for of in ALL.values()]
    for variant in NINE[:3]:
        line = [re.sub(r"\\textbf|\\underline|[{}$]", "", cell) for cell in _lines(means)[variant]]
        summary = section.methods[variant]
        assert line[1:5] == [f"{mean:.2f}" for mean in summary.group_means.values()]
        assert line[5:7] == [f"{summary.mean:.2f}", f"{summary.mean_of_groups:.2f}"]
        line = [re.sub(r"\\textbf|\\underline|[{}$]", "", cell) for cell in _lines(first)[variant]]
        assert line[-1] == f"{next(iter(summary.group_means.values())):.2f}"
    label = re.findall(r"\\label{(.*)}", means)
    assert all(rf"\ref{{{label[0]}}}" in text for text in of_groups)
    assert len(set(re.findall(r"\\label{(.*)}", "".join([first, *more])))) == len(of_groups)


def test_a_large_group_is_cut_into_tables_and_the_last_has_its_mean(filler: Any) -> None:
    filler.grid(NINE[:3], {"natural": [f"t{number}" for number in range(11)]})
    _, first, second = re.split(r"(?=\\begin{table)", latex([filler.section()]))[1:]
    assert [len(_lines(text)["vpt"]) for text in (first, second)] == [8, 3 + 1]


def test_near_the_best_is_marked_within_the_cell(filler: Any) -> None:
    filler.results(filler.cell("x", "t"), [80.0, 90.0])
    filler.results(filler.cell("y", "t"), [79.0, 89.0])
    filler.results(filler.cell("z", "t"), [1.0, 1.5])
    lines = _lines(latex([filler.section()]))
    assert lines["y"][1] == r"\underline{84.0}$_{\pm 7.1}$$^{\approx}$"
    assert lines["z"][1] == r"1.2$_{\pm 0.4}$\phantom{$^{\approx}$}"  # as wide


def test_gaps_are_marked_and_explained(filler: Any) -> None:
    filler.grid(["x", "y", "z"], MINI, missing=[("y", "digits"), ("z", "fashion")])
    filler.failure(filler.cell("z", "fashion"), 0, "out of memory_%")
    text = latex([filler.section()])
    lines = _lines(text)
    assert lines["y"][1] == "--"
    assert lines["z"][2] == r"$\times$"
    assert lines["y"][-2].endswith("$_{4/5}$")
    assert lines["y"][-1] == lines["z"][-1] == "--"
    assert r"$\times$: failed. --: not run" in text
    assert r"out of memory\_\%" in text


def test_a_table_longer_than_a_page_is_cut_into_parts(filler: Any) -> None:
    variants = [f"m{number}" for number in range(MOST_LINES + 1)]
    filler.grid(variants, {"natural": ["t"]}, seeds=1)
    text = latex([filler.section()])
    assert text.count(r"\begin{table}") == 2
    assert "Part 1 of 2." in text
    assert "Part 2 of 2." in text
    assert set(variants) <= _lines(text).keys()
    labels = re.findall(r"\\label\{(.*)\}", text)
    assert len(set(labels)) == 2


@given(st.text(), st.booleans())
def test_escaped_text_holds_no_command_and_only_ascii(text: str, breaks: bool) -> None:
    found = escaped(text, breaks)
    assert found.isascii()
    words = r"\\(text[a-z]+|ldots|allowbreak|ss|ae|AE|oe|OE|o|O|l|L|S)\{\}"
    accents = r"\\[`'^~=u.\"rHvc]\{(\w|\\[ij])\}"
    assert not re.search(
        r"[\\{}$&#%_^\[*<>|\"\n]",
        re.sub(rf"{words}|{accents}|\\[{{}}$&#%_]|\$[\\^\w-]*\$|\{{[\[*]\}}|\{{\}}", "", found),
    )


def test_escaping_keeps_names_apart() -> None:
    assert (
        escaped("é Å ǰ ï \u03b1 µ \u2013")
        == r"\'{e} \r{A} \v{\j} " + '\\"{\\i} ' + r"$\alpha$ $\mu$ --"
    )
    assert escaped("中") == "U+4E2D"
    assert escaped("a--b") == "a-{}-b"
    assert escaped("[x]\n*") == "{[}x] {*}"


def test_with_every_column_it_compiles(pdflatex: str, filler: Any, tmp_path: Path) -> None:
    filler.grid(NINE, ALL)
    section = filler.section()
    assert re.search(r"& \$-\$\d", latex([section], EVERY))
    _compiled(pdflatex, tmp_path, section, EVERY)


@pytest.mark.parametrize(
    ("variants", "groups"), [(NINE[:4], MINI), (NINE, ALL)], ids=["4x5", "9x24"]
)
def test_it_compiles_within_the_page(
    pdflatex: str, filler: Any, tmp_path: Path, variants: list[str], groups: Any
) -> None:
    filler.grid(
        variants,
        groups,
        missing=[(variants[1], groups["natural"][0])],
        backbone="vit_base_patch16_224.orig_in21k",
    )
    _compiled(pdflatex, tmp_path, filler.section())


@pytest.mark.parametrize(
    "groups", [{"natural_&": ["t_%$#&~^\\{}中", "y" * 80]}, ALL], ids=["few", "many"]
)
def test_hostile_names_compile(pdflatex: str, filler: Any, tmp_path: Path, groups: Any) -> None:
    note = "\\immediate\\write18{id} " + "z" * 200 + "," * 50
    filler.grid(HOSTILE, groups, backbone="back_bone%{}$" + "y" * 90, note=note)
    _compiled(pdflatex, tmp_path, filler.section())


def test_a_hundred_methods_compile(pdflatex: str, filler: Any, tmp_path: Path) -> None:
    filler.grid([f"vpt-deep(prompts={number})" for number in range(100)], {"natural": ["t", "u"]})
    log = _compiled(pdflatex, tmp_path, filler.section())
    assert "(2 pages" in log
