"""Pixels in and out: the one place where bytes, PIL RGB, uint8 arrays and model floats are turned into each other.

Everything outside the models is RGB with 8 bits a channel. ``decode`` brings any picture that Pillow reads to that form
or says why not; ``encode`` uses fixed settings and writes no metadata, so equal pixels give equal bytes (with an equal
build of Pillow). Colour profiles are not applied: pixel values are taken to be sRGB.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from curate.errors import ImageError

Uint8Array = npt.NDArray[np.uint8]
Float32Array = npt.NDArray[np.float32]
FitMode = Literal["pad", "crop", "stretch"]
ImageFormat = Literal["png", "jpg", "webp", "webp-lossless"]

MAX_PIXELS: Final = 89_478_485
"""Pillow's own limit (a quarter GiB of RGB): a larger picture is refused before its pixels are touched."""

# No EPS (it starts Ghostscript), no PDF, no rarities whose parsers nobody fuzzes.
_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO")
_EXIF_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE: Final = (255, 255, 255)
_ENCODERS: Final[dict[ImageFormat, dict[str, Any]]] = {
    # level 3 of 9: 40 % faster than the default on 512 px drawings, at a fifth more bytes
    "png": {"format": "PNG", "compress_level": 3},
    # 4:4:4: chroma subsampling would soften exactly the thin coloured lines that make a style
    "jpg": {"format": "JPEG", "subsampling": 0, "optimize": False, "progressive": False},
    "webp": {"format": "WEBP", "method": 4},
    "webp-lossless": {"format": "WEBP", "lossless": True, "quality": 50, "method": 4},
}
_quiet_lock = threading.Lock()


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The picture in ``data`` as upright RGB; what the bytes are is decided by the bytes, never by a file name.

    Animations give their first frame, EXIF orientation is applied, transparency is laid over white, CMYK, palettes and
    1-bit become RGB, 16 bits are scaled to 8. Raises ImageError with a plain reason: empty, not an image, cut off,
    more than ``max_pixels``, or pixels without a defined range (32-bit integers beyond 16 bits, floats).
    """
    if not data:
        raise ImageError("empty: 0 bytes")
    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            _check_size(image.size, max_pixels)
            image.load()
            # After load: Pillow has then turned TIFFs itself and removed the tag.
            turn = _UPRIGHT.get(_orientation(image))
            rgb = _to_rgb(image)
    except (ImageError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"not an image: {len(data)} bytes in no format that is read here") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {error}") from error
    except Exception as error:  # on damaged files Pillow's parsers raise nearly every type there is
        raise ImageError(f"damaged: {error or type(error).__name__}") from error
    if turn is not None:
        rgb = rgb.transpose(turn)
    rgb.info = {}
    return rgb


@contextmanager
def _quiet() -> Iterator[None]:
    """No Python warnings. The lock is needed because the warning filters belong to the whole process."""
    with _quiet_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"no pixels: {width} x {height}")
    if width * height > max_pixels:
        raise ImageError(f"too large: {width} x {height} is more than {max_pixels:,} pixels")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # a broken EXIF block says nothing about the pixels, which have just been read in full
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("float pixels have no defined range: store 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        return _from_integers(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (*_WHITE, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _from_integers(image: Image.Image) -> Image.Image:
    """Grey with 16 bits; Pillow also uses its 32-bit mode "I" for 16-bit files (PGM)."""
    values = np.asarray(image).astype(np.int64)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise ImageError(f"integer pixels from {low} to {high} have no defined range: store 8 or 16 bits a channel")
    grey = (values * 255 + 32767) // 65535
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def fit(image: Image.Image, size: int | tuple[int, int], mode: FitMode = "pad") -> Image.Image:
    """RGB of exactly ``size`` (px; one number = square, else width, height), resampled by Lanczos.

    ``pad`` shows everything and fills up with white, ``crop`` fills the frame and cuts evenly, ``stretch`` changes the
    aspect ratio. An image that already has the size is not resampled.
    """
    width, height = (size, size) if isinstance(size, int) else size
    rgb = image.convert("RGB")
    if rgb.size == (width, height):
        return rgb
    if mode == "stretch":
        return rgb.resize((width, height), Image.Resampling.LANCZOS)
    scales = (width / rgb.width, height / rgb.height)
    scale = min(scales) if mode == "pad" else max(scales)
    inner = rgb.resize((max(1, round(rgb.width * scale)), max(1, round(rgb.height * scale))), Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (width, height), _WHITE)
    canvas.paste(inner, ((width - inner.width) // 2, (height - inner.height) // 2))
    return canvas


def encode(image: Image.Image, image_format: ImageFormat = "png", *, quality: int = 95) -> bytes:
    """Bytes of an RGB image without metadata. ``quality`` (1-100) is for jpg and webp only."""
    settings = dict(_ENCODERS[image_format])
    if image_format in ("jpg", "webp"):
        settings["quality"] = quality
    bare = image.convert("RGB")  # always a copy; Pillow would write the ICC profile and dpi it finds in info
    bare.info = {}
    out = io.BytesIO()
    bare.save(out, **settings)
    return out.getvalue()


def to_array(image: Image.Image) -> Uint8Array:
    """uint8 (H, W, 3), writable."""
    return np.array(image.convert("RGB"), dtype=np.uint8)


def from_array(pixels: Uint8Array) -> Image.Image:
    """The image of a uint8 (H, W, 3) array. ValueError for any other shape or type: nothing is scaled by guess."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {pixels.dtype} {pixels.shape}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def to_unit_range(images: Sequence[Image.Image]) -> Float32Array:
    """Images of one size as float32 (B, 3, H, W) in [-1, 1]: 0 -> -1, 255 -> 1."""
    batch = np.stack([to_array(image) for image in images]).astype(np.float32)
    return np.ascontiguousarray((batch / 127.5 - 1.0).transpose(0, 3, 1, 2))


def from_unit_range(batch: npt.NDArray[np.floating[Any]]) -> list[Image.Image]:
    """The inverse for (B, 3, H, W): values outside [-1, 1] are clipped, NaN and infinity raise ImageError."""
    if batch.ndim != 4 or batch.shape[1] != 3:
        raise ValueError(f"expected (B, 3, H, W), got {batch.shape}")
    if not np.isfinite(batch).all():
        raise ImageError("a picture has pixels that are not numbers")
    pixels = np.rint((np.clip(batch, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)
    return [from_array(one) for one in pixels.transpose(0, 2, 3, 1)]
