# Greets every name in /in/*.txt.
set -eu
sed "s/^/$WORD, /; s/\$/!/" /in/*.txt > /out/greetings.txt
case "$LOUD" in
  1 | [Tt][Rr][Uu][Ee]) tr a-z A-Z < /out/greetings.txt > /tmp/loud && cat /tmp/loud > /out/greetings.txt ;;
esac
cat /out/greetings.txt
