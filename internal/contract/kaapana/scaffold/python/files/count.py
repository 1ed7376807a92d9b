"""Counts lines, words or bytes of every item below /data/texts."""

import os
import sys
from pathlib import Path

COUNTERS = {
    "lines": lambda data: data.count(b"\n"),
    "words": lambda data: len(data.split()),
    "bytes": len,
}


def main():
    # A variable of the template; its choices are in processing-container.json.
    unit = os.environ["UNIT"]
    if unit not in COUNTERS:
        sys.exit(f"UNIT is {unit}")
    for item in sorted(p for p in Path("/data/texts").iterdir() if p.is_dir()):
        number = sum(COUNTERS[unit](text.read_bytes()) for text in sorted(item.glob("*.txt")))
        # Items keep their names from channel to channel.
        folder = Path("/data/counts") / item.name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "count.txt").write_text(f"{number}\n")
        print(f"{item.name}: {number} {unit}")


if __name__ == "__main__":
    main()
