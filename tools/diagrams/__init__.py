# SPDX-License-Identifier: MIT
"""The diagrams of README.md and docs/: a module with a drawing() each."""
import importlib
import pkgutil

from diagrams.drawing import THEMES


def files():
    """{name of a file of docs/img/: its text}."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "__main__")
    modules = [importlib.import_module(f"diagrams.{name}") for name in names]
    drawings = [module.drawing() for module in modules if hasattr(module, "drawing")]
    return {f"{d.name}{theme}.svg": d.svg(theme) for d in drawings for theme in THEMES}
