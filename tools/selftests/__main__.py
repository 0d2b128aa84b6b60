# SPDX-License-Identifier: MIT
"""The tests of the tools: python3 tools/selftests NAME [ARGUMENT…] runs check_NAME.py, from the top of the tree."""
import os
import runpy
import sys

if len(sys.argv) < 2:
    sys.exit(__doc__)
sys.path[0] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # the tools, and this folder as `selftests`
del sys.argv[0]
runpy.run_module(f"selftests.check_{sys.argv[0]}", run_name="__main__")
