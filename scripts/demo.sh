#!/usr/bin/env bash
# Runs the examples of all five contracts with bin/longshore and shows for each the command and what it answered. What the
# runs write goes to build/demo/. Exits with 1 when a command fails, an answer is not the expected one, or a folder of
# examples/ is not shown here.
#
#   scripts/demo.sh [WORD]     only the examples whose command contains WORD
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

only=${1-}
out=build/demo
rm -rf "$out"
mkdir -p "$out"
PATH=$PWD/bin:$PATH

bold='' red='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
  bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

shown=0 commands='' failed=()

platform() {
  [ -n "$only" ] || printf '\n%s%s%s\n' "$bold" "$*" "$plain"
}

# show TITLE EXPECTED COMMAND runs COMMAND, in which OUT stands for a folder of its own, prints its standard output and a
# line for each file it left in that folder, and wants EXPECTED, a glob pattern without the outer stars, in all that.
show() {
  local title=$1 expected=$2 command=$3
  case $command in *"$only"*) ;; *) return 0 ;; esac
  shown=$((shown + 1))
  local dir status=0 start=${EPOCHREALTIME/./}
  dir=$out/$(grep -oE 'examples/[^/ ]+/[^/ ]+' <<<"$command" | head -n 1 | cut -d/ -f2- | tr / - || true)
  [ "$dir" != "$out/" ] || dir=$out/command
  while [ -e "$dir.stdout" ]; do dir+=-again; done
  local errors=$dir.stderr answer=$dir.stdout
  command=${command/-o OUT/-o $dir}
  commands+="$command"$'\n'

  printf '\n  %s\n  $ %s\n' "$title" "$command"
  bash -c "$command" </dev/null >"$answer" 2>"$errors" || status=$?
  [ ! -d "$dir" ] || outputs "$dir" "$answer" >"$dir.files"
  [ ! -f "$dir.files" ] || cat "$dir.files" >>"$answer"
  sed -e 's/^/    /' -e '$a\' "$answer"

  local ms=$(((${EPOCHREALTIME/./} - start) / 1000))
  if [ "$status" -ne 0 ]; then
    printf '    %sfailed with exit code %d%s\n' "$red" "$status" "$plain"
    tail -n 20 "$errors" | sed 's/^/    /'
    failed+=("$command")
  elif [[ $(cat "$answer") != *$expected* ]]; then
    printf '    %snot what was expected: %s%s\n' "$red" "$expected" "$plain"
    failed+=("$command")
  else
    printf '    %sok%s, %d.%d s\n' "$green" "$plain" $((ms / 1000)) $((ms % 1000 / 100))
  fi
}

# outputs DIR ANSWER prints a line per file that ANSWER does not name already: the text of a short one, the size of any
# other.
outputs() {
  local file name
  find "$1" -type f ! -path "$1/log" ! -path "$1/result.json" | sort | while read -r file; do
    name=${file#"$1/"}
    ! grep -qE "(^|/)${name//./\\.}( |:|\$)" "$2" || continue
    if [ "$(stat -c %s "$file")" -le 200 ] && grep -qI . "$file"; then
      printf '%s: %s\n' "$name" "$(head -n 3 "$file")"
    else
      printf '%s: %s bytes\n' "$name" "$(stat -c %s "$file")"
    fi
  done
}

printf '%sFive platforms, their packages as they are, one command.%s\n' "$bold" "$plain"
[ -n "$only" ] || printf '%s\n' "Every line with a \$ is a command, with bin/longshore as longshore; under it is what it answered. What it wrote is in $out/."

platform 'MECA: folders with an HTTP server inside'
show 'the smallest server: shell and busybox' '"hello"' \
  'longshore call examples/meca/echo -d @examples/meca/echo/example_input.bin'
show "the platform's Flask template" '"a": 1' \
  "longshore call examples/meca/python-template -d '{\"a\": 1}'"
show 'k nearest neighbours' '0, 1' \
  "longshore call examples/meca/knn -d '{\"dataset\": [[1, 2], [3, 4], [5, 6]], \"point\": [2, 3], \"k\": 2}'"

platform 'Cytomine App Engine: typed parameters as files'
show 'integer addition' '42' \
  'longshore run examples/cytomine/integer-addition -i a=5 -i b=37 -o OUT'
show 'an image filter: a PNG and a number out' 'coverage' \
  'longshore run examples/cytomine/image-filter -i image=@examples/cytomine/image-filter/inputs/image -o OUT'

platform 'Kaapana: processing-containers with templates and channels'
show 'a folder in, a folder out, a choice that must be made' 'Moin' \
  'longshore run examples/kaapana/greeting -i people=@examples/kaapana/greeting/data/people -e WORD=Moin -o OUT'
show 'the first of two templates; its memory limit follows the size of the masks' 'm.mask' \
  'longshore run examples/kaapana/mask-tools --template grow -i masks=@examples/kaapana/mask-tools/data/masks -e SHAPE=box -o OUT'
show 'the second, on what the first one wrote' 'count.txt' \
  "longshore run examples/kaapana/mask-tools --template count -e LABEL=1 -i masks=@$out/kaapana-mask-tools/grown -o OUT"

platform 'iExec: dapps with a consensus file'
show 'ffmpeg, with the words of its manifest' 'small.avi' \
  'longshore run examples/iexec/ffmpeg -i in=@examples/iexec/ffmpeg/small.mp4 -o OUT'
show 'a result that the platform can agree on' 'consensus.iexec' \
  'longshore run examples/iexec/word-count -i in=@examples/iexec/word-count/harbour.txt -o OUT'
show 'the later form: IEXEC_IN, IEXEC_OUT and computed.json' 'computed.json' \
  'longshore run examples/iexec/column-mean -i in=@examples/iexec/column-mean/tides.csv -o OUT'

platform 'Racetrack: jobs built from a repository'
show 'sum_numbers' '42' \
  "longshore run examples/racetrack/sum_numbers -i numbers='[20, 22]' -o OUT"
show "today's manifest, with limits and environment; called instead of run" '"total": 42' \
  "longshore call examples/racetrack/tiny -d '{\"numbers\": [40, 2]}'"

platform 'From one platform to another'
show 'files in and out become a request and an answer; the new package passes its platform'"'"'s test' 'PASS' \
  "longshore convert examples/cytomine/integer-addition --to meca -o $out/converted && longshore test $out/converted"

# A server of its own for a moment, on a free port, with its records and its token kept beside the outputs: the one that is
# started here later knows nobody yet, and greets with its link.
server=''
stop_server() { [ -z "$server" ] || kill "$server" 2>/dev/null || true; }
trap stop_server EXIT
start_server() {
  export XDG_CONFIG_HOME=$PWD/$out/config
  longshore serve --listen 127.0.0.1:0 --db "$PWD/$out/server.db" --blobs "$PWD/$out/blobs" >"$out/serve.log" 2>&1 &
  server=$!
  local link=''
  for _ in $(seq 300); do
    link=$(grep -om 1 'http://[^ ]*/login?code=[^ ]*' "$out/serve.log") && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  [ -n "$link" ] && longshore login "$link" --name demo >"$out/login.log" 2>&1
}

platform 'A server: runs that outlive it, an API, a web page'
if [ -z "$only" ] || [[ 'longshore import serve --server' == *"$only"* ]]; then
  if start_server; then
    show 'import once, run by name' 'sum = 42' \
      'longshore import examples/cytomine/integer-addition --server demo && longshore run --server demo integer-addition -i a=5 -i b=37 -o OUT'
    show 'every run is on record' 'succeeded' 'longshore runs --server demo'
  else
    failed+=("longshore serve: $(tail -n 3 "$out/serve.log" "$out/login.log" 2>/dev/null)")
  fi
fi

if [ -z "$only" ]; then
  for example in examples/*/*/; do
    example=${example%/}
    [[ $commands == *"$example"* ]] || failed+=("$example is not shown: add it to scripts/demo.sh")
  done
fi
[ "$shown" -gt 0 ] || failed+=("no example's command contains '$only'")

printf '\n'
if [ ${#failed[@]} -gt 0 ]; then
  printf '%sfailed (all output is in %s/):%s\n' "$red" "$out" "$plain"
  printf '  %s\n' "${failed[@]}"
  exit 1
fi
printf '%s%d commands ran, with packages of five contracts; what they wrote is in %s/.%s\n' "$green" "$shown" "$out" "$plain"
[ -n "$only" ] || cat <<'END'

Next:
  bin/longshore run examples/cytomine/integer-addition -i a=40 -i b=2 -o out     and look at out/result.json
  bin/longshore init meca ./my-task && bin/longshore test ./my-task              a package of your own
  bin/longshore serve                                                            the web page; it prints a link
END
