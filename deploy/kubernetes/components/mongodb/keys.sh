#!/bin/bash
# Before mongod: refuses placeholders, and copies the key file to where only mongod can read it. A Secret's files can
# be read by the pod's group, and mongod refuses such a key file.
set -euo pipefail

for file in /run/secrets/keys/* /run/secrets/certificate/* /run/secrets/authority/*; do
    case $(head -c 20 "$file") in
        change-me*)
            echo "mongodb: ${file##*/} is the placeholder of a sample: make a secret of your own" >&2
            exit 1
            ;;
    esac
done
install -m 0400 /run/secrets/keys/keyfile /run/keys/keyfile
