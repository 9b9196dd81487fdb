#!/usr/bin/env bash
# Makes FOLDER/vmlinuz and FOLDER/root, Debian for a virtual ARM machine, for `make bench-arm`.
#   tools/arm_guest.sh [FOLDER]     (build/arm-guest)
set -euo pipefail

folder=$(realpath -m "${1:-build/arm-guest}")

command -v qemu-system-aarch64 >/dev/null || {
  echo "error: needs qemu-system-aarch64; on Debian: apt-get install qemu-system-arm" >&2
  exit 1
}
[ -f "$folder/vmlinuz" ] && exit 0
"$(dirname "$0")/arm_root.sh" "$folder" busybox-static linux-image-arm64
mkdir -p "$folder/root/site"
cp -r "$folder"/site/. "$folder/root/site"
# The guest has no devices that need a module; what nothing reads there only makes it boot slowly.
rm -rf "$folder"/root/lib/modules "$folder"/root/usr/share "$folder"/root/usr/lib/aarch64-linux-gnu/perl*
mv "$folder"/root/boot/vmlinuz-* "$folder/vmlinuz"
rm -rf "$folder/root/boot"
