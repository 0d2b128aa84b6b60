# SPDX-License-Identifier: MIT
"""What this machine lacks of tools/deps.txt, and which configurations of make test are skipped for that."""
import fnmatch
import glob
import importlib.util
import os
import shutil

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deps.txt")


def is_here(what):
    """Is one of the alternatives of the table's column there: a program, a file's pattern, a module of Python?"""
    for one in what.split(","):
        kind, _, module = one.partition(":")
        if importlib.util.find_spec(module) if kind == "python3" else glob.glob(one) if "/" in one else shutil.which(one):
            return True
    return False


def rows():
    """(Debian's package, what shows that it is there, patterns of the configurations that are skipped without it)"""
    with open(TABLE, encoding="ascii") as f:
        for line in f:
            if not line.startswith("#"):
                package, _, _, what, *needs = line.split()
                yield package, what, [] if needs and needs[0].startswith("(") else needs


matches = fnmatch.fnmatch


def missing_for(name):
    """The packages whose lack skips this configuration. (Packages that everything needs are none of them.)"""
    return [package for package, what, patterns in rows()
            if any(matches(name, pattern) for pattern in patterns) and not is_here(what)]


def is_missing(package):
    return any(name == package and not is_here(what) for name, what, _ in rows())
