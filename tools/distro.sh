#!/bin/sh
# SPDX-License-Identifier: MIT
# make distro: follow README.md in a Debian in which nothing is installed. Needs root: debootstrap makes a chroot of the
# release DISTRO, HEAD is cloned into it (without uncommitted changes), and COMMAND runs there. FOLDER keeps what
# debootstrap made, and the chroot. Each run makes a new chroot; AGAIN=1 uses the old one, with what is installed in it.
# MIRROR: where debootstrap gets Debian from, if not from its default.
set -eu
DISTRO=${DISTRO:-trixie}
COMMAND=${COMMAND:-make deps run && make deps test}
FOLDER=${FOLDER:-${TMPDIR:-/var/tmp}/quiesce-distro}
FIRST="git make ca-certificates" # README.md: what comes before `make deps`
tree=$(cd "$(dirname "$0")/.." && pwd)
bare=$FOLDER/$DISTRO.bare root=$FOLDER/$DISTRO

fail() {
	echo "distro: $*" >&2
	exit 1
}

# As after a login: of our environment only the proxy.
inside() {
	chroot "$root" /usr/bin/env -i HOME=/root TERM=linux PATH=/usr/sbin:/usr/bin:/sbin:/bin \
		${http_proxy:+http_proxy="$http_proxy"} sh -c "$1"
}

# In namespaces of our own: nobody else sees the mounts, they end with the last process, and all processes end with us.
if [ "${1:-}" != inside ]; then
	[ "$(id -u)" = 0 ] || fail "needs root: it makes a chroot and mounts in it"
	for program in debootstrap unshare git; do
		command -v $program >/dev/null || fail "$program is not installed: apt-get install debootstrap util-linux git"
	done
	export DISTRO COMMAND FOLDER
	exec unshare --mount --pid --fork --kill-child "$0" inside
fi

make_bare() {
	echo "distro: debootstrap of $DISTRO into $bare; its log: $bare.log"
	rm -rf --one-file-system "$bare.new"
	debootstrap --variant=minbase "$DISTRO" "$bare.new" ${MIRROR:+"$MIRROR"} >"$bare.log" 2>&1 || {
		tail -n 20 "$bare.log" >&2
		fail "debootstrap failed"
	}
	mv "$bare.new" "$bare"
}

make_root() {
	[ -d "$bare" ] || make_bare
	echo "distro: a new chroot in $root: installing $FIRST"
	rm -rf --one-file-system "$root"
	cp -a "$bare" "$root"
	cp -L /etc/resolv.conf "$root/etc/resolv.conf"
}

enter() {
	mount -t proc proc "$root/proc"
	mount --rbind /sys "$root/sys"
	mount --rbind /dev "$root/dev" # with /dev/pts and, where there is one, /dev/kvm
}

clone() {
	rm -rf "$root/root/quiesce"
	[ -z "$(git -C "$tree" status --porcelain)" ] || echo "distro: uncommitted changes are not tried"
	git clone -q --no-hardlinks "$tree" "$root/root/quiesce"
}

versions() {
	echo "distro: Debian $(cat "$root/etc/debian_version") ($DISTRO), Linux $(uname -r):"
	inside 'dpkg-query -W -f "\${Package} \${Version}\n" gcc binutils nasm qemu-system-x86 grub-common ovmf bochs clang spin python3 chromium' 2>/dev/null |
		sed 's/^/distro:   /'
}

mkdir -p "$FOLDER"
exec 9>"$FOLDER/$DISTRO.lock"
flock -n 9 || fail "$FOLDER/$DISTRO is in use"
[ "${AGAIN:-}" = 1 ] && [ -d "$root" ] || make_root
enter
[ -e "$root/usr/bin/git" ] || inside "apt-get update -qq && apt-get install -y -qq --no-install-recommends $FIRST" >"$root.log" 2>&1 || {
	tail -n 20 "$root.log" >&2
	fail "$FIRST could not be installed"
}
clone
echo "distro: in $root/root/quiesce: $COMMAND"
status=0
inside "cd /root/quiesce && $COMMAND" </dev/null || status=$?
versions
echo "distro: $DISTRO: $COMMAND: $([ $status = 0 ] && echo success || echo "failed with status $status")"
exit $status
