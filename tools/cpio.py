# SPDX-License-Identifier: MIT
"""An initramfs: cpio archives in the "newc" format, which the Linux kernel unpacks one after the other."""
import os


def entry(name, mode, data=b"", rdev=(0, 0)):
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def archive(files, folders=()):
    """files: {path in the archive: (mode, bytes)}; parents are made."""
    parents = set(folders)
    for path in (*files, *folders):
        while path := os.path.dirname(path):
            parents.add(path)
    entries = [entry(path, 0o40755) for path in sorted(parents)]
    entries += [entry(path, 0o100000 | mode, data) for path, (mode, data) in files.items()]
    return b"".join(entries) + entry("TRAILER!!!", 0)
