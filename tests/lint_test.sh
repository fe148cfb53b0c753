#!/usr/bin/env bash
# lint_test.sh BUILD: clang-tidy over the program's sources, compiled as BUILD/compile_commands.json says.
set -euo pipefail
build=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
run-clang-tidy -quiet -p "$build" -j "$(nproc)" "^$root/(config|adapter|replication|sidecar)/"
