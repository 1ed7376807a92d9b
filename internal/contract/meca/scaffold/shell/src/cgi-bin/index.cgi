#!/bin/sh
# A MECA task: POST / takes JSON and answers with text. The request's body is the standard input, CONTENT_LENGTH bytes long.
set -eu

# The task itself. It reads the request and prints the reply.
work() {
  head -c "${CONTENT_LENGTH:-0}"
}

# The reply goes to a file first, so that its length can be told, and a failure is no half reply.
reply=/tmp/reply.$$
trap 'rm -f "$reply"' EXIT
if work > "$reply"; then
  printf 'Status: 200 OK\r\n'
else
  printf 'Status: 500 Internal Server Error\r\n'
fi
printf 'Content-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n' "$(wc -c < "$reply")"
cat "$reply"
