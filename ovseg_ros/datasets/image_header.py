"""The size that an image file claims to have, read before anything is decoded."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"
MAX_SEGMENTS = 1000
# Start-of-frame markers of ITU-T T.81, table B.1; C4, C8 and CC in their midst are something else.
START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def claimed_size(path: Path) -> tuple[int, int] | None:
    """Width and height in the header of a PNG or JPEG file; None for anything else, cut-off headers among it.

    Raises:
        OSError: the file can't be read.
    """
    with open(path, "rb") as file:
        return size_in(file)


def size_in(file: BinaryIO) -> tuple[int, int] | None:
    """The same of an open file, from its beginning."""
    start = file.read(24)
    if start.startswith(PNG_SIGNATURE) and len(start) == 24:
        width, height = struct.unpack(">II", start[16:24])
        return width, height
    return _jpeg_size(file) if start.startswith(JPEG_SIGNATURE) else None


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(len(JPEG_SIGNATURE))
    for _ in range(MAX_SEGMENTS):
        marker = file.read(2)
        while marker == b"\xff\xff":  # Fill bytes, as many as an encoder likes.
            marker = b"\xff" + file.read(1)
        length = file.read(2)
        if len(marker) < 2 or marker[0] != 0xFF or len(length) < 2:
            return None
        if marker[1] in START_OF_FRAME:
            body = file.read(5)
            return struct.unpack(">HH", body[1:])[::-1] if len(body) == 5 else None
        file.seek(int.from_bytes(length, "big") - 2, 1)
    return None
