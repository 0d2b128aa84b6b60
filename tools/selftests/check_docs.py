# SPDX-License-Identifier: MIT
"""Checks of README.md and docs/. Reported as KTAP."""
import glob
import pathlib
import re
import sys
from selftests import selftest


suite = selftest.Suite("docs")


def documents():
    """path, text of each."""
    return [(path, pathlib.Path(path).read_text(encoding="utf-8")) for path in ["README.md", *sorted(glob.glob("docs/*.md"))]]


@suite.test
def prose_is_at_most_120_columns_wide():
    """Code and tables may be wider."""
    wrong = []
    for path, text in documents():
        prose = re.sub(r"(?ms)^```.*?^```", "", text)
        wrong += [f"{path}: {line}" for line in re.findall(r"(?m)^(?!    | *\|).{121,}", prose)]
    return wrong


if __name__ == "__main__":
    sys.exit(selftest.main(suite))
