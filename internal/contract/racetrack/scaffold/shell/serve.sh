#!/bin/sh
# Answers one HTTP request: standard input and output are the connection. The job itself is perform.sh.
set -eu

end=$(printf '\r')
read -r method path _
length=0
# The head ends with an empty line. read takes no more than a line, so the body is left to perform.sh.
while IFS= read -r line && line=${line%"$end"} && [ -n "$line" ]; do
  case $(echo "$line" | tr 'A-Z' 'a-z') in
    content-length:*) length=$(echo "${line#*:}" | tr -cd '0-9') ;;
  esac
done

# answer STATUS FILE: the length is told, so that an answer that breaks off is not taken for a whole one.
answer() {
  printf 'HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n' "$1" "$(wc -c < "$2")"
  cat "$2"
}

reply=/tmp/reply.$$
trap 'rm -f "$reply"' EXIT
if [ "$method $path" != "POST /perform" ]; then
  head -c "$length" > /dev/null
  echo '{"error": "there is only POST /perform"}' > "$reply"
  answer "404 Not Found" "$reply"
elif head -c "$length" | /app/perform.sh > "$reply"; then
  answer "200 OK" "$reply"
else
  echo '{"error": "the arguments cannot be used"}' > "$reply"
  answer "400 Bad Request" "$reply"
fi
