# Leaves a file of every form that the page knows, and what could do harm if it were taken for a page. The first argument says how
# much is logged, and how long.
box=/bin/busybox
case "$1" in
much)
  $box yes 'all work and no play' | $box head -c 40000000
  $box head -c 24000000 /dev/zero | tr '\0' x
  echo
  printf 'the last line\n'
  ;;
slow)
  n=0
  while test $n -lt 40; do
    n=$((n + 1))
    echo "tick $n"
    sleep 0.2
  done
  ;;
esac
printf '\033[31mred \033[1mbold\033[0m plain \033[38;5;4mblue\nstill blue\033[0m\n'
printf 'split \303'
sleep 0.1
printf '\251 and \033['
sleep 0.1
printf '32mgreen\033[m\n'
printf '10%%\r20%%\r100%%\r\n'
printf 'bytes \000\001\377 \033]0;title\007end\n'
printf '<img src=x onerror="stolen=1"><script>stolen=1</script>\n' >&2
out=${IEXEC_OUT:-/iexec}
cp -r /gallery/files/. "$out"
cp /gallery/clip.webm "$out"
printf '{"deterministic-output-path":"%s/quoted.csv"}' "$out" >"$out/computed.json"
