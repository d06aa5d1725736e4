"""Files such as projects take in and send out: a large table, plots, notebooks, an archive. The same at every call."""

from __future__ import annotations

import base64
import json
import random
import struct
import zipfile
import zlib
from pathlib import Path

TABLE_BYTES = 200 << 20
IMAGES, NOTEBOOKS = 40, 6
_IMAGE_SIDE = 420
_ROWS = 20_000
_SEED = 20_260_101


def make_corpus(folder: Path) -> list[Path]:
    """Write the files into an empty folder and return them; about 260 MB."""
    source = random.Random(_SEED)
    block = _rows(source)
    files = [_table(folder / "measurements.csv", block, TABLE_BYTES)]
    pictures = [_png(source) for _ in range(IMAGES)]
    for number, picture in enumerate(pictures):
        files.append(folder / f"plot-{number:02}.png")
        files[-1].write_bytes(picture)
    for number in range(NOTEBOOKS):
        files.append(folder / f"analysis-{number}.ipynb")
        files[-1].write_text(_notebook(pictures[number * 3 : number * 3 + 3]), encoding="utf-8")
    files.append(folder / "supplement.zip")
    with zipfile.ZipFile(files[-1], "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for number in range(4):
            archive.writestr(f"tables/part-{number}.csv", b"".join(block for _ in range(4)))
        for number, picture in enumerate(pictures[:10]):
            archive.writestr(f"plots/{number}.png", picture)
    return files


def _rows(source: random.Random) -> bytes:
    """Return some MiB of a table of numbers, all rows different."""
    lines = (
        ",".join([f"P{source.randrange(10**6):06}", *(f"{source.gauss(50, 12):.4f}" for _ in range(8))])
        for _ in range(_ROWS)
    )
    return ("\n".join(lines) + "\n").encode()


def _table(path: Path, block: bytes, size: int) -> Path:
    with path.open("wb") as file:
        file.write(b"person,a,b,c,d,e,f,g,h\n")
        while file.tell() < size:
            file.write(block)
    return path


def _png(source: random.Random) -> bytes:
    """Return a grey picture of noise (ISO/IEC 15948): as hard to pack as a scan."""
    row = b"\0"
    raw = b"".join(row + source.randbytes(_IMAGE_SIDE) for _ in range(_IMAGE_SIDE))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", _IMAGE_SIDE, _IMAGE_SIDE, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def _notebook(pictures: list[bytes]) -> str:
    """Return a notebook (nbformat 4.5) with pictures in its outputs."""
    cells = [
        {
            "cell_type": "code",
            "id": f"cell-{number}",
            "execution_count": number,
            "metadata": {},
            "source": "plot(table)",
            "outputs": [
                {
                    "output_type": "display_data",
                    "metadata": {},
                    "data": {"image/png": base64.b64encode(picture).decode(), "text/plain": "<Figure>"},
                }
            ],
        }
        for number, picture in enumerate(pictures)
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})
