# Counts the pixels with the value LABEL in every item below /data/masks.
set -eu
for item in /data/masks/*/; do
  id=$(basename "$item")
  mkdir -p "/data/counts/$id"
  cat "$item"*.mask | tr -cd "$LABEL" | wc -c | tr -d ' ' > "/data/counts/$id/count.txt"
  echo "$id: $(cat "/data/counts/$id/count.txt") pixels are $LABEL"
done
