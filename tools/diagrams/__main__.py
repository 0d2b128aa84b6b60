# SPDX-License-Identifier: MIT
"""python3 tools/diagrams [FOLDER]: draws all diagrams of the documents into FOLDER (docs/img), light and dark."""
import os
import sys

sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the tools; this folder is `diagrams`
from diagrams import files  # noqa: E402

where = sys.argv[1] if len(sys.argv) > 1 else "docs/img"
os.makedirs(where, exist_ok=True)
for name, text in files().items():
    with open(os.path.join(where, name), "w", encoding="utf-8") as f:
        f.write(text)
