set -e
a=$(cat /inputs/a)
b=$(cat /inputs/b)
echo "$a + $b"
echo $((a + b)) > /outputs/sum
