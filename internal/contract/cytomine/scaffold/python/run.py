"""Each input is a file named like its parameter, without extension; so is each output."""

from pathlib import Path

INPUTS = Path("/inputs")
OUTPUTS = Path("/outputs")


def main():
    a = int((INPUTS / "a").read_text())
    b = int((INPUTS / "b").read_text())
    (OUTPUTS / "sum").write_text(str(a + b))


# An exception ends the program with a code other than 0, which means failure.
if __name__ == "__main__":
    main()
