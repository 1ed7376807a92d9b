# Counts lines, words or bytes of every item below /data/texts.
set -eu
case "$UNIT" in
  lines) option=-l ;;
  words) option=-w ;;
  bytes) option=-c ;;
  *) echo "UNIT is $UNIT" >&2; exit 2 ;;
esac
for item in /data/texts/*/; do
  id=$(basename "$item")
  mkdir -p "/data/counts/$id"
  cat "$item"*.txt | wc "$option" | tr -d ' ' > "/data/counts/$id/count.txt"
  echo "$id: $(cat "/data/counts/$id/count.txt") $UNIT"
done
