"""Images: decoded by Pillow, flattened, and written anew as PNG without any metadata."""

from __future__ import annotations

import io
import warnings
from typing import IO, TYPE_CHECKING

from broch_airlock.viewer.render.inside.pager import Page, Picture, Unshowable, pieces
from broch_airlock.viewer.render.inside.records import IMAGE_SIDE, METADATA_ROWS, PNG_LARGEST

if TYPE_CHECKING:
    from PIL.Image import Image

PIXELS_MOST = 64_000_000
"""Pixels of an image: 256 MB in memory with four channels, and a second copy while it is converted."""
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "TIFF")
_FRAMES_MOST = 10_000


def is_image(head: bytes) -> bool:
    """Say whether content that begins with `head` claims to be an image that is shown."""
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"))
        or head[:4] + head[8:12] == b"RIFFWEBP"
    )


def _open(file: IO[bytes]) -> Image:
    try:
        # Here, because Pillow takes a tenth of a second to import and may be missing.
        from PIL import Image as Images  # noqa: PLC0415
    except ImportError:
        raise Unshowable("Images cannot be shown here: Pillow is not installed.") from None
    Images.MAX_IMAGE_PIXELS = PIXELS_MOST
    warnings.simplefilter("error", Images.DecompressionBombWarning)
    try:
        image = Images.open(file, formats=_FORMATS)
    except (Images.DecompressionBombError, Images.DecompressionBombWarning):
        raise Unshowable(f"The image has more than {PIXELS_MOST:,} pixels.") from None
    except Exception as error:  # noqa: BLE001 (decoders raise what they like)
        raise Unshowable(f"The image cannot be read ({type(error).__name__}).") from None
    if not 0 < image.width * image.height <= PIXELS_MOST:
        raise Unshowable(f"The image has {image.width:,} x {image.height:,} pixels, which is too many.")
    return image


def _eight_bits(image: Image) -> Image:
    """Return the image in a mode that PNG has with eight bits: L, RGB or RGBA."""
    if image.mode in {"L", "RGB", "RGBA"}:
        return image
    if image.mode in {"I", "F"} or image.mode.startswith("I;16"):
        real = image.convert("F")
        low, high = real.getextrema()
        if not isinstance(low, float) or not isinstance(high, float) or not high > low:
            return real.point(lambda value: value * 0).convert("L")
        scale = 255.0 / (high - low)
        return real.point(lambda value: value * scale + -low * scale).convert("L")
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _encoded(image: Image, most_bytes: int) -> tuple[bytes, int, int]:
    """Return the PNG, made smaller until it fits, and its width and height."""
    side = max(image.size)
    wanted = min(side, IMAGE_SIDE)
    while True:
        shown = image
        if wanted < side:
            shown = image.resize(
                (
                    max(1, round(image.width * wanted / side)),
                    max(1, round(image.height * wanted / side)),
                )
            )
        shown.info.clear()  # else the profile and the comments would be written again
        out = io.BytesIO()
        shown.save(out, "PNG", compress_level=1)
        if out.tell() <= most_bytes:
            return out.getvalue(), *shown.size
        wanted = wanted * 3 // 4


def _decoded(image: Image) -> Image:
    try:
        image.load()
        flat = _eight_bits(image)
    except Exception as error:  # noqa: BLE001 (as above; MemoryError too, which is one)
        raise Unshowable(f"The image is damaged or truncated ({type(error).__name__}).") from None
    return flat


def _picture(flat: Image, size: tuple[int, int], most_bytes: int) -> Picture:
    png, width, height = _encoded(flat, most_bytes)
    return Picture(png, width, height, *size)


def read_picture(file: IO[bytes], most_bytes: int) -> Picture:
    """Return an image as it is shown inside another document.

    Raises:
        Unshowable: it cannot be read, or is too large.
    """
    image = _open(file)
    return _picture(_decoded(image), image.size, most_bytes)


def show_image(file: IO[bytes], page: Page) -> None:
    """Show an image; every frame of it is a page.

    Raises:
        Unshowable: it cannot be read, or is too large.
    """
    file.seek(0)
    image = _open(file)
    try:
        frames = int(getattr(image, "n_frames", 1))
        if 1 < page.wanted <= min(frames, _FRAMES_MOST):
            image.seek(page.wanted - 1)
    except Exception as error:  # noqa: BLE001 (as above)
        raise Unshowable(f"The frames of the image cannot be read ({type(error).__name__}).") from None
    if not 0 < image.width * image.height <= PIXELS_MOST:
        raise Unshowable(f"The image has {image.width:,} x {image.height:,} pixels, which is too many.")
    metadata = _metadata(image)
    size, mode = image.size, image.mode
    page.pages = max(1, min(frames, _FRAMES_MOST))
    page.fact("Format", image.format)
    page.fact("Pixels", f"{size[0]:,} x {size[1]:,}, {mode}")
    if frames > 1:
        page.fact("Frames", f"{frames:,}; each is a page")
    if page.wanted > page.pages:
        return
    flat = _decoded(image)
    # Pixels can hide behind others' transparency: then the colours are shown once more without it.
    see_through = flat.mode == "RGBA" and flat.getchannel("A").getextrema() != (255, 255)
    picture = _picture(flat, size, PNG_LARGEST // 2 if see_through else PNG_LARGEST)
    page.picture("", picture)
    if see_through:
        page.picture("Without transparency", _picture(flat.convert("RGB"), size, PNG_LARGEST // 2))
        page.note("Some pixels are transparent; the second picture shows what they hide.")
    if (picture.width, picture.height) != size:
        page.note(f"Shown smaller than it is: {picture.width:,} x {picture.height:,} pixels.")
    if mode in {"I", "F"} or mode.startswith("I;16"):
        page.note("Brightness was scaled to what a screen can show.")
    if metadata:
        page.lines("Metadata of the image", metadata)


def _metadata(image: Image) -> list[str]:
    """Return what the image says beside its pixels, a line each: words leave in comments too."""
    lines: list[str] = []
    for name, value in image.info.items():
        text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        lines += pieces(f"{name}: {text}")
        if len(lines) > METADATA_ROWS:
            return [*lines[:METADATA_ROWS], "... and more, which is not shown."]
    return lines
