# SPDX-License-Identifier: MIT
"""The diagrams of README.md and docs/: a module each, whose drawing() it is."""
import importlib
import pkgutil

from diagrams.drawing import THEMES


def files():
    """{name of a file of docs/img/: its text}."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in ("crossing", "drawing", "__main__"))
    drawings = [importlib.import_module(f"diagrams.{name}").drawing() for name in names]
    return {f"{d.name}{theme}.svg": d.svg(theme) for d in drawings for theme in THEMES}
