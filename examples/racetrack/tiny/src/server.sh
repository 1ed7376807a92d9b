# nc starts one handler for each connection. Some builds of it end after one connection, hence the loop.
trap 'kill $! 2>/dev/null; exit 0' TERM INT
while :; do
    nc -ll -p 7004 -e /app/handle.sh &
    wait $! || sleep 1
done
