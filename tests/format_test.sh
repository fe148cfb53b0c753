#!/usr/bin/env bash
# C++ as clang-format writes it, shell scripts as shellcheck likes them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
find config adapter replication sidecar tests \( -name '*.cc' -o -name '*.h' \) -print0 |
  xargs -0 clang-format --dry-run -Werror
grep -rlIE '^#!.*bash' .ci scripts tests --exclude-dir=__pycache__ | xargs shellcheck
