#!/bin/sh
# One fuzz target for some seconds: TARGET SEEDS BUILD-FOLDER SECONDS. The seeds are only read; what the target finds new
# is kept in the build folder and tried first the next time. An input that breaks something is left there as crash-*.
# FUZZ_SECONDS in the environment goes before SECONDS.
target=$1 seeds=$2 folder=$3 seconds=${FUZZ_SECONDS:-$4}
mkdir -p "$folder/found" || exit 1
exec "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=1 \
    -artifact_prefix="$folder/" "$folder/found" "$seeds"
