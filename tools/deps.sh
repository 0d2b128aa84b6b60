#!/bin/sh
# SPDX-License-Identifier: MIT
# Install the Debian packages named as arguments: nothing if all are there, quiet unless something fails, never asks.
set -eu

missing=
for package; do
	dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing="$missing $package"
done
if [ -z "$missing" ]; then
	echo "deps: all packages are installed"
	exit 0
fi

as_root=
[ "$(id -u)" = 0 ] || as_root="sudo -n"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "deps: installing$missing"
if ! { $as_root apt-get update -qq &&
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >"$log" 2>&1 </dev/null; then
	cat "$log"
	echo "deps: failed; as root: apt-get install$missing"
	exit 1
fi
