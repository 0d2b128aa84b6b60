#!/bin/sh
# SPDX-License-Identifier: MIT
# make deps: install what tools/deps.txt lists and this machine lacks. With apt it installs as root, and says so before;
# it asks nothing, and shows apt's output only if apt fails. Without apt it names what is missing, and the packages to
# install. It fails only if something is missing that everything needs; of the rest it names what is missing, and the
# tests that are skipped without it.
set -eu
table=$(dirname "$0")/deps.txt
python3=/usr/bin/python3
[ -x "$python3" ] || python3=python3

# The table's lines: package, fedora, arch, what, needs.
rows() { grep -v '^#' "$table"; }

# Is one of the alternatives of the table's column there: a program, a file's pattern, a module of Python?
is_here() {
	for one in $(echo "$1" | tr , ' '); do
		case $one in
		python3:*) "$python3" -c "import ${one#*:}" ;;
		/*) [ -e "$one" ] ;;
		*) command -v "$one" ;;
		esac >/dev/null 2>&1 && return
	done
	return 1
}

with_apt() { command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; }
is_installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

# The table's lines of what is missing.
missing() {
	rows | while read -r package fedora arch what needs; do
		if with_apt; then is_installed "$package"; else is_here "$what"; fi ||
			echo "$package $fedora $arch $what $needs"
	done
}

# Of lines of the table: the packages of one column that everything needs, or that only some tests do.
required() { echo "$1" | awk -v c="$2" 'NF == 4 && !seen[$c]++ { printf " %s", $c }'; }
optional() { echo "$1" | awk -v c="$2" 'NF > 4 && !seen[$c]++ { printf " %s", $c }'; }

name_the_lost() {
	echo "$1" | while read -r package fedora arch what needs; do
		[ -z "$needs" ] || echo "deps: $package is missing${2:-}: skipped without it: $needs"
	done
}

install() {
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 </dev/null
}

by_apt() {
	as_root=
	[ "$(id -u)" = 0 ] || as_root="sudo -n"
	need=$(required "$1" 1) want=$(optional "$1" 1)
	echo "deps: as root${as_root:+ (by $as_root)}: apt-get update; apt-get install$need$want"
	log=$(mktemp)
	trap 'rm -f "$log"' EXIT
	$as_root apt-get update -qq >>"$log" 2>&1 </dev/null || true # the old lists may be good enough
	# All at once; if that fails, first what everything needs, then each of the others by itself.
	install $need $want || {
		[ -z "$need" ] || install $need || {
			cat "$log"
			echo "deps: failed; as root: apt-get install$need"
			return 1
		}
		for package in $want; do
			install "$package" || true
		done
	}
	name_the_lost "$(missing)" " and could not be installed"
}

elsewhere() {
	echo "deps: there is no apt-get here, so nothing is installed. Missing:$(required "$1" 4)$(optional "$1" 4)"
	for system in "2 Fedora: dnf install" "3 Arch: pacman -S"; do
		column=${system%% *}
		known=$({ required "$1" "$column"; optional "$1" "$column"; } | tr ' ' '\n' | grep -v '^-*$' | sort -u | tr '\n' ' ')
		echo "deps:   ${system#* } $known"
	done
	name_the_lost "$1"
	[ -z "$(required "$1" 4)" ]
}

lines=$(missing)
if [ -z "$lines" ]; then
	echo "deps: everything is here"
elif with_apt; then
	by_apt "$lines"
else
	elsewhere "$lines"
fi
