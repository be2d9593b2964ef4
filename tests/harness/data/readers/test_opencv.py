"""sun397 and diabetic_retinopathy, whose images TensorFlow Datasets processed: against its steps
written out with OpenCV."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from tiny_originals import card_of, write_retinopathy, write_sun397

from harness.data.fingerprint import fingerprint
from harness.data.readers import opencv, records, resolve, retinopathy, sun397

RNG = np.random.default_rng(0)


def scene(height: int, width: int) -> np.ndarray:
    """Smooth colours with some noise, as a photograph has."""
    rows, columns = np.mgrid[:height, :width]
    smooth = np.stack(
        [rows * 255 / height, columns * 255 / width, 255 - rows * 255 / height], axis=2
    )
    return np.clip(smooth + RNG.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def eye(height: int, width: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    inside = (rows - height // 2) ** 2 + (columns - width // 2) ** 2 < radius**2
    return np.where(inside[..., None], scene(height, width) // 2 + 60, 0).astype(np.uint8)


def saved(path: Path, image: np.ndarray, kind: str = "PNG") -> Path:
    Image.fromarray(image).save(path, kind)
    return path


def read_back(jpeg: np.ndarray) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg.tobytes())).convert("RGB"))


@pytest.mark.parametrize(("height", "width"), [(300, 399), (300, 400), (400, 500), (90, 2000)])
def test_sun397_is_capped_and_encoded_again(height: int, width: int, tmp_path: Path):
    path = saved(tmp_path / "a.jpg", scene(height, width), "JPEG")
    image: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags=3)
    if height * width > 120_000:
        factor = np.sqrt(120_000 / (height * width))
        image = cv2.resize(image, dsize=None, fx=factor, fy=factor)
        assert image.shape[0] * image.shape[1] < 121_000
    expected = read_back(cv2.imencode(".jpg", image)[1])
    assert np.array_equal(np.asarray(sun397.processed(path)), expected)


def test_sun397s_files_of_other_kinds(tmp_path: Path):
    grey = np.asarray(sun397.processed(saved(tmp_path / "grey.jpg", scene(20, 30)[..., 0])))
    assert grey.shape == (20, 30, 3)
    alpha = np.dstack([scene(20, 30), np.full((20, 30), 99, np.uint8)])
    assert np.asarray(sun397.processed(saved(tmp_path / "alpha.jpg", alpha))).shape == (20, 30, 3)
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    for kind, channel in (("PNG", 0), ("BMP", 0), ("GIF", 2)):  # a GIF's channels came out swapped
        found = (
            np.asarray(sun397.processed(saved(tmp_path / f"red.{kind}.jpg", red, kind)))
            .reshape(-1, 3)
            .mean(0)
        )
        assert found.argmax() == channel
        assert found.max() > 250
    (tmp_path / "none.jpg").write_bytes(b"no image")
    with pytest.raises(OSError, match="cannot identify"):
        sun397.processed(tmp_path / "none.jpg")


@pytest.mark.parametrize(
    "image",
    [eye(300, 420, 140), eye(900, 1000, 520), eye(200, 900, 300), np.zeros((64, 80, 3), np.uint8)],
    ids=["small", "large", "cropped", "black"],
)
def test_retinopathy_is_processed_as_btgraham_300(image: np.ndarray, tmp_path: Path):
    path = saved(tmp_path / "a.jpeg", image, "JPEG")
    expected: Any = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags=3)
    row = expected[expected.shape[0] // 2].sum(axis=1)
    radius = (row > row.mean() / 10.0).sum() / 2.0
    scale = 300 / (radius if radius >= 1.0 else expected.shape[0] / 2.0)
    expected = cv2.resize(expected, dsize=None, fx=scale, fy=scale)
    expected = cv2.addWeighted(expected, 4, cv2.GaussianBlur(expected, (0, 0), 10.0), -4, 128)
    middle = (expected.shape[1] // 2, expected.shape[0] // 2)
    mask = cv2.circle(
        np.zeros(expected.shape), center=middle, radius=270, color=(1, 1, 1), thickness=-1
    )
    expected = expected * mask + (1 - mask) * 128
    expected = expected[
        max(middle[1] - 270, 0) : middle[1] + 270, max(middle[0] - 270, 0) : middle[0] + 270
    ]
    expected = read_back(cv2.imencode(".jpg", expected, [cv2.IMWRITE_JPEG_QUALITY, 72])[1])
    found = np.asarray(retinopathy.processed(path))
    assert np.array_equal(found, expected)
    assert found[0, 0].tolist() == [128] * 3 or image.shape == (200, 900, 3)


def test_grades_and_usages(tmp_path: Path):
    write_retinopathy(tmp_path)
    card = resolve(card_of("retinopathy"), tmp_path)
    names = {
        split: {record.key for record in records(card, tmp_path, split)}
        for split in ("train", "val", "test")
    }
    assert names["val"] == {f"{row}_left" for row in range(14, 18)}
    assert names["test"] == {f"{row}_left" for row in range(18, 24)}
    for split in ("train", "val", "test"):
        for record in records(card, tmp_path, split):
            assert record.label == int(record.key.split("_")[0]) % 5


def test_sun397s_labels_are_those_of_sorted_classes(tmp_path: Path):
    write_sun397(tmp_path)
    card = resolve(card_of("sun397"), tmp_path)
    for split in ("train", "val", "test"):
        for record in records(card, tmp_path, split):
            assert record.label == ["abbey", "church/indoor", "tower"].index(
                record.key[3:].rpartition("/")[0]
            )


def test_without_opencv_pixels_are_near_and_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_sun397(tmp_path)
    large, round_ = (
        saved(tmp_path / "a.jpg", scene(400, 500), "JPEG"),
        saved(tmp_path / "b.jpeg", eye(500, 600, 240), "JPEG"),
    )
    exact = [
        np.asarray(make(path)).astype(int)
        for make, path in ((sun397.processed, large), (retinopathy.processed, round_))
    ]
    card = resolve(card_of("sun397"), tmp_path)
    keys, before = (
        [record.key for record in records(card, tmp_path, "train")],
        fingerprint(card, tmp_path),
    )
    monkeypatch.setattr(opencv, "cv2", None)
    near = [
        np.asarray(make(path)).astype(int)
        for make, path in ((sun397.processed, large), (retinopathy.processed, round_))
    ]
    for ours, theirs, limit in zip(near, exact, (1.0, 3.0), strict=True):
        assert ours.shape == theirs.shape
        assert 0 < np.abs(ours - theirs).mean() < limit
    assert [record.key for record in records(card, tmp_path, "train")] == [
        f"not-tfds-exact:{key}" for key in keys
    ]
    assert fingerprint(card, tmp_path) != before
