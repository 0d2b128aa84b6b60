#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# Init of L1 (tools/nested.py): load KVM, count what its tracepoints see, run /l2 on the second serial port, and report
# on the first one: "nested: status N" and "nested: EVENT KEY=VALUE COUNT".
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tracefs tracefs /sys/kernel/tracing

end() {
	sleep 0.3	# the serial ports drain
	echo b >/proc/sysrq-trigger	# reboots at once, without taking CPUs and devices down; with -no-reboot QEMU ends
}
fail() {
	echo "nested: error: $1"
	end
}

for module in irqbypass kvm kvm-amd; do
	insmod /modules/$module.ko || fail "$module.ko cannot be loaded"
done
[ -c /dev/kvm ] || fail "L1 has no /dev/kvm"

# A histogram of an event over one of its fields, perhaps only where a condition holds: counted in the kernel, so that
# none is lost. MSR 0x830 is the x2APIC's interrupt command register.
events=/sys/kernel/tracing/events/kvm
traced="kvm_pv_tlb_flush:need_flush_tlb kvm_hv_flush_tlb:flags kvm_hv_flush_tlb_ex:flags kvm_hv_hypercall:code
	kvm_msr:data:ecx==0x830"
for each in $traced; do
	echo "hist:keys=${each#*:}" | sed 's/:ecx/ if ecx/' >$events/${each%%:*}/trigger
done

# Record where a CPU of L2 is when it shuts down by a triple fault (exit 0x7f): KVM then resets it, and its registers
# are lost.
echo "exit_reason == 0x7f" >$events/kvm_exit/filter
echo 1 >$events/kvm_exit/enable

# L1 rewrites its scheduler when its first VM begins and when its last one ends, and KVM when the number of vCPUs
# whose local APIC is off becomes 0 or is 0 no more. Another CPU may go on with QEMU's translation of the old code. So
# a VM whose only vCPU has no APIC is made while the other CPUs are off (maxcpus=1), and lives to the end.
[ $(nproc) = 1 ] || fail "its other CPUs are on already"
qemu-system-x86_64 -nodefaults -display none -machine pc -m 2M -accel kvm -cpu host,-apic -S -daemonize ||
	fail "no VM that lives to the end"
for cpu in /sys/devices/system/cpu/cpu[1-9]*/online; do
	echo 1 >$cpu || fail "$cpu cannot be set"
done

stty -F /dev/ttyS1 raw -echo 115200
echo "nested: begin"
sh /l2 </dev/ttyS1 >/dev/ttyS1 2>/tmp/errors
status=$?
# QEMU's own messages only where it failed: it also warns of more vCPUs than CPUs, which is intended here.
case $status in
1 | 1[3-9]?) cat /tmp/errors >/dev/ttyS1 ;;
esac
for each in $traced; do
	sed -n "s/^{ *\([a-z_]*\): *\([0-9]*\) *} *hitcount: *\([0-9]*\).*/nested: ${each%%:*} \1=\2 \3/p" $events/${each%%:*}/hist
done
sed -n 's/.*kvm_exit: *\(vcpu [0-9]*\) reason.* rip 0x\([0-9a-f]*\) .*/nested: \1 shut down at \2/p' /sys/kernel/tracing/trace
echo "nested: status $status"
end
