# SPDX-License-Identifier: MIT
"""What matplotlib draws, made fit to stand in a page: colours as style sheet variables, so that dark mode works; ids
that no other picture of the page has; the page's font; coordinates no finer than anybody sees."""
import io
import re

from pictures import style

# The variables of page.css.
VARIABLES = {style.BLACK: "black", style.ORANGE: "orange", style.SKY: "sky", style.GREEN: "green", style.BLUE: "blue",
             style.RED: "red", style.PINK: "pink", style.INK: "ink", style.MUTED: "muted", style.GRID: "grid",
             style.PAPER: "paper"}
FONT = re.compile(r"font: (?:(bold|italic|\d+) )?([\d.]+)px [^;\"]*")
NUMBER = re.compile(r"-?\d+\.\d{3,}")


def text_of(fig):
    """The file that matplotlib writes, the same whenever it does."""
    out = io.StringIO()
    fig.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return out.getvalue()


def rounded(match):
    return f"{float(match[0]):.2f}".rstrip("0").rstrip(".")


def lean(text):
    """Without what only an XML file of its own needs."""
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    return NUMBER.sub(rounded, text)


def coloured(text):
    for color, name in VARIABLES.items():
        text = text.replace(f": {color}", f": var(--{name})").replace(f'"{color}"', f'"var(--{name})"')
    return text


def font(match):
    weight = {"700": "bold", None: "normal"}.get(match[1], match[1])
    return f"font-size: {match[2]}px; font-weight: {weight}"


def with_own_ids(text, prefix):
    """Groups that matplotlib numbers get a class instead: the page's style and its test go by it."""
    text = re.sub(r'<g id="(data|gap|axes|legend)(?:_\d+)?"', r'<g class="\1"', text)
    text = re.sub(r'<g id="[a-z0-9_.]+_\d+"', "<g", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', text)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", text)


def inline(text, prefix, label):
    """For the page."""
    text = with_own_ids(coloured(FONT.sub(font, lean(text))), prefix)
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text).groups()
    head = (f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 {width} {height}" role="img" '
            f'aria-label="{label}">')
    return re.sub(r"<svg[^>]*>", head, text, count=1).strip()
