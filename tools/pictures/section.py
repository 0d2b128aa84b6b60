# SPDX-License-Identifier: MIT
"""One picture of the page with what stands under it, or the reason why it is missing."""
import dataclasses
import typing


@dataclasses.dataclass
class Section:
    name: str                            # of its files, and of its place in the page
    title: str
    sentence: str = ""                   # what it shows, with the figures
    command: str = ""                    # measures it again
    draw: typing.Callable = None         # draw(narrow) -> Figure
    note: str = ""                       # how to read it
    gap: str = ""                        # why there is no picture
    table: str = ""                      # HTML, instead of a picture or below it


def missing(name, title, what, command):
    """A gap that says how to fill it."""
    return Section(name, title, gap=f"Not drawn: {what}. This measures it:", command=command)
