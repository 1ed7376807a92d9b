# Writes every text below /data/texts in capitals, TIMES times.
set -eu
for item in /data/texts/*/; do
  id=$(basename "$item")
  mkdir -p "/data/shouted/$id"
  for text in "$item"*.txt; do
    i=0
    while [ "$i" -lt "$TIMES" ]; do
      tr a-z A-Z < "$text"
      i=$((i + 1))
    done > "/data/shouted/$id/$(basename "$text")"
  done
  echo "$id done"
done
