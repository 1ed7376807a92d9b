"""Separates dark tissue from a bright background.

Inputs and outputs are files named like the parameters of descriptor.yml.
"""

from pathlib import Path

import png

INPUTS = Path("/inputs")
OUTPUTS = Path("/outputs")


def smooth(rows, radius):
    """Averages each pixel with those around it, first along the rows, then along the columns."""
    if radius == 0:
        return rows
    across = [average(row, radius) for row in rows]
    down = [average(column, radius) for column in zip(*across)]
    return [bytes(row) for row in zip(*down)]


def average(line, radius):
    sums = [0]
    for value in line:
        sums.append(sums[-1] + value)
    out = bytearray(len(line))
    for i in range(len(line)):
        low, high = max(0, i - radius), min(len(line), i + radius + 1)
        out[i] = (sums[high] - sums[low]) // (high - low)
    return out


def otsu(rows):
    """Returns the threshold that separates the grey values into the two most different classes."""
    histogram = [0] * 256
    for row in rows:
        for value in row:
            histogram[value] += 1
    total = sum(histogram)
    mean = sum(value * count for value, count in enumerate(histogram))
    best, threshold, below, below_sum = -1, 128, 0, 0
    for value in range(255):
        below += histogram[value]
        below_sum += value * histogram[value]
        above = total - below
        if below == 0 or above == 0:
            continue
        # The variance between the classes without its constant factor, in whole numbers.
        between = (below_sum * total - mean * below) ** 2 // (below * above)
        if between > best:
            best, threshold = between, value + 1
    return threshold


def main():
    _, _, rows = png.read_grey((INPUTS / "image").read_bytes())
    rows = smooth(rows, int((INPUTS / "radius").read_text()))
    given = INPUTS / "threshold"
    threshold = int(given.read_text()) if given.exists() else otsu(rows)
    print(f"threshold {threshold}")
    table = bytes(255 if value < threshold else 0 for value in range(256))
    mask = [row.translate(table) for row in rows]
    tissue = sum(row.count(255) for row in mask)
    (OUTPUTS / "mask").write_bytes(png.write_grey(mask))
    (OUTPUTS / "coverage").write_text(f"{tissue / (len(mask) * len(mask[0])):.6f}")


if __name__ == "__main__":
    main()
