# SPDX-License-Identifier: MIT
"""A diagram as SVG, in a light and a dark form: boxes, arrows and text at places that are given in pixels. The colours are
those of the report's pictures (tools/pictures/page.css)."""
from html import escape

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"
# What a colour is for: green is sound, red is wrong, blue is the side that frees, orange is the flush, grey is waiting.
THEMES = {
    "": {"paper": "#fdfdfc", "ink": "#1b1d1f", "muted": "#5b6066", "rule": "#d4d7da", "tint": "#f0f1f2",
         "green": "#00795a", "green-fill": "#d6efe6", "red": "#b43f00", "red-fill": "#fbe0d0",
         "blue": "#005f96", "blue-fill": "#d8eaf6", "orange": "#8a5a00", "orange-fill": "#fbecc8",
         "grey": "#5b6066", "grey-fill": "#e6e8ea"},
    "-dark": {"paper": "#0d1117", "ink": "#e4e6e8", "muted": "#a0a6ac", "rule": "#3a4046", "tint": "#1d2125",
              "green": "#3fcfa4", "green-fill": "#12392f", "red": "#f59a62", "red-fill": "#4a2413",
              "blue": "#7dbdf0", "blue-fill": "#14324a", "orange": "#e8b84a", "orange-fill": "#44340f",
              "grey": "#a0a6ac", "grey-fill": "#2a2f34"},
}
SIZE, SMALL, LINE = 13, 12, 16


class Drawing:
    """`describe` is what a screen reader says of it."""

    def __init__(self, name, width, height, describe):
        self.name, self.width, self.height, self.describe = name, width, height, describe
        self.parts = []

    def put(self, part):
        self.parts.append(part)

    def text(self, x, y, text, color="ink", size=SIZE, anchor="start", bold=False, mono=False):
        """`y` is the middle of all its lines."""
        rows = text.split("\n")
        top = y - (len(rows) - 1) * LINE / 2 + size * 0.35
        weight = ' font-weight="600"' if bold else ""
        family = f' font-family="{MONO}"' if mono else ""
        for n, row in enumerate(rows):
            self.put(f'<text x="{x:g}" y="{top + n * LINE:g}" fill="{{{color}}}" font-size="{size}" '
                     f'text-anchor="{anchor}"{weight}{family}>{escape(row)}</text>')

    def box(self, x, y, width, height, text="", color="grey", bold=False, hatched=False, size=SMALL, mono=False, dashed=False):
        """Filled in the light tone of `color`, with its text in the middle."""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        place = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4"'
        self.put(f'<rect {place} fill="{{{color}-fill}}" stroke="{{{color}}}"{dash}/>')
        if hatched:
            self.put(f'<rect {place} fill="url(#hatch)"/>')
        if text:
            self.text(x + width / 2, y + height / 2, text, color if color != "grey" else "ink", size, "middle", bold, mono)

    def line(self, points, color="muted", width=1.5, arrow=False, dashed=False):
        where = " ".join(f"{x:g},{y:g}" for x, y in points)
        end = f' marker-end="url(#{color})"' if arrow else ""
        dash = ' stroke-dasharray="4 3"' if dashed else ""
        self.put(f'<polyline points="{where}" fill="none" stroke="{{{color}}}" stroke-width="{width:g}"{dash}{end}/>')

    def arrow(self, *points, color="muted", width=1.5, dashed=False):
        self.line(points, color, width, True, dashed)

    def svg(self, theme):
        """The file's text."""
        colors = THEMES[theme]
        body = "\n".join(self.parts)
        arrows = "".join(
            f'<marker id="{c}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
            f'<path d="M0 1 L10 5 L0 9 z" fill="{{{c}}}"/></marker>' for c in colors if f"url(#{c})" in body)
        hatch = ('<pattern id="hatch" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
                 '<line x1="0" y1="0" x2="0" y2="7" stroke="{muted}" stroke-width="1.2" opacity="0.45"/></pattern>')
        text = (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" width="{self.width}" '
                f'height="{self.height}" role="img" font-family="{FONT}">\n<title>{escape(self.describe)}</title>\n'
                f'<defs>{arrows}{hatch if "url(#hatch)" in body else ""}</defs>\n'
                f'<rect width="{self.width}" height="{self.height}" fill="{{paper}}"/>\n{body}\n</svg>\n')
        for name, color in colors.items():
            text = text.replace("{" + name + "}", color)
        return text
