# SPDX-License-Identifier: MIT
"""Our own ACPI tables, sound and broken, for QEMU's firmware. With acpi=off the machine has none, and these take their
place: fw_cfg files etc/acpi/rsdp, etc/acpi/tables and, for SeaBIOS, the script etc/table-loader."""
import struct

TABLES, RSDP = "etc/acpi/tables", "etc/acpi/rsdp"
ALLOCATE, ADD_POINTER, ADD_CHECKSUM = 1, 2, 3
ZONE_HIGH, ZONE_FSEG = 1, 2
LOCAL_APIC_ADDRESS = 0xFEE00000


def checksummed(data, at, wrong=False):
    data = bytearray(data)
    data[at] = 0
    data[at] = -sum(data) & 0xFF
    data[at] ^= 0x55 if wrong else 0
    return bytes(data)


def table(signature, body, length=None, wrong_checksum=False):
    header = signature + struct.pack("<IBB6s8sI4sI", length or 36 + len(body), 1, 0, b"QSCTST", b"QUIESCE ", 1,
                                     b"TEST", 1)
    return checksummed(header + body, 9, wrong_checksum)


def local_apic(apic_id, enabled=True):
    return struct.pack("<BBBBI", 0, 8, apic_id, apic_id, 1 if enabled else 0)


def local_x2apic(apic_id, enabled=True):
    return struct.pack("<BBHIII", 9, 16, 0, apic_id, 1 if enabled else 0, apic_id)


def io_apic(address):
    return struct.pack("<BBBBII", 1, 12, 0, 0, address, 0)


def local_apic_address(address):
    return struct.pack("<BBHQ", 5, 12, 0, address)


def madt(entries, **how):
    return table(b"APIC", struct.pack("<II", LOCAL_APIC_ADDRESS, 1) + entries, **how)


def hpet(address):
    return table(b"HPET", struct.pack("<IBBBBQBHB", 0x8086A201, 0, 64, 0, 0, address, 0, 0, 0))


def loader_entry(command, *fields):
    return struct.pack("<I", command) + b"".join(fields).ljust(124, b"\0")


def name(text):
    return text.encode().ljust(56, b"\0")


def files(*of_root):
    """The three fw_cfg files. A pointer is an offset in its file; the firmware adds the address to which it has loaded
    the file, and recomputes the checksums of the tables that it has changed. The tables that the root table lists keep
    our checksums, right or wrong."""
    length = 36 + 4 * len(of_root)
    rsdt = table(b"RSDT", b"".join(struct.pack("<I", length + sum(len(t) for t in of_root[:i]))
                                   for i in range(len(of_root))))
    tables = rsdt + b"".join(of_root)
    rsdp = b"RSD PTR \0QSCTST\0" + struct.pack("<I", 0)
    loader = loader_entry(ALLOCATE, name(RSDP), struct.pack("<IB", 16, ZONE_FSEG))
    loader += loader_entry(ALLOCATE, name(TABLES), struct.pack("<IB", 64, ZONE_HIGH))
    for at in range(36, length, 4):
        loader += loader_entry(ADD_POINTER, name(TABLES), name(TABLES), struct.pack("<IB", at, 4))
    loader += loader_entry(ADD_CHECKSUM, name(TABLES), struct.pack("<III", 9, 0, length))
    loader += loader_entry(ADD_POINTER, name(RSDP), name(TABLES), struct.pack("<IB", 16, 4))
    loader += loader_entry(ADD_CHECKSUM, name(RSDP), struct.pack("<III", 8, 0, 20))
    return {RSDP: rsdp, TABLES: tables, "etc/table-loader": loader}


# What the test matrix boots with: name -> files.
CASES = {
    # CPUs 0, 2 and 3 of four; 1 is disabled; 3 comes as an x2APIC entry; 2 is listed twice.
    "sparse": files(madt(local_apic(0) + local_apic(1, enabled=False) + local_apic(2) + local_x2apic(3) +
                         local_apic(2))),
    "bad-checksum": files(madt(local_apic(0) + local_apic(1), wrong_checksum=True)),
    "entry-length-0": files(madt(local_apic(0) + b"\0\0" + b"\xff" * 30)),
    "entry-beyond-end": files(madt(local_apic(0) + b"\0\xf0")),
    "table-length-huge": files(madt(local_apic(0) + local_apic(1), length=0xFFFFFFF0)),
    # Registers at addresses inside the kernel's image and inside RAM, and one sound I/O APIC.
    "registers-in-ram": files(madt(local_apic(0) + local_apic(1) + io_apic(0x110000) + io_apic(0xFEC00000) +
                                   io_apic(0x1000000) + local_apic_address(0x1234000)), hpet(0x1001000)),
    "table-length-short": files(madt(local_apic(0) + local_apic(1), length=20)),
}


def qemu_arguments(case, folder):
    """Write the case's files into `folder`; returns the arguments that make QEMU use them (with machine option
    acpi=off)."""
    arguments = []
    for number, (fw_name, data) in enumerate(CASES[case].items()):
        path = f"{folder}/{case}-{number}.bin"
        with open(path, "wb") as f:
            f.write(data)
        arguments += ["-fw_cfg", f"name={fw_name},file={path}"]
    return tuple(arguments)
