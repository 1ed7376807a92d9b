"""Writes every text below /data/texts in capitals, TIMES times."""

import os
from pathlib import Path


def main():
    times = int(os.environ["TIMES"])
    for item in sorted(p for p in Path("/data/texts").iterdir() if p.is_dir()):
        # Items keep their names from channel to channel.
        folder = Path("/data/shouted") / item.name
        folder.mkdir(parents=True, exist_ok=True)
        for text in sorted(item.glob("*.txt")):
            (folder / text.name).write_text(text.read_text().upper() * times)
        print(f"{item.name} done")


if __name__ == "__main__":
    main()
