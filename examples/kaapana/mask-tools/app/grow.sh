# Grows every mask below /data/masks by RADIUS pixels.
set -eu
for item in /data/masks/*/; do
  id=$(basename "$item")
  mkdir -p "/data/grown/$id"
  for mask in "$item"*.mask; do
    awk -v radius="$RADIUS" -v shape="$SHAPE" -f /app/grow.awk "$mask" > "/data/grown/$id/$(basename "$mask")"
  done
  echo "$id grown by $RADIUS ($SHAPE)"
done
