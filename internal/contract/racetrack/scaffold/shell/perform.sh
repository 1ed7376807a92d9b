#!/bin/sh
# The job itself: reads a JSON object of named arguments and prints the result as JSON. It sums the list "numbers".
# busybox has no JSON parser: a job with more to take has one in its image, such as jq.
set -eu

numbers=$(tr -d ' \t\r\n' | sed -n 's/.*"numbers":\[\([-+.0-9eE,]*\)\].*/\1/p; s/.*"numbers":\[\].*/0/p')
[ -n "$numbers" ] || exit 1
echo "$numbers" | awk -F, '{ for (i = 1; i <= NF; i++) sum += $i; print sum + 0 }'
