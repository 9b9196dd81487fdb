#!/usr/bin/env bash
# Makes FOLDER/python: an aarch64 Python with LiteRT that runs on this x86-64 machine under qemu,
# for `make test-arm`. Needs Debian with qemu-user-static, but no root; takes a minute and 250 MB.
#   tools/arm_python.sh [FOLDER]     (build/arm)
set -euo pipefail

# 2.3.0 crashes under qemu when it loads a model, on every CPU that qemu emulates.
LITERT=ai-edge-litert==1.4.0
PIP=${PIP:-$(dirname "$0")/../.venv/bin/pip}
folder=$(realpath -m "${1:-build/arm}")

command -v qemu-aarch64-static apt-get dpkg >/dev/null || {
  echo "error: needs qemu-aarch64-static, apt-get and dpkg; on Debian: apt-get install qemu-user-static" >&2
  exit 1
}
[ -x "$folder/python" ] && exit 0
mkdir -p "$folder"/{lists,cache/archives,root,site}/partial

# apt with separate folders; no package of this machine counts as installed.
apt() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
    -o Dir::State::lists="$folder/lists" -o Dir::State::status=/dev/null \
    -o Dir::Cache="$folder/cache" -o Debug::NoLocking=1 "$@"
}
apt update
apt install --yes --download-only --no-install-recommends python3 libstdc++6
for package in "$folder"/cache/archives/*.deb; do
  dpkg -x "$package" "$folder/root"
done
interpreter=$(basename "$(readlink "$folder/root/usr/bin/python3")")

"$PIP" install --quiet --no-warn-conflicts --only-binary=:all: --target "$folder/site" \
  --python-version "${interpreter#python}" --implementation cp \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux_2_17_aarch64 \
  --platform manylinux2014_aarch64 "$LITERT"

cat >"$folder/python" <<SCRIPT
#!/bin/sh
# PYTHONPATH only for the emulated program: it cannot use this machine's packages.
unset PYTHONPATH
exec qemu-aarch64-static -cpu "\${ARM_CPU:-cortex-a72}" -L "$folder/root" \\
  -E PYTHONPATH="$folder/site" "$folder/root/usr/bin/$interpreter" "\$@"
SCRIPT
chmod +x "$folder/python"
echo "$folder/python"
