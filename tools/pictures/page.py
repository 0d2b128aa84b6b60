# SPDX-License-Identifier: MIT
"""The page: one file that needs nothing else."""
import os
from html import escape

from pictures import matrix_table, words

QUESTION = "When may a page-table page be freed while other CPUs walk?"


def stylesheet():
    with open(os.path.join(os.path.dirname(__file__), "page.css"), encoding="utf-8") as f:
        return f.read()


def notices(data):
    """What must be known before any figure is believed."""
    if data.emulated():
        yield ("Measured under QEMU's TCG: an emulator, so these figures compare paths through the kernel with one "
               "another. They say nothing about hardware.")
    if over := data.overcommitted():
        yield (f"The host was overcommitted ({'; '.join(over[:2])}{' …' if len(over) > 2 else ''}): whatever waits for "
               "another CPU measures the host's scheduler, too.")
    if not data.host_cpus:
        yield "The files do not say how many CPUs the host had, so it is not known whether it was overcommitted."


def origin(data):
    """Which kernel, where, how many CPUs: in a few words."""
    headers = [run.header for run in data.runs]
    versions = sorted({f"{h['version']} ({h.get('commit', '?')})" for h in headers if h.get("version")})
    where = sorted({h.get("cpu") or h.get("hypervisor") or "" for h in headers} - {""})
    said = f"Quiesce {words.listed(versions)}" if versions else "Quiesce, version unknown"
    said += f", {words.plural(data.cpus, 'CPU')}" + (f" of {words.listed(where)}" if where else "")
    return f"{said}; {words.plural(len(data.runs), 'boot')}."


def head(data):
    notes = " ".join(f"<span>{escape(text)}</span>" for text in notices(data))
    return (f"<h1>{QUESTION}</h1>\n<p class=lead>{escape(matrix_table.sentence(data))}</p>\n"
            f'<p class="notice">{escape(origin(data))} {notes}</p>\n{matrix_table.html(data)}')


def figure(section, svgs):
    wide, narrow = svgs
    return (f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div>'
            f"<figcaption><p>{escape(section.sentence)}</p></figcaption></figure>")


def body_of(section, svgs):
    parts = []
    if section.gap:
        parts.append(f'<p class="gap">{escape(section.gap)}</p>')
    elif svgs:
        parts.append(figure(section, svgs))
    elif section.sentence:
        parts.append(f"<p>{escape(section.sentence)}</p>")
    if section.table:
        parts.append(section.table)
    if section.note:
        parts.append(f'<p class="note">{escape(section.note)}</p>')
    if section.command:
        parts.append(f"<pre>{escape(section.command)}</pre>")
    return "\n".join(parts)


def html(data, sections, svgs):
    """`svgs`: {section's name: (wide, narrow)}."""
    links = " ".join(f'<a href="#{s.name}">{escape(s.title.split(":")[0])}</a>' for s in sections)
    rest = "\n".join(f'<section id="{s.name}">\n<h2>{escape(s.title)}</h2>\n{body_of(s, svgs.get(s.name))}\n</section>'
                     for s in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Quiesce: {QUESTION[0].lower()}{QUESTION[1:]}</title>
<link rel="icon" href="data:,">
<style>
{stylesheet()}</style>
</head>
<body>
{head(data)}
<nav aria-label="Sections">{links}</nav>
{rest}
</body>
</html>
"""
