#!/bin/sh
# Counts the words of a text. The report carries the time, so it differs between runs; the counts do not, and go into
# consensus.iexec, which is what workers compare.
set -eu

tr -cs 'A-Za-z' '\n' < "$1" | tr 'A-Z' 'a-z' | grep . | sort | uniq -c | sort -k1,1nr -k2,2 | head -n "$TOP" |
  awk '{print $2, $1}' > /iexec/consensus.iexec

{
  echo "counted on $(date)"
  cat /iexec/consensus.iexec
} > /iexec/report.txt
cat /iexec/consensus.iexec
