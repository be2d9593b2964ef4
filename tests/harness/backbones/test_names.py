"""What names are understood: today's, old ones, those that timm hasn't; and what the others are
told."""

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from harness import backbones
from harness.backbones import names
from harness.data import download
from harness.errors import BadInput


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
        ("vit_huge_patch14_224_in21k", "vit_huge_patch14_224.orig_in21k"),
        ("vit_base_patch16_224_dino", "vit_base_patch16_224.dino"),
        ("deit3_small_patch16_224_in21ft1k", "deit3_small_patch16_224.fb_in22k_ft_in1k"),
        ("vit_base_patch16_224.orig_in21k", "vit_base_patch16_224.orig_in21k"),
        ("mini_vit", "mini_vit"),
    ],
)
def test_an_old_name_is_todays(old: str, today: str):
    spec = backbones.parse(f"{old}@384=/some/file.pth")
    assert (spec.name, spec.side, spec.file) == (today, 384, Path("/some/file.pth"))


def test_an_old_names_weights_have_todays_name_in_their_identity(tmp_path: Path):
    torch.save(
        timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict(), tmp_path / "x.pth"
    )
    one, other = (
        backbones.load(f"{name}={tmp_path / 'x.pth'}")
        for name in ("vit_tiny_patch16_224_in21k", "vit_tiny_patch16_224.augreg_in21k")
    )
    assert (one.name, one.sha256) == (other.name, other.sha256)
    assert one.name == "vit_tiny_patch16_224.augreg_in21k"
    older = "swin_base_patch4_window7_224_in22k"
    assert backbones.parse(older).name == "swin_base_patch4_window7_224.ms_in22k"


@pytest.mark.parametrize(
    "name",
    [
        "swinv2_cr_tiny_224",
        "efficientnet_b0",
        "regnety_002",
        "vit_relpos_small_patch16_224",
        "vit_tiny_r_s16_p8_224",
        "vit_large_patch16_sapiens2",
        "eva02_enormous_patch14_clip_224",
    ],
)
def test_an_architecture_that_timm_has_and_we_do_not_is_refused_as_that(name: str):
    with (
        torch.device("meta"),
        pytest.raises(BadInput, match=r"timm's \S+ is not covered.*: only timm's vit_") as caught,
    ):
        backbones.architecture(name)
    assert "Did you mean" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("vit_base_patch16_244", "vit_base_patch16_224"),
        ("vit_base_patch16_244.mae", "vit_base_patch16_224.mae"),
        ("mini_vt", "mini_vit"),
        ("vit_base_patch16_224.orig_in21kk", "orig_in21k"),
        ("vit_base_patch16_224.moco_v3", "mocov3"),
        ("tipsv2", "vit_base_patch14_reg1_tipsv2"),
        # the usual one of a family, and as papers write it
        ("vit_base", "vit_base_patch16_224"),
        ("ViT-B/16", "vit_base_patch16_224"),
        ("vitl16", "vit_large_patch16_224"),
        ("swin-b", "swin_base_patch4_window7_224"),
        ("mae", "vit_base_patch16_224.mae"),
        ("dinov2", "vit_base_patch14_dinov2"),
        ("resnet", "resnet50"),
    ],
)
def test_an_unknown_name_gets_a_guess_with_its_weights(name: str, guess: str):
    with pytest.raises(BadInput, match=f"unknown .*Did you mean '{guess}'"):
        backbones.architecture(name)


def test_the_beginning_of_names_that_are_not_covered_gets_no_guess():
    for name, first in (("hiera", "hiera_"), ("efficientnet_b", "efficientnet_b0")):
        with pytest.raises(BadInput, match=f"timm's {first}.* is not covered") as caught:
            backbones.architecture(name)
        assert "Did you mean" not in str(caught.value)
    with pytest.raises(BadInput, match=r"unknown backbone 'my_own_net'\. See"):
        backbones.architecture("my_own_net")


@pytest.mark.parametrize(
    ("name", "family", "pooling", "prefix"),
    [
        ("vit_small_patch16_dinov3.lvd1689m", "rope-vit", "avg", 5),
        ("eva02_base_patch14_224.mim_in22k", "rope-vit", "avg", 1),
        ("eva02_base_patch16_clip_224", "rope-vit", "cls", 1),
        ("eva_giant_patch14_224", "eva", "avg", 1),
        ("vit_pe_core_base_patch16_224.fb", "rope-vit", "map", 1),
        ("vit_base_patch16_rope_mixed_224", "rope-vit", "cls", 1),
        ("vit_base_patch16_siglip_224.v2_webli", "vit", "map", 0),
        ("vit_base_patch16_siglip_gap_224", "vit", "avg", 0),
        ("aimv2_large_patch14_224", "vit", "avg", 0),
        ("beit_base_patch16_224", "beit", "avg", 1),
        ("beitv2_large_patch16_224", "beit", "avg", 1),
        ("deit_tiny_distilled_patch16_224", "vit", "cls+dist", 2),
    ],
)
def test_families_by_name(name: str, family: str, pooling: str, prefix: int):
    with torch.device("meta"):
        vit = backbones.architecture(name)
    assert (vit.family, vit.pooling, vit.prefix) == (family, pooling, prefix)
    assert vit.name == name
    assert not getattr(vit.vit, "dynamic_img_size", False)


def saved_for_a_hub(folder: Path) -> torch.nn.Module:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 64}
    vit = timm.create_model("beit_base_patch16_224", num_classes=3, **shape)
    timm.models.save_for_hf(vit, str(folder), model_args=shape)
    return vit


def test_a_folder_as_timm_saves_one_for_a_hub_is_a_backbone(tmp_path: Path):
    vit = saved_for_a_hub(tmp_path / "mine")
    loaded = backbones.load(f"local-dir:{tmp_path / 'mine'}@96")
    assert (loaded.vit.family, loaded.size, loaded.vit.dim) == ("beit", 96, 24)
    assert loaded.statistics.mean == (0.5, 0.5, 0.5)
    own = loaded.vit.vit.state_dict()
    assert torch.equal(own["blocks.1.mlp.fc1.weight"], vit.state_dict()["blocks.1.mlp.fc1.weight"])
    assert backbones.where_from(f"local-dir:{tmp_path / 'mine'}") == ""
    with pytest.raises(BadInput, match=r"could not be read .*Offline\? Give a folder"):
        backbones.load(f"local-dir:{tmp_path / 'none'}")


def test_a_hub_name_keeps_its_revision():
    spec = backbones.parse("hf_hub:timm/vit_small_patch16_dinov3.lvd1689m@main")
    assert (spec.name, spec.side) == ("hf_hub:timm/vit_small_patch16_dinov3.lvd1689m@main", None)
    spec = backbones.parse("hf_hub:someone/mine@v2@384")
    assert (spec.name, spec.side) == ("hf_hub:someone/mine@v2", 384)
    assert backbones.where_from("hf_hub:someone/mine") == "Hugging Face's hub"


def test_moco_v3_has_a_name_imagenets_statistics_and_vpts_pooling():
    with torch.device("meta"):
        vit = backbones.architecture(names.MOCO_V3)
    assert (vit.pooling, vit.image_size, vit.dim, vit.depth) == ("cls", 224, 768, 12)
    assert backbones.statistics_of(names.MOCO_V3).name == "imagenet"
    assert (
        backbones.where_from(names.MOCO_V3)
        == "https://dl.fbaipublicfiles.com/moco-v3/vit-b-300ep/linear-vit-b-300ep.pth.tar"
    )
    assert backbones.where_from("mini_vit") == backbones.where_from(f"{names.MOCO_V3}=x.pth") == ""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on a server of this machine, from which `test_vit.elsewhere` is fetched as
    `weights.pth.tar`."""
    (tmp_path / "served").mkdir()
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "served")
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setitem(
        names.ELSEWHERE,
        "test_vit.elsewhere",
        f"http://127.0.0.1:{server.server_port}/weights.pth.tar",
    )
    monkeypatch.setenv("VPT_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "WAIT", 0.0)
    yield tmp_path / "served"
    server.shutdown()
    server.server_close()


def test_weights_that_timm_has_not_are_fetched_once_into_the_cache(served: Path):
    torch.manual_seed(0)
    state = timm.create_model("test_vit", num_classes=0).state_dict()
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        served / "weights.pth.tar",
    )
    first = backbones.load("test_vit.elsewhere")
    (served / "weights.pth.tar").unlink()
    again = backbones.load("test_vit.elsewhere@32")
    assert first.sha256 == again.sha256
    assert (first.size, again.size) == (160, 32)
    assert first.name == "test_vit.elsewhere"
    torch.testing.assert_close(first.vit.vit.state_dict(), state)


def test_weights_that_cannot_be_fetched_say_where_from_and_the_mend(
    served: Path, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(
        BadInput,
        match=(
            r"backbone test_vit.elsewhere: .*can't be downloaded.*Or give a file: --backbone"
            r" test_vit.elsewhere=FILE\."
        ),
    ):
        backbones.load("test_vit.elsewhere")
    monkeypatch.setitem(names.ELSEWHERE, "test_vit.elsewhere", "http://127.0.0.1:9/weights.pth.tar")
    with pytest.raises(
        BadInput, match=r"is this machine online\?.*--backbone test_vit.elsewhere=FILE"
    ) as caught:
        backbones.load("test_vit.elsewhere")
    assert "\n" not in str(caught.value)


def test_a_page_in_place_of_the_weights_is_said(served: Path):
    (served / "weights.pth.tar").write_text("<html>403</html>")
    with pytest.raises(BadInput, match="is a web page, not weights"):
        backbones.load("test_vit.elsewhere")
