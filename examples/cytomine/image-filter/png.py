"""Reading and writing of PNG images with the standard library alone."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunks(data):
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG image")
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def unfilter(raw, height, stride, step):
    """Undoes the five filters of PNG, row by row."""
    rows, before = [], bytes(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        row = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for x in range(stride if kind else 0):
            left = row[x - step] if x >= step else 0
            up = before[x]
            corner = before[x - step] if x >= step else 0
            if kind == 1:
                guess = left
            elif kind == 2:
                guess = up
            elif kind == 3:
                guess = (left + up) // 2
            else:
                p = left + up - corner
                guess = min((left, up, corner), key=lambda v: abs(p - v))
            row[x] = (row[x] + guess) & 255
        rows.append(bytes(row))
        before = row
    return rows


def read_grey(data):
    """Returns width, height and the rows of grey values of a PNG image."""
    parts = list(chunks(data))
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", parts[0][1])
    if depth != 8 or interlaced or colour not in SAMPLES:
        raise ValueError("only PNG images of 8 bits per sample that are not interlaced are read")
    palette = next((body for kind, body in parts if kind == b"PLTE"), b"")
    raw = zlib.decompress(b"".join(body for kind, body in parts if kind == b"IDAT"))
    step = SAMPLES[colour]
    rows = unfilter(raw, height, width * step, step)
    if colour in (0, 4):
        return width, height, [row[::step] for row in rows]
    if colour == 3:
        grey = bytes(luma(*palette[i : i + 3]) for i in range(0, len(palette), 3))
        return width, height, [bytes(grey[i] for i in row) for row in rows]
    return width, height, [bytes(map(luma, row[0::step], row[1::step], row[2::step])) for row in rows]


def luma(red, green, blue):
    return (299 * red + 587 * green + 114 * blue + 500) // 1000


def write_grey(rows):
    """Returns rows of grey values as a PNG image."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 9)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
