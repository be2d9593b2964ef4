"""The Python front door: what it takes, what it gives, and what it leaves behind."""

import asyncio
import inspect
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest

import harness
from harness import BadInput, api
from harness.api.options import request_of
from harness.cli import main as cli
from harness.cli import options
from harness.planning import arguments
from harness.planning.request import Request
from harness.store import Store
from harness.store.transfer import reproduced

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
FUNCTIONS = ("ablate", "compare", "fit", "load", "plan", "report", "reproduce", "run")

METHOD = """
from harness import Method


class Mine(Method):
    name = "mine"

    def __init__(self, vit, gain: float = 1.0):
        super().__init__(vit)
        vit.vit.norm.weight.requires_grad_(True)
        self.gain = gain

    def forward(self, images, read):
        if self.gain < 0:
            raise ZeroDivisionError("a negative gain")
        return [self.gain * tokens for tokens in super().forward(images, read)]
"""


def python(code: str, *words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        **options,
    )


def handlers() -> list[object]:
    return [signal.getsignal(signum) for signum in SIGNALS]


# What is imported, and what the names say.


@pytest.mark.parametrize(
    "code",
    [
        "import harness; harness.run, harness.report, harness.BadInput, dir(harness)",
        "import sys; sys.argv = ['harness', '--version']\nimport harness.cli.main as m\n"
        "try: m.main()\nexcept SystemExit: pass",
        "import harness.cli.complete as c\n"
        "c.methods('v'), c.tasks('d'), c.suite(''), c.protocol('')",
    ],
    ids=["import harness", "harness --version", "completion"],
)
def test_nothing_heavy_is_imported(code: str):
    assert not loaded_by(code) & {"torch", "ray", "pandas", "timm"}


def test_what_trains_in_this_process_doesnt_import_ray():
    code = "from harness import testing\nfrom harness.engine import reproduce, single, trainer"
    assert loaded_by(code) & {"torch", "ray"} == {"torch"}


def loaded_by(code: str) -> set[str]:
    done = python(f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_each_public_name_is_there():
    assert set(harness.ROOMS) == set(harness.__all__) <= set(dir(harness))
    for name in harness.__all__:
        assert getattr(harness, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        harness.nonsense  # noqa: B018
    assert (Path(inspect.getfile(harness)).parent / "py.typed").is_file()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_says_what_it_takes_gives_and_raises(name: str):
    function = getattr(harness, name)
    text = inspect.getdoc(function) or ""
    for part in ("Args:", "Returns:", "Raises:", "Examples:"):
        assert f"\n{part}\n" in text, part
    taken = text.partition("Args:")[2].partition("Returns:")[0]
    for parameter in inspect.signature(function).parameters.values():
        assert parameter.annotation is not parameter.empty, parameter.name
        assert f"    {parameter.name}:" in taken or f"    **{parameter.name}:" in taken


def flags_of(command: str) -> dict[str, object]:
    found = next(one for one in cli.app.registered_commands if one.callback.__name__ == command)  # type: ignore[union-attr]
    parameters = inspect.signature(found.callback).parameters.values()  # type: ignore[arg-type]
    # a command's, tasks by position, files of flags, and what is printed
    own = ("context", "_context", "named", "config", "save_config", "again", "quiet", "no_color")
    return {one.name: one.default for one in parameters if one.name not in own}


def keywords_of(function: object) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return {parameter.name: parameter.default for parameter in parameters}


def test_the_flags_are_the_keyword_arguments():
    """And so are their defaults. How a command ends, and whether Python shows its progress, are
    affairs of one side."""
    ends = {"allow_gaps", "dry_run", "debug"}
    keywords = keywords_of(harness.run)
    assert keywords.pop("progress") is True
    flags = flags_of("run")
    assert {name: flags.pop(name) for name in ends} == dict.fromkeys(ends, False)
    assert flags == keywords
    ablate = flags_of("ablate")
    assert ablate.pop("method") == keywords_of(harness.ablate)["method"]
    assert {name: ablate[name] for name in ablate if name not in ends} == {
        name: flags[name] for name in flags if name != "methods"
    }
    words = set(get_type_hints(api.RunOptions))
    assert words == keywords.keys() - {"methods", "suite", "tasks"} | {"progress"}
    assert words > set(get_type_hints(api.PlanOptions))
    report = flags_of("report")
    for name in ("figure", "x", "no_caption", "format", "output", "serve", "port"):
        del report[name]
    assert report == keywords_of(harness.report)


def test_what_is_measured_is_one_dataclass():
    assert {field for field in options.PlanOptions.__dataclass_fields__} == (
        set(get_type_hints(api.PlanOptions)) | {"suite", "tasks"}
    )


# What it takes.


def test_lists_say_the_same_as_text():
    listed = request_of(["linear", "ivpt(ar=false,k=3)"], "mini", ["digits"], seeds=[0, 1])
    text = request_of("linear,ivpt(ar=false,k=3)", "mini", "digits", seeds="0,1")
    assert (
        listed
        == text
        == Request("linear,ivpt(ar=false,k=3)", suite="mini", tasks="digits", seeds=(0, 1))
    )
    assert request_of("linear", None, None, seeds=range(2)).seeds == (0, 1)
    assert request_of("linear", None, None, seeds=7).seeds == (7,)


def wrong(**arguments: Any) -> dict[str, Any]:
    """Arguments of types that no checker would let through."""
    return arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: harness.run("vtp"), "unknown method 'vtp'. Did you mean 'vpt'"),
        (lambda: harness.run(suite="vtb"), "unknown suite 'vtb'"),
        (lambda: harness.run(tasks=["digit"]), "unknown task 'digit'"),
        (lambda: harness.run(tasks=[]), "names no task"),
        (lambda: harness.run(**wrong(seeds=["a"])), "write whole numbers"),
        (lambda: harness.run(**wrong(seeds=1.5)), "seeds=1.5: give a list"),
        (lambda: harness.run(trials=0), "trials=0: give a whole number of at least 1"),
        (
            lambda: harness.run(**wrong(workers=1.5)),
            "workers=1.5: give a whole number of at least 1",
        ),
        (lambda: harness.run(gpus_per_trial=-1), "gpus_per_trial=-1: give a number of at least 0"),
        (lambda: harness.run(address="ray://a:1"), "ray job submit"),
        (lambda: harness.run(**wrong(methods=[3])), "3 is neither a name nor a class"),
        (lambda: harness.run(store="nonsense://x", tasks="digits"), "nonsense"),
        (lambda: harness.plan("vtp"), "unknown method 'vtp'"),
        (lambda: harness.ablate("linear"), "has no toggles"),
        (lambda: print(harness.report("absent.db")), "holds no results"),
        (lambda: harness.report("absent.db", suite="vtb"), "unknown suite 'vtb'"),
        (lambda: harness.compare("vpt", "ivpt", store="absent.db"), "holds no results"),
        (lambda: harness.reproduce("abc", store="absent.db"), "no result 'abc'"),
        (lambda: harness.fit("vpt", "digits", params={"promts": 3}), "Did you mean 'prompts'"),
        (lambda: harness.fit("vpt,ivpt", "digits"), "one method at a time"),
        (lambda: harness.fit("vpt", "digits,sprites-count"), "one task at a time"),
        (lambda: harness.load("absent.safetensors"), "no file absent.safetensors"),
        (
            lambda: harness.fit("vpt", "digits", **wrong(epochs=1)),
            "unknown argument of fit 'epochs'",
        ),
        (
            lambda: harness.run(**wrong(seed=1)),
            "of run 'seed'. Did you mean 'seeds'? Known: address",
        ),
        (lambda: harness.plan(**wrong(trails=1)), "of plan 'trails'. Did you mean 'trials'?"),
        (lambda: harness.ablate("ivpt", **wrong(worker=1)), "Did you mean 'workers'?"),
        (lambda: harness.fit(**wrong(method="vpt")), "fit: missing a required argument: 'task'."),
    ],
)
def test_a_bad_input_is_an_exception_of_one_line(
    call, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    before = handlers()
    with pytest.raises(BadInput) as raised:
        call()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
    assert handlers() == before


def test_a_class_is_taken_where_workers_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from methods.vpt import VPTDeep

    assert arguments.methods([VPTDeep, "linear"]) == "vpt-deep,linear"
    (tmp_path / "mine_of_api.py").write_text(METHOD)
    monkeypatch.syspath_prepend(str(tmp_path))
    from mine_of_api import Mine  # type: ignore[import-not-found]

    assert arguments.methods(Mine) == f"{tmp_path / 'mine_of_api.py'}:Mine"

    class Inner(harness.Method):
        name = "inner"

    with pytest.raises(BadInput, match="isn't a class at the top of"):
        arguments.methods(Inner)
    made = type("Typed", (harness.Method,), {"__module__": "__main__", "name": "typed"})
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(Typed=made))
    with pytest.raises(BadInput, match=r"%%writefile typed\.py.*'typed\.py:Typed'"):
        arguments.methods(made)


def test_a_methods_file_that_starts_a_run_is_told_so(tmp_path: Path):
    """Each worker would start another."""
    file = tmp_path / "script.py"
    file.write_text(METHOD + "\nimport harness\nharness.run(Mine, tasks='digits')\n")
    with pytest.raises(BadInput, match="starts a run while it is imported"):
        harness.run(f"{file}:Mine", tasks="digits", store=tmp_path / "results.db")


# A run.


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, make_tiny) -> Iterator[SimpleNamespace]:
    """A run of two methods, one a user's class, with what this process was like before and
    after."""
    tiny = make_tiny(tmp_path_factory.mktemp("front door"))
    (tiny.folder / "mine.py").write_text(METHOD)
    told: dict[str, Any] = dict(
        tasks=["toy"], cards=tiny.cards, protocol=tiny.protocol, store=tiny.store
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPT_HARNESS_CACHE", str(tiny.folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        before, hook = (handlers(), dict(os.environ)), sys.breakpointhook
        run = harness.run(
            ["vpt-deep", f"{tiny.folder / 'mine.py'}:Mine"], workers=1, progress=False, **told
        )
        yield SimpleNamespace(
            tiny=tiny,
            run=run,
            told=told,
            before=before,
            after=(handlers(), dict(os.environ)),
            hook=hook,
        )


def test_a_run_leaves_the_process_as_it_was(filled):
    import ray

    assert filled.after == filled.before
    assert sys.breakpointhook is filled.hook
    assert not ray.is_initialized()
    assert signal.set_wakeup_fd(-1) == -1


def test_its_rows_are_those_of_the_store(filled):
    run, results = filled.run, filled.run.results
    stored = {row.id: row for row in Store(filled.tiny.store).results()}
    assert (run.gaps, run.wanted, set(run.ids)) == (0, 4, set(stored))
    assert set(results["id"]) == set(stored)
    for row in results.to_dict("records"):
        there = stored[row["id"]]
        assert (row["score"], row["seed"]) == (there.score, there.seed)
        assert row["base_lr"] == there.params["base_lr"]
    prompts = results.set_index("variant")["prompts"]
    assert set(prompts["vpt-deep"]) <= {2, 4}
    assert prompts["mine"].isna().all()
    assert str(prompts.dtype) == "Int64"
    trials = run.trials
    assert trials.groupby("variant").size().to_dict() == {"vpt-deep": 2, "mine": 2}
    assert set(trials["state"]) == {"complete"}
    assert run.failures.empty
    assert "4 of 4 results" in repr(run)


def test_the_leaderboard_is_text_and_a_table(filled):
    board = filled.run.leaderboard(sort="params", budgets=True)
    text, table = str(board), board._repr_html_()
    assert repr(board) == text
    mean = filled.run.results.groupby("variant")["score"].mean()
    for variant, score in mean.items():
        assert variant in text
        assert f"{score:.1f}" in text
        assert f"<th>{variant}</th>" in table
    assert table.count("<table>") == table.count("</table>") == 1
    assert "Trials" in table
    whole = harness.report(filled.tiny.store)
    assert len(whole.results) == 4
    page = filled.tiny.folder / "board.html"
    assert whole.to_html(page) == page  # not its text, which a prompt would print
    assert str(whole.to_html()).startswith("<!doctype html>")
    assert "vpt-deep" in page.read_text()
    assert json.loads(str(whole.to_json()))
    assert whole.to_figure(filled.tiny.folder / "cost.svg", "cost").is_file()
    with pytest.raises(BadInput, match="unknown order 'speed'"):
        str(harness.report(filled.tiny.store, sort="speed"))
    assert "unknown order" in repr(harness.report(filled.tiny.store, sort="speed"))


def test_what_is_there_isnt_done_again(filled, capsys: pytest.CaptureFixture[str], monkeypatch):
    """By Python or by the command: they share their cells."""
    state = Store(filled.tiny.store).state()
    started = time.monotonic()
    again = harness.run("vpt-deep", **filled.told)
    assert (again.wanted, again.gaps) == (2, 0)
    tiny = filled.tiny
    monkeypatch.setattr(sys, "argv", ["harness", *tiny.arguments(methods="vpt-deep")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert Store(tiny.store).state() == state
    assert "Stored in" in capsys.readouterr().out
    page = Store(tiny.store).page
    written = page.stat().st_mtime_ns
    with pytest.raises(SystemExit):
        cli.main()
    assert page.stat().st_mtime_ns == written, "nothing was stored since"
    assert time.monotonic() - started < 60  # no Ray was started for it


def test_it_runs_in_a_thread_beside_an_event_loop(filled):
    """As in a notebook's kernel, or a server: no handler of a signal can be set there."""
    before = handlers()

    async def main() -> harness.Run:
        return await asyncio.to_thread(
            lambda: harness.run("linear", workers=1, progress=False, seeds=0, **filled.told)
        )

    run = asyncio.run(main())
    assert (run.gaps, len(run.results)) == (0, 1)
    assert handlers() == before
    assert threading.active_count() < 40


def test_a_ray_of_the_callers_stays_its_own(filled, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    with pytest.raises(BadInput, match=r"call ray\.shutdown\(\) first"):
        harness.run("vpt-deep", **filled.told)


INTERRUPTED = """
import signal, sys, threading
from pathlib import Path

import harness

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    told = dict(
        methods="vpt-deep", tasks="toy", cards=folder / "cards", protocol=folder / "quick.toml",
        store=folder / "results.db", workers=1, trials=3, log_json=folder / "log",
    )
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    try:
        harness.run(**told)
    except KeyboardInterrupt as interrupt:
        import ray
        print("caught", ray.is_initialized(), *interrupt.__notes__, flush=True)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before
    run = harness.run(**told)
    print("resumed", run.wanted, run.gaps, len(run.trials), flush=True)
"""


@pytest.mark.slow
def test_an_interrupt_leaves_a_store_that_resumes_and_no_ray(tiny):
    (tiny.folder / "script.py").write_text(INTERRUPTED)
    process = subprocess.Popen(
        [sys.executable, str(tiny.folder / "script.py"), str(tiny.folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    log, deadline = tiny.folder / "log", time.monotonic() + 200
    while not (log.exists() and '"trial"' in log.read_text()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    caught = next(line for line in out.splitlines() if line.startswith("caught"))
    assert caught.startswith("caught False 0 results and")
    assert "resumed 2 0 3" in out


# One training run.


@pytest.mark.parametrize("variant", ["vpt-deep", "mine"])
def test_a_final_fit_gives_the_logits_of_the_run(filled, variant: str):
    import torch

    results = filled.run.results
    row = results[results["variant"] == variant].iloc[1]
    stored, _ = Store(filled.tiny.store).result(row["id"])
    told = {name: filled.told[name] for name in ("cards", "protocol")}
    method = variant if variant == "vpt-deep" else f"{filled.tiny.folder / 'mine.py'}:Mine"
    threads = torch.get_num_threads()
    torch.set_num_threads(stored.provenance["threads"])
    try:
        model = harness.fit(
            method, "toy", params=stored.params, seed=stored.seed, final=True, **told
        )
    finally:
        torch.set_num_threads(threads)
    assert model.origin.logits_sha256 == stored.logits_sha256
    assert model.curve[2] == stored.score
    file = model.save(filled.tiny.folder / f"{variant}.safetensors")
    again = harness.load(file, method=None if variant == "vpt-deep" else method)
    images = torch.rand(2, 3, model.size, model.size)
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))


def test_a_fit_scores_on_val_and_says_how_it_goes(filled, capsys: pytest.CaptureFixture[str]):
    told = {name: filled.told[name] for name in ("cards", "protocol")}
    model = harness.fit("vpt-deep(prompts=2, base_lr=0.5)", "toy", **told)
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"{epoch} of 2: {score:.2f} % on val" for epoch, score in sorted(model.curve.items())
    ]
    assert model.origin.arguments["prompts"] == 2
    assert model.origin.params == {"weight_decay": 0.0}
    assert model.origin.id.endswith("-val")
    assert not model.training


def test_a_fit_of_a_class_stops_at_breakpoints_and_raises_what_it_raises(
    filled, monkeypatch: pytest.MonkeyPatch
):
    """A class of a notebook's cell has no file, and needs none here."""
    seen: list[object] = []

    class Cell(harness.Method):
        name = "cell"

        def __init__(self, vit, broken: bool = False):
            super().__init__(vit)
            vit.vit.norm.weight.requires_grad_(True)
            self.broken = broken

        def forward(self, images, read):
            breakpoint()
            if self.broken:
                raise ZeroDivisionError("in the middle")
            return super().forward(images, read)

    monkeypatch.setattr(sys, "breakpointhook", lambda: seen.append(sys._getframe(1).f_code.co_name))
    told = {name: filled.told[name] for name in ("cards", "protocol")}
    assert harness.fit(Cell, "toy", params={"base_lr": 0.1}, progress=False, **told).origin.score
    assert set(seen) == {"forward"}
    with pytest.raises(ZeroDivisionError, match="in the middle"):
        harness.fit(Cell, "toy", params={"broken": True}, progress=False, **told)


# The rest.


def test_a_plan_costs_nothing(filled):
    told = {name: filled.told[name] for name in ("cards", "protocol")}
    plan = harness.plan(["linear", "vpt-deep"], tasks="toy,toy2", progress=False, **told)
    costs = plan.costs.set_index("method")
    assert costs.loc["vpt-deep", "final_runs"] == 4
    assert costs.loc["vpt-deep", "trials"] == 4
    # 18 + 12 images twice over for each of 2 epochs of a final run, 15 scored; 18 for a trial, and
    # 12 scored after each epoch
    assert costs.loc["vpt-deep", "units"] == 2 * (2 * (2 * 2 * 30 + 15) + 2 * (2 * 2 * 18 + 2 * 12))
    assert not plan.missing
    assert "4 cells: 2 methods x 2 tasks" in str(plan)
    assert "2 methods x 2 tasks" in plan._repr_html_()


def test_a_comparison_and_a_reproduction_say_themselves(filled):
    comparison = harness.compare("vpt-deep", "mine", store=filled.tiny.store)
    assert "vpt-deep" in str(comparison)
    assert repr(comparison) == str(comparison)
    results = filled.run.results
    id = results[results["variant"] == "vpt-deep"]["id"].iloc[0]
    file, told = filled.tiny.folder / "again.safetensors", filled.tiny.folder / "again.json"
    again = harness.reproduce(id, store=filled.tiny.store, export=file, record=told, progress=False)
    assert again.equal
    record = reproduced.read(told)
    assert record.equal
    assert record.is_of(Store(filled.tiny.store).result(id)[0])
    assert record.again_device == "cpu"
    assert str(again).splitlines()[-1].startswith("equal: ")
    assert harness.load(file).origin.id == id


@pytest.mark.slow
def test_an_ablation_is_a_run_that_shows_its_table(filled):
    fixed = "ivpt(prompts=2,k=2,cdc=true,ar=false)"
    ablation = harness.ablate(fixed, workers=1, seeds=[0], trials=1, progress=False, **filled.told)
    assert isinstance(ablation, harness.Run)
    assert (ablation.gaps, len(ablation.results)) == (0, 2)
    assert "its toggles" in str(ablation)
    assert "its toggles" in ablation._repr_html_()
    assert api.toggled(fixed).count("ivpt(") == 2
