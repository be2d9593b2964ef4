"""Protocols: what the files say, and what of it is identity."""

from pathlib import Path

import pytest

from harness import protocols
from harness.errors import BadInput
from harness.plan import search_space
from harness.variants import parse


def test_the_vpt_protocol_is_the_papers():
    vpt = protocols.load("vpt")
    assert (vpt.optimizer, vpt.epochs, vpt.warmup_epochs, vpt.seeds) == ("sgd", 100, 10, (42, 44, 82, 100, 800))
    linear, deep, fixed = parse("linear,vpt-deep,vpt-deep(prompts=5)")
    sizes = [len(protocols.grid(search_space(variant, vpt))) for variant in (linear, deep, fixed)]
    assert sizes == [40, 240, 40]
    assert vpt.score_at() == (100,)


def test_every_shipped_protocol_loads():
    assert protocols.names() == ["default", "mini", "vpt"]
    for name in protocols.names():
        assert protocols.load(name).score_at()[-1] == protocols.load(name).epochs


def test_seeds_and_titles_are_no_identity_and_trials_are():
    assert protocols.load("default", trials=3).identity() != protocols.load("default").identity()
    changed = protocols.load("default").model_copy(update={"seeds": (1,), "title": "x"})
    assert changed.identity() == protocols.load("default").identity()


@pytest.mark.parametrize(
    ("text", "message"),
    [("epochs = ", "syntax"), ('title = "x"\nepoch = 3\n', "title|optimizer|epoch"), (None, "unknown protocol")],
)
def test_a_broken_file_is_one_line(tmp_path: Path, text: str | None, message: str):
    file = tmp_path / "mine.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        protocols.load(str(file))
    assert "\n" not in str(caught.value)


def test_a_grid_over_a_range_is_refused():
    with pytest.raises(BadInput, match="base_lr is a range"):
        protocols.grid({k: v.distribution() for k, v in protocols.load("default").space.items()})
