#!/usr/bin/env bash
# Makes FOLDER/root, Debian's aarch64 packages with a Python, and FOLDER/site, LiteRT's wheels for
# it. Nothing of them runs here by itself. Needs Debian, but no root; takes a minute and 250 MB.
#   tools/arm_root.sh FOLDER [PACKAGE…]     (more packages of Debian)
set -euo pipefail

# 2.3.0 crashes under qemu when it loads a model, on every CPU that qemu emulates.
LITERT=ai-edge-litert==1.4.0
PIP=${PIP:-$(dirname "$0")/../.venv/bin/pip}
folder=$(realpath -m "$1")
shift

command -v apt-get dpkg >/dev/null || {
  echo "error: needs apt-get and dpkg, as on Debian" >&2
  exit 1
}
mkdir -p "$folder"/{lists,cache/archives,root,site}/partial

# apt with separate folders; no package of this machine counts as installed.
apt() {
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
    -o Dir::State::lists="$folder/lists" -o Dir::State::status=/dev/null \
    -o Dir::Cache="$folder/cache" -o Debug::NoLocking=1 "$@"
}
apt update
apt install --yes --download-only --no-install-recommends python3 libstdc++6 "$@"
for package in "$folder"/cache/archives/*.deb; do
  dpkg -x "$package" "$folder/root"
done
interpreter=$(basename "$(readlink "$folder/root/usr/bin/python3")")

"$PIP" install --quiet --no-warn-conflicts --only-binary=:all: --target "$folder/site" \
  --python-version "${interpreter#python}" --implementation cp \
  --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
  --platform manylinux_2_17_aarch64 \
  --platform manylinux2014_aarch64 "$LITERT"
