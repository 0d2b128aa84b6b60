# SPDX-License-Identifier: MIT
"""A copy of this tree, in which a test may change what it likes. The objects are copied, too, and time stamps are kept, so
that no object is older than its sources and only what is new is compiled."""
import os
import shutil

import patience
import test_all


class Copy:
    def __init__(self, folder, objects, budget):
        """objects: of build/. budget: seconds of processor time for each command."""
        self.folder, self.budget = folder, budget
        shutil.copytree(".", folder, dirs_exist_ok=True, symlinks=True,
                        ignore=lambda where, _: ("build", ".git") if where == "." else ("__pycache__",))
        os.makedirs(f"{folder}/build/test")
        for name in objects:
            if os.path.isdir(f"build/{name}"):
                shutil.copytree(f"build/{name}", f"{folder}/build/{name}")
            elif os.path.exists(f"build/{name}"):
                shutil.copy2(f"build/{name}", f"{folder}/build/{name}")

    def run(self, *command, **env):
        """Run a command in the copy, without the variables that make was given: (status, lines)."""
        kept = {name: value for name, value in os.environ.items() if name not in test_all.OF_MAKE}
        status, text, hung = patience.run(command, self.budget, cwd=self.folder,
                                          env=kept | {"PYTHONDONTWRITEBYTECODE": "1"} | env)
        return status, text.splitlines() + ([hung] if hung else [])

    def ran(self, *command, **env):
        """The same for a command that must succeed: (what is wrong, lines)."""
        status, lines = self.run(*command, **env)
        return [f"{' '.join(command)}: status {status}", *lines[-15:]] if status else [], lines
