#!/bin/sh
# Computes the mean of one column of a CSV file. Today's form of a dapp: files come in IEXEC_IN, the result goes to IEXEC_OUT,
# and computed.json names the part of it that every worker must find equal.
set -eu

[ "${1:-}" = "--column" ] || { echo "usage: --column NAME" >&2; exit 2; }

awk -F, -v column="$2" '
  NR == 1 { for (i = 1; i <= NF; i++) if ($i == column) c = i; if (!c) { print "no column " column > "/dev/stderr"; exit 3 }; next }
  { sum += $c; n++ }
  END { if (n) printf "mean of %s: %.3f (%d rows)\n", column, sum / n, n }
' "$IEXEC_IN/$IEXEC_INPUT_FILE_NAME_1" > "$IEXEC_OUT/mean.txt"
cat "$IEXEC_OUT/mean.txt"

echo "task $IEXEC_TASK_ID" > "$IEXEC_OUT/about.txt"
echo '{"deterministic-output-path": "/iexec_out/mean.txt"}' > "$IEXEC_OUT/computed.json"
