# SPDX-License-Identifier: MIT
"""The two axes as the sources define them: each DEFINE_TABLE_POLICY() in mm/policy/, and each struct flush_backend in
mm/flush/. A tool that needs a list of all policies or back-ends takes it from here, or from the lines of a boot."""
import dataclasses
import glob
import re

POLICY = re.compile(r"^DEFINE_TABLE_POLICY\((\w+),(.*?)\);$", re.M | re.S)
BACKEND = re.compile(r"^static const struct flush_backend (\w+)_backend = \{(.*?)^\};$", re.M | re.S)


@dataclasses.dataclass
class Value:
    """One value of table_free= or tlb_flush=."""
    name: str
    identifier: str
    path: str
    text: str     # of the whole file
    fields: dict  # {field: its initialiser}, without the fields that the file does not initialise


def values(folder, pattern):
    found = {}
    for path in sorted(glob.glob(f"{folder}/*.c")):
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for identifier, body in pattern.findall(text):
            name = re.search(r'"([\w-]+)"', body)[1]
            found[name] = Value(name, identifier, path, text, dict(re.findall(r"\.(\w+) = (\w+)", body)))
    return found


def policies():
    """{name: Value}"""
    return values("mm/policy", POLICY)


def floors():
    """The policies that free no table while its space lives: what all others are measured against."""
    return [name for name, policy in policies().items() if policy.fields.get("keeps") == "true"]


def backends():
    return values("mm/flush", BACKEND)


def is_safe(policy, backend):
    """pair_verdict() of mm/policy/verdict.c, from the same facts."""
    if policy.fields.get("waits") == "WAIT_REST":
        return policy.fields.get("walker") == "WALKER_IRQS_OFF" or backend.fields.get("reports") != "true"
    return policy.fields.get("waits") == "WAIT_OWN" or (
        policy.fields.get("walker") == "WALKER_IRQS_OFF" and policy.fields.get("walkers_are_targets") == "true" and
        backend.fields.get("proves_irqs_off_walks_ended") == "true")
