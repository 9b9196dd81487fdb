#!/usr/bin/env bash
# Makes FOLDER/python: an aarch64 Python with LiteRT that runs on this x86-64 machine under qemu,
# for `make test-arm`. Needs Debian with qemu-user-static, but no root; takes a minute and 250 MB.
#   tools/arm_python.sh [FOLDER]     (build/arm)
set -euo pipefail

folder=$(realpath -m "${1:-build/arm}")

command -v qemu-aarch64-static >/dev/null || {
  echo "error: needs qemu-aarch64-static; on Debian: apt-get install qemu-user-static" >&2
  exit 1
}
[ -x "$folder/python" ] && exit 0
"$(dirname "$0")/arm_root.sh" "$folder"
interpreter=$(basename "$(readlink "$folder/root/usr/bin/python3")")

cat >"$folder/python" <<SCRIPT
#!/bin/sh
# PYTHONPATH only for the emulated program: it cannot use this machine's packages.
unset PYTHONPATH
exec qemu-aarch64-static -cpu "\${ARM_CPU:-cortex-a72}" -L "$folder/root" \\
  -E PYTHONPATH="$folder/site" "$folder/root/usr/bin/$interpreter" "\$@"
SCRIPT
chmod +x "$folder/python"
echo "$folder/python"
