cd /inputs
echo "looking for $(cat mode), brighter than $(cat threshold)"
echo "the picture is not georeferenced" >&2
if test "$(cat threshold)" = 255; then
  echo "nothing can be brighter than 255" >&2
  exit 3
fi
i=0
while test $i -lt "$(cat seconds)"; do
  i=$((i + 1))
  echo "berth $i: 2 found"
  n=0
  while test $n -lt 60000; do n=$((n + 1)); done
  sleep 1
done
cp picture /outputs/copy
echo '{"type":"Polygon","coordinates":[[[60,40],[180,50],[200,130],[90,150],[60,40]]]}' >/outputs/outline
printf 'berth,ships,metres\n1,2,14.5\n2,0,\n3,5,<b>61</b>\n' >/outputs/counts
printf '{"heading":"%s","found":7,"exact":12345678901234567890,"berths":[{"number":1,"ships":["Anna","Ørsted"]},{"number":2,"ships":[]}],"dark":null}' "$(cat heading)" >/outputs/report
printf '7 found' >/outputs/summary
printf '<!doctype html><script>document.title = "stolen"; fetch("/v1/self")</script><h1>Report</h1>' >/outputs/page
{
  head -c 128 /dev/zero
  printf 'DICM\002\000\020\000UI\024\0001.2.840.10008.1.2.1\000\010\000\140\000CS\002\000CT\020\000\020\000PN\010\000Doe^Jane\050\000\020\000US\002\000\000\002'
} >/outputs/scan
echo done
