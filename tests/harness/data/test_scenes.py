"""Segmentation's data: ADE20K's official layout and arrays with masks, the cache and fingerprint of
masks, crops and distortion."""

import colorsys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_ade20k import SIZES, ade

from harness.data import cache as cache_module
from harness.data.augment import NO_DISTORTION, Crop, distorted, draw, hsv, rgb, scaled
from harness.data.fingerprint import fingerprint
from harness.data.loader import TestSetSealed, open_final, open_tuning
from harness.data.normalization import IMAGENET
from harness.data.prepare import prepare
from harness.data.readers import check, records, resolve
from harness.data.scenes import Scenes, together
from harness.data.verify import verify
from harness.errors import BadInput
from harness.tasks.cards import SPLITS, TaskCard, load_cards

CPU = torch.device("cpu")


def annotations(root: Path, part: str = "validation") -> list[Path]:
    return sorted((root / "ade20k" / "ADEChallengeData2016" / "annotations" / part).iterdir())


def refused(card: TaskCard, root: Path | None) -> str:
    """The one line that a run would end with, before anything is written."""

    def before_a_run() -> None:
        check(card, root)
        fingerprint(card, root)

    with pytest.raises(BadInput) as error:
        before_a_run()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def card(tmp_path: Path) -> TaskCard:
    return ade(tmp_path)


def test_zero_is_ignored_and_the_others_count_from_zero(card: TaskCard, tmp_path: Path):
    rows = records(card, tmp_path, "test")
    assert [row.key for row in rows] == [f"validation/ADE_val_{number:08}" for number in (1, 2, 3)]
    for row, path in zip(rows, annotations(tmp_path), strict=True):
        stored = np.asarray(Image.open(path)).astype(int)
        assert row.mask is not None
        assert np.array_equal(row.mask.classes(), np.where(stored == 0, 255, stored - 1))
        assert row.mask.classes().dtype == np.uint8


def test_val_is_held_out_of_training_by_the_seed_and_test_is_the_official_validation(
    card: TaskCard, tmp_path: Path
):
    keys = {split: [row.key for row in records(card, tmp_path, split)] for split in SPLITS}
    assert {split: len(names) for split, names in keys.items()} == SIZES
    assert sorted(keys["train"] + keys["val"]) == [
        f"training/ADE_train_{number:08}" for number in range(1, 8)
    ]
    assert {name.split("/")[0] for name in keys["test"]} == {"validation"}
    reader = card.reader.model_copy(update={"seed": 5})
    other = card.model_copy(
        update={"reader": type(reader)(**{**card.reader.model_dump(), "seed": 5})}
    )
    assert [row.key for row in records(other, tmp_path, "train")] != keys["train"]


@pytest.mark.parametrize(
    "inside", ["ade20k/ADEChallengeData2016", "ade20k", "ADEChallengeData2016", "."]
)
def test_the_folder_may_lie_where_people_have_it(tmp_path: Path, inside: str):
    card = ade(tmp_path, inside)
    check(card, tmp_path)
    assert resolve(card, tmp_path).reader.format == "ade20k-folder"


def test_what_is_wrong_with_a_copy_is_one_line(card: TaskCard, tmp_path: Path):
    first, second, third = annotations(tmp_path)
    assert "give --data-root" in refused(card, None)
    assert "To get it: extract" in refused(card, tmp_path / "elsewhere")
    kept = first.read_bytes()
    Image.fromarray(np.zeros((9, 12), np.uint8)).save(first)
    assert f"{first} is 12 x 9 pixels, but its image 9 x 12" in refused(card, tmp_path)
    Image.fromarray(np.full((12, 9), 151, np.uint8)).save(first)
    assert f"{first} has the value 151, expected 0 to 150" in refused(card, tmp_path)
    Image.fromarray(np.zeros((12, 9, 3), np.uint8)).save(first)
    assert f"{first} has pixels of kind RGB, expected 8-bit classes" in refused(card, tmp_path)
    first.write_bytes(b"no image")
    assert "the mask of validation/ADE_val_00000001 is missing, or can't be decoded" in refused(
        card, tmp_path
    )
    first.unlink()
    assert f"has no mask: {first} is missing" in refused(card, tmp_path)
    first.write_bytes(kept)
    image = (
        tmp_path
        / "ade20k"
        / "ADEChallengeData2016"
        / "images"
        / "validation"
        / f"{second.stem}.jpg"
    )
    image.unlink()
    assert "test has 2 records, expected 3" in refused(card, tmp_path)
    assert third.is_file()


def test_masks_are_part_of_the_fingerprint(card: TaskCard, tmp_path: Path):
    before = fingerprint(card, tmp_path)
    path = annotations(tmp_path, "training")[3]
    mask = np.asarray(Image.open(path)).copy()
    mask[0, 0] = (mask[0, 0] + 1) % 151
    Image.fromarray(mask).save(path)
    assert fingerprint(card, tmp_path) != before


def test_images_and_masks_are_decoded_once_at_their_own_size(
    card: TaskCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digest = fingerprint(card, tmp_path)
    made = open_final(card, tmp_path, 8, digest).test
    with monkeypatch.context() as patched:
        patched.setattr(cache_module, "records", lambda *_: pytest.fail("read again"))
        again = open_final(card, tmp_path, 8, digest).test
    assert isinstance(made, Scenes)
    assert isinstance(again, Scenes)
    for place, row in enumerate(records(card, tmp_path, "test")):
        assert row.mask is not None
        for image, mask in (made.scene(place), again.scene(place)):
            assert np.array_equal(image, np.asarray(row.image()))
            assert np.array_equal(mask, row.mask.classes())
    monkeypatch.setattr(cache_module, "SHARE", 0.0)
    live = open_final(card, tmp_path, 8, "0" * 64).test
    assert isinstance(live, Scenes)
    assert np.array_equal(live.scene(1)[1], made.scene(1)[1])


def test_a_final_run_trains_on_all_official_training_images_and_tuning_never_sees_test(
    card: TaskCard, tmp_path: Path
):
    digest = fingerprint(card, tmp_path)
    tuning, final = open_tuning(card, tmp_path, 8, digest), open_final(card, tmp_path, 8, digest)
    assert (len(tuning.train), len(tuning.val), len(final.train), len(final.test)) == (5, 2, 7, 3)
    with pytest.raises(TestSetSealed):
        _ = tuning.test
    train, val = tuning.train, tuning.val
    assert isinstance(train, Scenes)
    assert isinstance(val, Scenes)
    assert isinstance(final.train, Scenes)
    both = [part.scene(row) for part in (train, val) for row in range(len(part))]
    assert all(
        np.array_equal(final.train.scene(row)[1], mask) for row, (_, mask) in enumerate(both)
    )


def test_verify_counts_the_images_that_a_class_is_seen_in_and_there_is_nothing_to_prepare(
    card: TaskCard, tmp_path: Path
):
    seen = verify(card, tmp_path, lambda _: None)
    masks = [np.asarray(Image.open(path)) for path in annotations(tmp_path)]
    assert seen.histograms["test"][0] == sum((mask == 1).any() for mask in masks)
    assert max(seen.histograms["test"]) <= 149
    assert seen.faults == ()
    with pytest.raises(BadInput, match="nothing to prepare"):
        prepare(card, tmp_path, tmp_path, lambda *_: None)
    with pytest.raises(BadInput, match="--pixels tf isn't for segmentation"):
        resolve(card, tmp_path, "tf")


def test_the_shipped_scenes_have_their_classes_and_an_ignored_band():
    card = load_cards()["sprites-scenes"]
    check(card, None)
    for split, n in card.sizes.items():
        rows = records(card, None, split)
        masks = [row.mask.classes() for row in rows if row.mask]
        assert len(masks) == n
        assert set(np.unique(np.stack(masks))) == {0, 1, 2, 3, 4, 5, 255}
        assert {row.image().size for row in rows} == {(40, 30)}


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (np.full((2, 3, 4), 6, np.uint8), "has class 6, expected 0 to 5, or 255"),
        (np.zeros((2, 4, 3), np.uint8), r"is uint8 \(2, 4, 3\), expected uint8 \(2, 3, 4\)"),
        (np.zeros((2, 3, 4), np.int64), "is int64"),
    ],
)
def test_arrays_with_other_masks_are_refused(tmp_path: Path, masks: np.ndarray, said: str):
    card = load_cards()["sprites-scenes"]
    arrays = {"train_images": np.zeros((2, 3, 4, 3), np.uint8), "train_masks": masks}
    np.savez(tmp_path / "a.npz", allow_pickle=False, **arrays)
    reader = type(card.reader)(format="arrays", file="a.npz")  # type: ignore[call-arg]
    card = card.model_copy(
        update={"reader": reader, "sizes": {"train": 2}, "path": tmp_path / "a.toml"}
    )
    with pytest.raises(BadInput, match=said):
        records(card, None, "train")


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [
        ((683, 512), 1.0, (683, 512)),
        ((300, 400), 1.0, (512, 683)),
        ((300, 400), 0.5, (256, 341)),
        ((100, 1000), 1.0, (205, 2048)),
    ],
)
def test_an_image_is_scaled_by_its_shorter_side_unless_the_longer_would_be_above_four_crops(
    shape: tuple[int, int], scale: float, expected: tuple[int, int]
):
    assert scaled(shape[0], shape[1], 512, scale) == expected


def test_a_crop_is_image_and_mask_of_the_same_place():
    """Every pixel of this image tells its place, and the mask is a function of it: so they must fit
    after any scale, cut and flip."""
    place = np.arange(40 * 50).reshape(40, 50)
    image = np.stack([place // 50 * 4, place % 50 * 4, place * 0], 2).astype(np.uint8)
    mask = (place // 50 >= 20).astype(np.uint8)
    mask[5:9, 5:9] = 255
    flips = set()
    for seed in range(60):
        crop = draw(image, mask, 40, 32, np.random.default_rng(seed))
        assert (crop.image.shape, crop.mask.shape) == ((32, 32, 3), (32, 32))
        assert (crop.mask[crop.height :] == 255).all()
        assert (crop.mask[:, crop.width :] == 255).all()
        assert (crop.image[crop.height :] == 0).all()
        inside = crop.mask[: crop.height, : crop.width]
        rows = crop.image[: crop.height, : crop.width, 0] / 4
        counted = inside != 255
        assert ((rows >= 19.5) == inside)[counted & (np.abs(rows - 19.5) > 1)].all()
        across = crop.image[0, : crop.width, 1].astype(int)
        flips.add(bool(across[0] > across[-1]))
    assert flips == {True, False}


def test_a_small_image_is_padded_with_the_mean_and_padding_doesnt_count():
    crop = Crop(
        np.zeros((4, 4, 3), np.uint8),
        np.full((4, 4), 255, np.uint8),
        3,
        2,
        (30.0, 1.2, 1.1, 10.0, 1.0),
    )
    pixels, masks = together([crop], CPU)
    assert (pixels[0, :, 3:] == 0).all()
    assert (pixels[0, :, :, 2:] == 0).all()
    assert (pixels[0, :, :3, :2] != 0).all()
    assert masks.dtype == torch.int64


def test_a_crop_that_isnt_distorted_is_normalised_and_nothing_else():
    image = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    pixels, _ = together([Crop(image, np.zeros((5, 5), np.uint8), 5, 5, NO_DISTORTION)], CPU)
    expected = (image / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0).numpy(), expected, atol=1e-5)


def test_the_hue_circle_is_that_of_colorsys():
    values = torch.rand(1, 3, 40, 5, generator=torch.Generator().manual_seed(0))
    values[0, :, 0] = torch.tensor([[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]).T
    h, s, v = hsv(values)
    for place in range(200):
        r, g, b = values.flatten(2)[0, :, place].tolist()
        expected = colorsys.rgb_to_hsv(r, g, b)
        found = (
            h.flatten()[place].item() / 360,
            s.flatten()[place].item(),
            v.flatten()[place].item(),
        )
        assert found == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(rgb(h, s, v), values, atol=1e-5, rtol=0)


def test_distortion_is_brightness_contrast_saturation_hue_in_the_standard_order():
    pixel = torch.tensor([200.0, 100.0, 50.0]).view(1, 3, 1, 1)

    def changed(*by: float) -> list[float]:
        return distorted(pixel, torch.tensor([by], dtype=torch.float32))[0, :, 0, 0].tolist()

    assert changed(*NO_DISTORTION) == pytest.approx([200, 100, 50], abs=1e-3)
    assert changed(80, 1, 1, 0, 1) == pytest.approx([255, 180, 130], abs=1e-3)
    assert changed(0, 0.5, 1, 0, 1) == pytest.approx([100, 50, 25], abs=1e-3)
    assert changed(0, 1, 0.5, 0, 1) == pytest.approx([200, 150, 125], abs=1e-3)
    assert changed(0, 1, 1, 120, 1) == pytest.approx([50, 200, 100], abs=1e-3)
    before, after = changed(0, 1.5, 1.4, 30, 1), changed(0, 1, 1.4, 30, 1.5)
    # 200 * 1.5 is clipped before saturation, or after it
    assert before != pytest.approx(after, abs=1)


def test_half_of_the_changes_are_drawn_and_none_beyond_its_bound():
    image, mask = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8)
    drawn = np.array(
        [draw(image, mask, 4, 4, np.random.default_rng(seed)).distortion for seed in range(2000)]
    )
    brightness, before, saturation, hue, after = drawn.T
    for values, neutral, low, high in (
        (brightness, 0, -32, 32),
        (saturation, 1, 0.5, 1.5),
        (hue, 0, -36, 36),
    ):
        assert 0.45 < (values != neutral).mean() < 0.55
        assert low <= values.min() < values.max() <= high
    assert 0.2 < (before != 1).mean() < 0.3
    assert 0.2 < (after != 1).mean() < 0.3
    assert not ((before != 1) & (after != 1)).any()


@pytest.mark.parametrize("ahead", [1, 3])
def test_what_is_drawn_follows_from_the_seed_and_not_from_who_draws_it(
    card: TaskCard, tmp_path: Path, ahead: int
):
    train = open_tuning(card, tmp_path, 8, fingerprint(card, tmp_path)).train
    assert isinstance(train, Scenes)

    def images(seed: int, ahead: int) -> np.ndarray:
        return np.stack(
            [[crop.image for crop in batch] for batch in train.stream(4, 6, seed, ahead)]
        )

    assert images(3, 0).shape == (6, 4, 8, 8, 3)
    assert np.array_equal(images(3, 0), images(3, ahead))
    assert not np.array_equal(images(3, 0), images(4, 0))
