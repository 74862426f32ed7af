#!/bin/bash
# Runs beside mongod in every pod, but acts only in the first: it retries until the set has its members and its users.
# It is idempotent, so a restart changes nothing.
set -uo pipefail

trap 'exit 0' TERM INT
if [[ $HOSTNAME == *-0 ]]; then
    until mongosh --quiet --nodb --norc /scripts/initiate.js; do
        echo "mongodb: the replica set is not complete yet; the next try is in 5 s" >&2
        sleep 5 &
        wait $!
    done
    echo "mongodb: the replica set is complete"
fi
while true; do
    sleep infinity &
    wait $!
done
