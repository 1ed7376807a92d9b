#!/bin/sh
# Starts the server of a MECA task. httpd gives what is sent to / to cgi-bin/index.cgi.
set -eu

# httpd goes to the background once it listens, so the mark is true when it is printed.
httpd -p 8080 -h /app
echo meca-init-done
exec tail -f /dev/null
