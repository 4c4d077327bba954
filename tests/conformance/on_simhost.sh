#!/bin/sh
# on_simhost.sh SIMHOST HOST CONFORMANCE [FILTER]: on a mount that is gone afterwards.
simhost=$1 host=$2 conformance=$3
shift 3
mount_point=$(mktemp -d) || exit 1
"$simhost" "$mount_point" "$host" -- "$conformance" "$mount_point" "$@"
status=$?
rmdir "$mount_point" || status=1
exit $status
