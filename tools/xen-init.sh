#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Init of dom0 (tools/xen.py): run the domain of /q.cfg. Its console is hvc1, a port of virtio-serial; Xen's trace of
# the domain's hypercalls goes to the next port, vport0p1; what people may want to know, to dom0's console. QEMU ends by
# a byte to its isa-debug-exit: the domain's shutdown reason, or 15 if there is none that is a status.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts
mount -t devpts devpts /dev/pts
for module in /modules/*.ko; do	# their names are in their order
	insmod $module || echo "xen: error: $module cannot be loaded"
done
mount -t xenfs xenfs /proc/xen
end() {
	printf "\\x$(printf %x $1)" | dd of=/dev/port bs=1 seek=$((0xf4)) 2>/dev/null
}

logs=/var/log/xen/console
mkdir -p $logs /var/lib/xen /var/lib/xenstored /var/run/xen /var/run/xenstored
xenstored
xen-init-dom0 >/dev/null

# xenconsoled writes what the domain prints to a log, which is a pipe here: nothing is lost, and its end is the end.
# hvc1 stays open, because the terminal's modes are reset when it is closed.
exec 3<>/dev/hvc1
stty raw -echo <&3
mkfifo $logs/guest-q.log
cat $logs/guest-q.log >&3 &
output=$!
xenconsoled --log=guest --log-dir=$logs

# The trace has the exits of HVM domains with their reasons, in rings of 1 MiB a CPU. The port takes at most 32 KiB at a
# time, and xentrace ends where less was written than it wanted; so it writes to a pipe.
xentrace -D -S 256 -e 0x00082000 /proc/self/fd/1 | cat >/dev/vport0p1 &
tracer=$!

# The domain stays paused until xl waits for its end and the trace has begun.
xl create -pF /q.cfg >/tmp/xl 2>&1 &
creator=$!
until grep -q 'Waiting for domain' /tmp/xl || ! kill -0 $creator; do sleep 0.05; done
until xl dmesg | grep -q 'xentrace: initialised' || ! kill -0 $tracer; do sleep 0.05; done
[ ! -e /viridian ] || /bin/viridian || echo "xen: error: the domain does not get Hyper-V's interface: $?"
(
	until tty=$(xenstore-read /local/domain/1/console/tty 2>/dev/null); do sleep 0.1; done
	exec cat <&3 >$tty
) &
xl unpause q
wait $creator
cat /tmp/xl

reason=$(sed -n 's/^Domain 1 has shut down, reason code \([0-9]*\) .*/\1/p' /tmp/xl)
echo "xen: the domain has shut down: reason ${reason:-unknown}"
killall xentrace
wait $tracer
[ -z "$reason" ] || wait $output
[ "${reason:-0}" -ge 16 ] || reason=15
end $reason
