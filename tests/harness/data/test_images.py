"""No silent pixels: every mode that the decoder can open keeps its contrast by a rule, or is
refused by name."""

import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_fgvc import card_of as fgvc_card
from tiny_fgvc import write_json
from tiny_originals import card_of, write_pets, write_sun397

from harness.data.decode import decoded
from harness.data.images import FORMATS, GREY, rgb
from harness.data.readers import opencv, records, resolve
from harness.data.verify import verify
from harness.errors import BadInput
from harness.inference.tuned_model import opened as to_predict
from harness.tasks.cards import Reader, TaskCard

ALL16 = np.arange(65536, dtype=np.uint16).reshape(256, 256)


def saved(image: Image.Image, kind: str, **how) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **how)
    file.seek(0)
    return file


def tiff(values: np.ndarray, bits: int, photometric: int = 1) -> io.BytesIO:
    """Grey, uncompressed, one strip, written by the specification: which Pillow can't write so."""
    height, width = values.shape
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint32)
        packed = (pairs[:, 0] << 12 | pairs[:, 1]).tolist()
        pixels = b"".join(pair.to_bytes(3, "big") for pair in packed)
    else:
        pixels = values.astype("<u2").tobytes()
    tags = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, height), (279, 4, len(pixels))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return io.BytesIO(
        b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + pixels
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_16_bit_grey_is_scaled_as_a_whole(kind: str):
    found = np.asarray(rgb(saved(Image.fromarray(ALL16), kind)))
    expected = np.round(ALL16 / 257.0).astype(np.uint8)
    assert np.array_equal(found, np.repeat(expected[..., None], 3, axis=2))


def test_16_bit_tiff_whose_white_is_zero_and_12_bits():
    expected = np.round(ALL16 / 257.0).astype(np.uint8)
    assert np.array_equal(np.asarray(rgb(tiff(ALL16, 16)))[..., 0], expected)
    assert np.array_equal(np.asarray(rgb(tiff(ALL16, 16, photometric=0)))[..., 1], 255 - expected)
    of12 = np.arange(4096).reshape(64, 64)
    assert np.array_equal(
        np.asarray(rgb(tiff(of12, 12)))[..., 2], np.round(of12 / 4095 * 255).astype(np.uint8)
    )


def test_16_bit_colour_keeps_its_upper_bits():
    from struct import pack
    from zlib import compress, crc32

    values = np.random.default_rng(0).integers(0, 65536, (8, 8, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [
        (b"IHDR", pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)),
        (b"IDAT", compress(rows)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + name + data + pack(">I", crc32(name + data)) for name, data in parts
    )
    assert np.array_equal(np.asarray(rgb(io.BytesIO(content))), values >> 8)


@pytest.mark.parametrize(
    ("image", "kind", "said"),
    [
        (
            Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)),
            "TIFF",
            "32-bit floats, which have no known range",
        ),
        (
            Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)),
            "PPM",
            "32-bit floats",
        ),
        (
            Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8) * 70_000),
            "TIFF",
            "32-bit integers",
        ),
        (
            Image.new("LAB", (8, 8), (100, 120, 140)),
            "TIFF",
            "LAB colours, which have no conversion to RGB",
        ),
    ],
)
def test_what_has_no_range_is_refused_by_name(
    image: Image.Image, kind: str, said: str, card: TaskCard, root: Path
):
    path = root / "tiny" / "images" / "test" / "000002.jpg"
    path.write_bytes(saved(image, kind).getvalue())
    (fault,) = verify(card, root, lambda line: None).faults
    assert said in fault
    assert str(path) in fault
    with pytest.raises(BadInput) as error:
        list(decoded("tiny", records(card, root, "test"), lambda image: None))
    assert said in str(error.value)
    with pytest.raises(BadInput) as error:
        to_predict(path)
    assert said in str(error.value)


def rgba(colour: int) -> np.ndarray:
    """A square that is in alpha alone, with a soft edge."""
    pixels = np.full((16, 16, 4), colour, np.uint8)
    pixels[..., 3] = np.add.outer(np.arange(16), np.arange(16)) * 8
    return pixels


def over_grey(pixels: np.ndarray) -> np.ndarray:
    alpha = pixels[..., 3:] / 255.0
    return pixels[..., :3] * alpha + GREY * (1 - alpha)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "TIFF"), ("LA", "TIFF"), ("RGBA", "WEBP")],
)
def test_transparent_parts_are_over_grey(colour: int, mode: str, kind: str):
    """The shape is in alpha: neither white on nothing nor black on nothing is lost."""
    how = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    found = np.asarray(rgb(saved(Image.fromarray(rgba(colour)).convert(mode), kind, **how)))
    assert np.abs(found - over_grey(rgba(colour))).max() <= 1
    assert np.ptp(found) > 100


def test_transparent_parts_of_palettes_and_single_values():
    index = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    palette = Image.fromarray(index, "L").convert("P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)[index]
    clear = np.where((index == 1)[..., None], GREY, colours)
    assert np.array_equal(np.asarray(rgb(saved(palette, "PNG", transparency=1))), clear)
    assert np.array_equal(np.asarray(rgb(saved(palette, "GIF", transparency=1))), clear)
    half = np.array([0, 255, 255, 255])[index]
    some = np.concatenate([colours, half[..., None].astype(np.uint8)], axis=2)
    found = np.asarray(rgb(saved(palette, "PNG", transparency=bytes([0, 255, 255, 255]))))
    assert np.abs(found - over_grey(some)).max() <= 1
    single = Image.fromarray(index * 60, "L")
    assert np.array_equal(
        np.asarray(rgb(saved(single, "PNG", transparency=120)))[..., 0],
        np.where(index == 2, GREY, index * 60),
    )
    coloured = Image.fromarray(colours)
    expected = np.where((index == 3)[..., None], GREY, colours)
    assert np.array_equal(
        np.asarray(rgb(saved(coloured, "PNG", transparency=(0, 0, 255)))), expected
    )
    wide = Image.fromarray(index.astype(np.uint16) * 20_000)
    expected = np.where(index == 3, GREY, np.round(index * 20_000.0 / 257)).astype(np.uint8)
    assert np.array_equal(
        np.asarray(rgb(saved(wide, "PNG", transparency=60_000)))[..., 0], expected
    )


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_solid_alpha_moves_no_pixel(kind: str):
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 4), dtype=np.uint8)
    pixels[..., 3] = 255
    file = saved(Image.fromarray(pixels), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert np.array_equal(np.asarray(rgb(file)), pixels[..., :3])


def halves(mode: str) -> Image.Image:
    """Dark on the left, bright on the right."""
    grey = Image.fromarray(np.repeat(np.array([[20] * 8 + [230] * 8], np.uint8), 16, axis=0))
    if mode in ("I;16", "I", "F"):
        return Image.fromarray(
            (np.asarray(grey).astype(np.float64) * 257).astype(
                {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
            )
        )
    if mode == "LAB":
        return Image.merge("LAB", [grey, grey, grey])
    return grey.convert("RGB").convert(mode)


HOLDS = {
    "JPEG": ("1", "L", "RGB", "CMYK", "YCbCr"),
    "PNG": ("1", "L", "P", "RGB", "LA", "RGBA", "I;16"),
    "GIF": ("1", "L", "P", "RGB", "LA", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": (
        "1",
        "L",
        "P",
        "RGB",
        "RGBX",
        "CMYK",
        "YCbCr",
        "LA",
        "PA",
        "RGBA",
        "I;16",
        "I",
        "F",
        "LAB",
    ),
    "WEBP": ("L", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "RGBA", "I;16", "F"),
}
"""The modes that Pillow's writers of each format keep as they are."""
assert HOLDS.keys() == set(FORMATS)


@pytest.mark.parametrize(
    ("kind", "mode"), [(kind, mode) for kind, modes in HOLDS.items() for mode in modes]
)
def test_dark_stays_darker_than_bright_or_is_refused(kind: str, mode: str):
    file = saved(halves(mode), kind)
    if mode in ("I", "F", "LAB"):
        with pytest.raises(
            ValueError, match=r"its pixels are (32-bit integers|32-bit floats|LAB colours)"
        ):
            rgb(file)
        return
    found = np.asarray(rgb(file)).astype(int)
    assert found[:, 12:].mean() - found[:, :4].mean() > 150


def test_adobes_inverted_cmyk_and_pillows_own_modes_are_as_they_were():
    image = Image.fromarray(np.random.default_rng(2).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    for mode, kind in (
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "TIFF"),
        ("P", "PNG"),
        ("1", "PNG"),
        ("L", "JPEG"),
    ):
        file = saved(image.convert(mode), kind)
        with Image.open(file) as known:
            expected = np.asarray(known.convert("RGB"))
        file.seek(0)
        assert np.array_equal(np.asarray(rgb(file)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_orientation_is_not_applied_and_verify_says_so(kind: str, card: TaskCard, root: Path):
    exif = Image.Exif()
    exif[274] = 6
    file = saved(Image.new("RGB", (12, 8), (200, 10, 10)), kind, exif=exif)
    assert rgb(file).size == (12, 8)
    (root / "tiny" / "images" / "test" / "000002.jpg").write_bytes(file.getvalue())
    (warning,) = verify(card, root, lambda line: None).warnings
    assert (
        warning
        == "test: 1 image has an EXIF orientation, which isn't applied: images/test/000002.jpg"
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_that_cannot_be_read_spoils_no_pixels(kind: str):
    file = saved(Image.new("RGB", (12, 8), (200, 10, 10)), kind, exif=b"Exif\0\0no TIFF header")
    assert np.abs(np.asarray(rgb(file)).astype(int) - (200, 10, 10)).max() < 6


def test_tiffs_orientation_is_applied_by_pillow():
    assert rgb(saved(Image.new("RGB", (12, 8)), "TIFF", tiffinfo={274: 6})).size == (8, 12)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_counts_and_verify_says_so(
    kind: str, card: TaskCard, root: Path
):
    frames = [Image.new("RGB", (12, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    file = saved(
        frames[0],
        kind,
        save_all=True,
        append_images=frames[1:],
        **({"lossless": True} if kind == "WEBP" else {}),
    )
    assert np.asarray(rgb(file))[0, 0].tolist() == [255, 0, 0]
    (root / "tiny" / "images" / "test" / "000002.jpg").write_bytes(file.getvalue())
    (warning,) = verify(card, root, lambda line: None).warnings
    assert warning.startswith("test: 1 image has several frames, of which the first is used: ")


def test_verify_says_what_was_made_of_pixels(card: TaskCard, root: Path):
    folder = root / "tiny" / "images" / "train800"
    for number in (1, 3, 5):
        Image.fromarray(ALL16[number:, :20]).save(folder / f"{number:06}.png")
    Image.fromarray(rgba(9)).save(root / "tiny" / "images" / "val200" / "000001.png")
    assert verify(card, root, lambda line: None).warnings == (
        (
            "train: 3 images have 16 bits per pixel, converted to 8: images/train800/000001.png,"
            " images/train800/000003.png, images/train800/000005.png"
        ),
        "val: 1 image has transparent parts, blended onto grey: images/val200/000001.png",
    )


def test_benchmarks_drop_alpha_as_their_own_code_does(tmp_path: Path):
    write_pets(tmp_path)
    card = resolve(card_of("pets"), tmp_path)
    key = records(card, tmp_path, "test")[0].key
    Image.fromarray(rgba(200)).save(tmp_path / "oxford_iiit_pet" / "images" / key, "PNG")
    assert np.unique(np.asarray(records(card, tmp_path, "test")[0].image())).tolist() == [200]
    (warning,) = verify(card, tmp_path, lambda line: None).warnings
    assert "transparent parts, treated as solid" in warning


def test_fgvcs_cards_drop_alpha_and_a_card_of_ones_own_doesnt(tmp_path: Path):
    write_json(tmp_path, "cub200_2011", "images")
    key = next(iter(json.loads((tmp_path / "cub200_2011" / "test.json").read_text())))
    Image.fromarray(rgba(255)).save(tmp_path / "cub200_2011" / "images" / key, "PNG")
    card = resolve(fgvc_card("cub200_2011"), tmp_path)
    assert np.unique(np.asarray(records(card, tmp_path, "test")[0].image())).tolist() == [255]
    reader = {"format": "fgvc-json", "folder": "cub200_2011", "images": "images"}
    mine = card.model_copy(update={"reader": Reader.model_validate(reader)})
    assert np.ptp(np.asarray(records(mine, tmp_path, "test")[0].image())) > 100
    wrong = card.model_copy(update={"reader": Reader.model_validate({**reader, "alpha": "white"})})
    with pytest.raises(
        BadInput, match=r"'alpha' in its card's .* is 'white', expected grey or dropped"
    ):
        records(wrong, tmp_path, "test")


@pytest.mark.parametrize("with_opencv", [True, False])
def test_opencvs_way_refuses_16_bits(
    with_opencv: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """OpenCV's encoder would cut them at 255: SUN397 and retinopathy have none."""
    if not with_opencv:
        monkeypatch.setattr(opencv, "cv2", None)
    elif opencv.cv2 is None:
        pytest.skip("OpenCV isn't here")
    write_sun397(tmp_path)
    card = resolve(card_of("sun397"), tmp_path)
    name = records(card, tmp_path, "test")[0].key.removeprefix(opencv.MARK)
    Image.fromarray(ALL16).save(tmp_path / "sun397" / "SUN397" / name[1:], "PNG")
    (fault,) = verify(card, tmp_path, lambda line: None).faults
    assert "needs 8" in fault
    assert name in fault


def test_pixels_kept_by_older_rules_arent_read(card: TaskCard, root: Path, cache: Path):
    from harness.data.cache import cached
    from harness.data.fingerprint import fingerprint
    from harness.data.images import RULES

    digest = fingerprint(card, root)
    cached(card, root, "test", 16, digest)
    assert (cache / "images" / f"{RULES}-{digest[:16]}-test-pil-16.bin").is_file()
