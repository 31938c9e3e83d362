"""A model card as HTML: headings, paragraphs, lists, tables, code; what cards are written with.

All text is escaped before anything is made of it, so a card can't bring markup of its own.
"""

import html
import re
from collections.abc import Iterator

_INLINE = (
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
    (re.compile(r"\*\*([^*]+)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"\[([^\]]+)\]\((https?://[^)\s]+)\)"), r'<a href="\2" rel="noreferrer">\1</a>'),
    (re.compile(r"\[([^\]]+)\]\([^)\s]+\)"), r"\1"),  # to a file that is not served
)


def to_html(text: str) -> str:
    """A card's Markdown as HTML, without what stands around a page."""
    return "\n".join(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    start = 0
    while start < len(lines):
        line = lines[start]
        if not line.strip():
            start += 1
            continue
        end = start + 1
        if line.startswith("```"):
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            code = html.escape("\n".join(lines[start + 1 : end]))
            yield f'<pre tabindex="0">{code}</pre>'
            start = end + 1
            continue
        if heading := re.match(r"(#{1,4}) (.*)", line):
            yield f"<h{len(heading[1])}>{_inline(heading[2])}</h{len(heading[1])}>"
            start = end
            continue
        while end < len(lines) and _goes_on(line, lines[end]):
            end += 1
        block, start = lines[start:end], end
        if line.startswith("|"):
            yield _table(block)
        elif line.startswith("- "):
            items = re.split(r"^- ", "\n".join(block), flags=re.M)[1:]
            yield f"<ul>{''.join(f'<li>{_inline(item)}</li>' for item in items)}</ul>"
        else:
            yield f"<p>{_inline(' '.join(block))}</p>"


def _goes_on(first: str, line: str) -> bool:
    """Whether a line belongs to the block that another begins."""
    if not line.strip() or line.startswith(("#", "```")):
        return False
    if first.startswith("|") or line.startswith("|"):
        return first.startswith("|") and line.startswith("|")
    return first.startswith("- ") or not line.startswith("- ")


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    body = [row for row in rows[1:] if not all(re.fullmatch(r":?-+:?", cell) for cell in row)]
    head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in rows[0])
    cells = ("".join(f"<td>{_inline(cell)}</td>" for cell in row) for row in body)
    inside = "".join(f"<tr>{row}</tr>" for row in cells)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{inside}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>'


def _inline(text: str) -> str:
    """A line's text, escaped, with its code, strong words and links."""
    escaped = html.escape(" ".join(text.split()))
    for pattern, replacement in _INLINE:
        escaped = pattern.sub(replacement, escaped)
    return escaped
