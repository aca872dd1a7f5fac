"""Every odd kind of image file is either converted rightly or refused with a plain reason."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from curate.errors import ImageError
from curate.images import MAX_PIXELS, decode, encode, fit, from_array, from_unit_range, to_array, to_unit_range


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, image_format, **options)  # type: ignore[arg-type]
    return out.getvalue()


def two_colours(mode: str = "RGB") -> Image.Image:
    """40 x 20: left half red, right half blue."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (20, 0, 40, 20))
    return image.convert(mode)


def near(pixel: object, wanted: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.abs(np.subtract(pixel, wanted)).max() <= tolerance)  # type: ignore[call-overload]


@pytest.mark.parametrize("image_format",
                         ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO"])
def test_common_formats(image_format: str) -> None:
    square = two_colours().resize((32, 32))
    image = decode(saved(square, image_format))
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert near(image.getpixel((4, 16)), (255, 0, 0)) and near(image.getpixel((28, 16)), (0, 0, 255))


def test_cmyk_jpeg() -> None:
    image = decode(saved(two_colours("CMYK"), "JPEG", quality=95))
    assert image.mode == "RGB"
    assert near(image.getpixel((5, 10)), (255, 0, 0)) and near(image.getpixel((35, 10)), (0, 0, 255))


CORNERS = {"r": (255, 0, 0), "g": (0, 255, 0), "b": (0, 0, 255), "k": (0, 0, 0)}


def corners(image: Image.Image) -> str:
    """Names of the colours at top left, top right, bottom left, bottom right."""
    width, height = image.size
    points = [(3, 3), (width - 4, 3), (3, height - 4), (width - 4, height - 4)]
    return "".join(name for xy in points for name, colour in CORNERS.items() if near(image.getpixel(xy), colour, 60))


@pytest.mark.parametrize("orientation,seen", [
    (1, "rgbk"), (2, "grkb"), (3, "kbgr"), (4, "bkrg"), (5, "rbgk"), (6, "brkg"), (7, "kgbr"), (8, "gkrb")])
@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(image_format: str, orientation: int, seen: str) -> None:
    image = Image.new("RGB", (48, 32), CORNERS["r"])
    for name, box in [("g", (24, 0, 48, 16)), ("b", (0, 16, 24, 32)), ("k", (24, 16, 48, 32))]:
        image.paste(CORNERS[name], box)
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = decode(saved(image, image_format, exif=exif))
    assert upright.size == ((48, 32) if orientation < 5 else (32, 48))
    assert corners(upright) == seen


def test_broken_exif_is_no_reason_to_refuse() -> None:
    data = saved(two_colours(), "JPEG", exif=b"Exif\x00\x00garbage that is no tiff header")
    assert decode(data).size == (40, 20)


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode: str, image_format: str) -> None:
    image = two_colours("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert decode(saved(image.convert(mode), image_format)).getpixel((5, 5)) == (255, 255, 255)


def test_half_transparency_is_half_white() -> None:
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 128))
    assert near(decode(saved(image, "PNG")).getpixel((3, 3)), (127, 127, 127), 1)


def test_palette_with_transparency() -> None:
    image = two_colours().quantize(4)
    red = image.getpixel((0, 0))
    transparent = decode(saved(image, "PNG", transparency=red))
    assert transparent.getpixel((2, 2)) == (255, 255, 255) and near(transparent.getpixel((38, 2)), (0, 0, 255))
    table = bytes([0 if i == red else 255 for i in range(4)])
    with_bytes = decode(saved(image, "PNG", transparency=table))
    assert with_bytes.getpixel((2, 2)) == (255, 255, 255) and near(with_bytes.getpixel((38, 2)), (0, 0, 255))
    assert near(decode(saved(image, "PNG")).getpixel((2, 2)), (255, 0, 0))


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(image_format: str) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16).repeat(4, axis=0)
    image = decode(saved(Image.fromarray(values), image_format))
    assert [p[0] for p in to_array(image)[0]] == [0, 1, 128, 255]


def test_16_bit_pgm_and_rgb_png() -> None:
    pgm = b"P5\n2 1\n65535\n" + struct.pack(">2H", 32896, 65535)
    assert to_array(decode(pgm))[0, :, 0].tolist() == [128, 255]
    row = b"\x00" + struct.pack(">3H", 65535, 32896, 0)
    assert decode(png(1, 1, depth=16, colour=2, idat=zlib.compress(row))).getpixel((0, 0)) == (255, 128, 0)


def test_pixels_without_a_range_are_refused() -> None:
    with pytest.raises(ImageError, match="float pixels"):
        decode(saved(Image.new("F", (4, 4), 0.5), "TIFF"))
    with pytest.raises(ImageError, match="no defined range"):
        decode(saved(Image.new("I", (4, 4), 1_000_000), "TIFF"))


def test_one_bit_and_grey() -> None:
    image = Image.new("1", (8, 8), 0)
    image.paste(1, (4, 0, 8, 8))
    assert [decode(saved(image, "PNG")).getpixel(xy) for xy in [(0, 0), (7, 7)]] == [(0, 0, 0), (255, 255, 255)]
    assert decode(saved(Image.new("L", (4, 4), 77), "PNG")).getpixel((0, 0)) == (77, 77, 77)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame(image_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]]
    options: dict[str, object] = {"lossless": True} if image_format == "WEBP" else {}
    data = saved(frames[0], image_format, save_all=True, append_images=frames[1:], duration=50, **options)
    assert near(decode(data).getpixel((8, 8)), (255, 0, 0), 4)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF"])
def test_cut_off_files_are_refused(image_format: str) -> None:
    noise = from_array(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, image_format)
    for keep in (len(data) // 2, len(data) // 5, 30):
        with pytest.raises(ImageError):
            decode(data[:keep])


def test_empty_and_foreign_files() -> None:
    with pytest.raises(ImageError, match="empty"):
        decode(b"")
    with pytest.raises(ImageError, match="not an image"):
        decode(b"these are words, saved as photo.png")
    with pytest.raises(ImageError, match="not an image"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n")


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(two_colours(), "PNG"))
    assert decode(path.read_bytes()).getpixel((0, 0)) == (255, 0, 0)


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, idat: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", idat) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_bombs_are_refused_by_their_header_alone(side: int) -> None:
    assert side * side > MAX_PIXELS
    with pytest.raises(ImageError, match="too large"):
        decode(png(side, side))
    with pytest.raises(ImageError, match="20 x 20 is more than 399 pixels"):
        decode(saved(Image.new("RGB", (20, 20)), "PNG"), max_pixels=399)


def test_pillow_and_warnings_are_left_as_found() -> None:
    large = saved(Image.new("1", (9500, 9500)), "PNG", compress_level=1)  # above the limit at which Pillow warns
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        with pytest.raises(ImageError, match="too large"):
            decode(large)
        assert decode(large, max_pixels=10**8).size == (9500, 9500)
        assert warnings.filters == filters
    assert not seen
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


def test_fit() -> None:
    wide = two_colours()
    pad, crop, stretch = (fit(wide, 32, mode) for mode in ("pad", "crop", "stretch"))  # type: ignore[arg-type]
    assert {i.size for i in (pad, crop, stretch)} == {(32, 32)}
    assert pad.getpixel((3, 2)) == (255, 255, 255) and near(pad.getpixel((3, 16)), (255, 0, 0))
    assert near(crop.getpixel((2, 2)), (255, 0, 0)) and near(crop.getpixel((29, 29)), (0, 0, 255))
    assert near(stretch.getpixel((2, 2)), (255, 0, 0)) and near(stretch.getpixel((29, 29)), (0, 0, 255))
    assert fit(wide, (64, 16)).size == (64, 16)
    assert fit(Image.new("RGB", (4000, 3)), 16).size == (16, 16)
    assert to_array(fit(wide, (40, 20))).tolist() == to_array(wide).tolist()


@pytest.mark.parametrize("image_format,start", [
    ("png", b"\x89PNG"), ("jpg", b"\xff\xd8"), ("webp", b"RIFF"), ("webp-lossless", b"RIFF")])
def test_encode_is_fixed_and_bare(image_format: str, start: bytes) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    plain, dressed = from_array(pixels), from_array(pixels)
    dressed.info = {"icc_profile": b"profile", "dpi": (300, 300), "comment": b"hello"}
    data = encode(plain, image_format)  # type: ignore[arg-type]
    assert data == encode(dressed, image_format) and data.startswith(start)  # type: ignore[arg-type]
    assert dressed.info, "the caller's image is left alone"
    if image_format in ("png", "webp-lossless"):
        assert np.array_equal(to_array(decode(data)), pixels)
    if image_format in ("jpg", "webp"):
        assert len(encode(plain, image_format, quality=30)) < len(data)  # type: ignore[arg-type]


def test_arrays_and_unit_range() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    pixels[..., 1] = 7
    image = from_array(pixels)
    batch = to_unit_range([image, image])
    assert batch.shape == (2, 3, 16, 16) and batch.dtype == np.float32
    assert (batch.min(), batch.max()) == (-1.0, 1.0)
    assert np.array_equal(to_array(from_unit_range(batch)[1]), pixels), "all 256 values survive the round trip"
    assert to_array(from_unit_range(np.full((1, 3, 2, 2), 9.0))[0]).max() == 255
    with pytest.raises(ImageError, match="pixels that are not numbers"):
        batch[1, 0, 0, 0] = np.nan
        from_unit_range(batch)
    with pytest.raises(ValueError, match="expected uint8"):
        from_array(pixels.astype(np.float32))  # type: ignore[arg-type]
