"""Methods that need another package: said before anything runs, and its version a part of their
results' key."""

import sys
from importlib.metadata import PackageNotFoundError, version

import pytest
from in_process import outcomes

from harness.cli import list as listing
from harness.cli.main import main
from harness.engine.jobs import FinalJob
from harness.engine.trainer import Trainer
from harness.errors import BadInput
from harness.inference import checkpoint_files, tuned_model
from harness.planning import registry, variant
from harness.planning.declaration import check
from harness.planning.plan import plan
from harness.planning.registry import families, registered
from harness.planning.variants import left_out, one, parse, recorded
from harness.text import rendered
from harness.training.method import Method

NEEDING = sorted(name for name, entry in registered().items() if "hf_peft" in entry.value)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if peft weren't installed."""

    def found(name: str) -> str:
        if name == "peft":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr(registry, "version", found)


def test_a_method_without_its_package_is_one_line_with_the_command(absent: None):
    for text in ("dora(rank=4)", "peft(type=loha)"):
        name = text.partition("(")[0]
        with pytest.raises(BadInput) as caught:
            parse(text)
        expected = f"method '{name}' needs peft: pip install 'vpt-harness[peft]'."
        assert str(caught.value) == expected


def test_at_the_command_line_it_is_exit_code_2_before_ray(
    absent: None, never_ahead: None, tiny, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", ["harness", *tiny.arguments(methods="dora")])
    monkeypatch.setitem(sys.modules, "ray", None)  # an import of it would fail
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = " ".join(capsys.readouterr().err.split())
    assert "method 'dora' needs peft: pip install 'vpt-harness[peft]'." in error


def test_a_family_goes_without_and_says_so(absent: None, tiny):
    names = [variant.name for variant in parse("peft")]
    assert "lora" in names
    assert not set(names) & set(NEEDING)
    assert not set(NEEDING) & {variant.name for variant in parse("everything")}
    (line,) = left_out("linear,peft")
    without = ", ".join(name for name in NEEDING if name != "peft")
    assert line == f"Without {without}, which need a package: pip install 'vpt-harness[peft]'."
    assert left_out("linear,prompts") == left_out("dora") == []
    convnets = "residual blocks of convolutions, which mini_vit doesn't have"
    assert plan(tiny.request("linear,peft")).warnings == (
        line,
        f"Without conv-adapter: it needs {convnets}.",
    )
    assert plan(tiny.request("linear")).warnings == ()


def test_where_it_is_installed_the_family_has_them():
    assert {*NEEDING} - {"peft"} <= {*families()["peft"]}
    assert left_out("everything") == []


def test_a_bare_name_that_is_also_a_family_s_is_the_family():
    assert {"lora", "ssf", "dora"} <= {variant.name for variant in parse("peft")}
    (method,) = parse("peft()")
    assert (method.name, method.arguments) == ("peft", {"type": "lora"})
    assert method.label == parse(method.label)[0].label == "peft(type=lora)"
    assert one("peft").label == recorded("peft", None).label == "peft(type=lora)"
    assert [variant.label for variant in parse("peft(rank=4),peft(type=loha)")] == [
        "peft(rank=4,type=lora)",
        "peft(type=loha)",
    ]
    assert parse("dora")[0].label == "dora"
    with pytest.raises(BadInput, match="one method at a time"):
        one("references")


@pytest.mark.parametrize("group", ["peft", "everything"])
def test_a_method_that_is_any_type_is_in_no_group(group):
    """Its types stand there by name, and its default would stand there twice."""
    assert "peft" not in {variant.name for variant in parse(group)}


def test_the_version_is_a_part_of_the_key(monkeypatch, tiny):
    (now,) = plan(tiny.request("dora")).cells
    assert now.cell.identity["method"]["packages"] == {"peft": version("peft")}
    monkeypatch.setattr(variant, "version", lambda name: "0.99")
    (later,) = plan(tiny.request("dora")).cells
    assert later.cell.identity["method"]["packages"] == {"peft": "0.99"}
    assert later.key != now.key
    assert "packages" not in parse("lora")[0].identity


def test_a_checkpoint_of_another_version_is_refused(tiny, monkeypatch):
    keep = checkpoint_files.Keep(tiny.folder / "kept")
    found = plan(tiny.request("dora(rank=2)"))
    point = {"base_lr": 0.05, "weight_decay": 0.0}
    trainer = Trainer(found, threads=1, raises=True, keep=keep)
    outcomes(trainer, FinalJob(found.cells[0].key, (0,), point))
    (file,) = keep.folder.iterdir()
    tuned_model.load(file)
    monkeypatch.setattr(variant, "version", lambda name: "0.99")
    expected = rf"was tuned with peft {version('peft')}; installed is peft 0\.99"
    with pytest.raises(BadInput, match=expected):
        tuned_model.load(file)


def test_the_list_says_what_needs_it_whether_it_is_installed_or_not(monkeypatch):
    shown = rendered(listing.listing("methods").table)
    assert shown.count("an extra: pip install 'vpt-harness[peft]'") == len(NEEDING)
    monkeypatch.setattr(registry, "is_installed", lambda name: False)
    shown = rendered(listing.listing("methods").table)
    assert shown.count("not installed: pip install 'vpt-harness[peft]'") == len(NEEDING)


def test_packages_are_declared_as_a_dict():
    class Mine(Method):
        name = "mine"
        packages = ("peft",)  # type: ignore[assignment]

    with pytest.raises(BadInput, match=r"mine: packages must be a dict, as \{\"peft\": "):
        check(Mine, "mine")
