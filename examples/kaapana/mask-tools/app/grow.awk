# A pixel of the grown mask is set when one within reach is set: |dx|+|dy| for a cross, max(|dx|,|dy|) for a box.
{ rows[NR] = $0 }
function abs(x) { return x < 0 ? -x : x }
END {
  for (y = 1; y <= NR; y++) {
    line = ""
    for (x = 1; x <= length(rows[y]); x++) {
      set = 0
      for (dy = -radius; dy <= radius; dy++)
        for (dx = -radius; dx <= radius; dx++)
          if ((shape == "box" || abs(dx) + abs(dy) <= radius) && y + dy >= 1 && y + dy <= NR && x + dx >= 1 && substr(rows[y + dy], x + dx, 1) == "1")
            set = 1
      line = line set
    }
    print line
  }
}
