#!/bin/sh
# Arguments: the words of iexec_args.
# $IEXEC_IN   folder with the input files, IEXEC_INPUT_FILE_NAME_1 to IEXEC_INPUT_FILE_NAME_$IEXEC_INPUT_FILES_NUMBER
# $IEXEC_OUT  folder for the result; names of files have at most 31 characters
set -eu

{
  echo "Hello, ${1:-World}!"
  i=1
  while [ "$i" -le "$IEXEC_INPUT_FILES_NUMBER" ]; do
    eval "name=\$IEXEC_INPUT_FILE_NAME_$i"
    echo "$name has $(wc -c < "$IEXEC_IN/$name" | tr -d ' ') bytes"
    i=$((i + 1))
  done
} > "$IEXEC_OUT/result.txt"
cat "$IEXEC_OUT/result.txt"

# Workers compare the digest of this file. It must be the same on every machine: no times, no random numbers.
echo '{"deterministic-output-path": "/iexec_out/result.txt"}' > "$IEXEC_OUT/computed.json"
