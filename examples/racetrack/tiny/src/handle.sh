#!/bin/sh
# One HTTP request from stdin, one response on stdout: POST /perform with {"numbers": [...]} gives their count, sum and mean.
CR=$(printf '\r')

answer() {
    printf 'HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n' "$1" $((${#2} + 1)) "$2"
    exit 0
}

# A port that is only tried sends nothing.
read -r method path version || exit 0

length=
while IFS= read -r line; do
    line=${line%"$CR"}
    [ -n "$line" ] || break
    value=$(echo "${line#*:}" | tr -d ' \t')
    case $(echo "${line%%:*}" | tr A-Z a-z) in
        content-length) length=$value ;;
        expect) printf 'HTTP/1.1 100 Continue\r\n\r\n' ;;
    esac
done

[ "${path%%\?*}" = /perform ] || answer '404 Not Found' '{"error": "there is only /perform"}'
[ "$method" = POST ] || answer '405 Method Not Allowed' '{"error": "only POST"}'
case $length in
    '' | *[!0-9]*) answer '411 Length Required' '{"error": "the request needs a Content-Length"}' ;;
esac

result=$(head -c "$length" | awk -v label="${LABEL:-sum}" '
    { body = body $0 " " }
    END {
        if (!match(body, /"numbers"[ \t\r]*:[ \t\r]*\[[^]]*\]/))
            exit 1
        list = substr(body, RSTART, RLENGTH)
        sub(/^[^[]*\[/, "", list)
        sub(/\]$/, "", list)
        gsub(/[ \t\r]/, "", list)
        n = split(list, number, ",")
        for (i = 1; i <= n; i++) {
            if (number[i] !~ /^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$/)
                exit 1
            sum += number[i]
        }
        printf "{\"count\": %d, \"%s\": %.10g, \"mean\": %s}", n, label, sum, n ? sprintf("%.10g", sum / n) : "null"
    }') || answer '400 Bad Request' '{"error": "numbers must be a list of numbers"}'
answer '200 OK' "$result"
