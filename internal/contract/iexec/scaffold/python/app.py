"""A dapp. Its arguments are the words of iexec_args.

IEXEC_IN   folder with the input files, IEXEC_INPUT_FILE_NAME_1 to IEXEC_INPUT_FILE_NAME_<IEXEC_INPUT_FILES_NUMBER>
IEXEC_OUT  folder for the result; names of files have at most 31 characters
"""

import json
import os
import sys
from pathlib import Path


def input_files():
    folder = Path(os.environ["IEXEC_IN"])
    count = int(os.environ["IEXEC_INPUT_FILES_NUMBER"])
    return [folder / os.environ[f"IEXEC_INPUT_FILE_NAME_{i}"] for i in range(1, count + 1)]


def main():
    out = Path(os.environ["IEXEC_OUT"])
    lines = [f"Hello, {sys.argv[1] if len(sys.argv) > 1 else 'World'}!"]
    lines += [f"{file.name} has {file.stat().st_size} bytes" for file in input_files()]
    result = out / "result.txt"
    result.write_text("\n".join(lines) + "\n")
    print(result.read_text(), end="")

    # Workers compare the digest of this file. It must be the same on every machine: no times, no random numbers.
    (out / "computed.json").write_text(json.dumps({"deterministic-output-path": str(result)}))


if __name__ == "__main__":
    main()
