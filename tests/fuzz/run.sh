#!/usr/bin/env bash
# run.sh BUILD NAME SECONDS [libFuzzer's options]: runs the fuzz target on its corpus. What it finds goes to BUILD/found/NAME, what makes
# it fail to BUILD/broken.
set -euo pipefail
build=$1
name=$2
seeds=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/corpus/$name
mkdir -p "$build/found/$name" "$build/broken"
exec "$build/${name}_fuzz" -max_total_time="$3" -timeout=60 -rss_limit_mb=4096 -print_final_stats=1 \
  -artifact_prefix="$build/broken/$name-" "${@:4}" "$build/found/$name" "$seeds"
