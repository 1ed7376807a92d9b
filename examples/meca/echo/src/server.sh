# httpd returns once it listens, and serves in the background. A request for / runs cgi-bin/index.cgi.
httpd -p 8080 -h /app/www || exit 1
echo meca-init-done

# Stay for as long as the container is wanted, and go at once when it is not.
trap 'exit 0' TERM INT
while :; do
    sleep 3600 &
    wait $!
done
