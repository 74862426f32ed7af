#!/bin/bash
# With arguments: runs them (to read a secret). Without: generates missing secrets, readable only for the containers
# of Broadway.
set -euo pipefail

if [ $# -gt 0 ]; then
    exec "$@"
fi
for name in internal-token cluster-token client-token; do
    if [ ! -s "/secrets/$name" ]; then
        head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"/secrets/$name.new"
        chmod 0440 "/secrets/$name.new"
        chown 0:10001 "/secrets/$name.new"
        mv "/secrets/$name.new" "/secrets/$name"
    fi
done
