"""The published tables: what `published.json` says of each, and how it is printed.

A table has `what` it is of, its `source`, the `datasets` that ours takes, those that it `needs`
(if none, any of them will do), and `notes`, such as where the source contradicts itself. Its
`figures` are tables by title, each with a `form`, in which its figures were published (a format of
Python's: `.2%` of shares of 1, `,d` of counts), and `rows` of figures by column. What else stands
there is what ours is made with.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from vggface_gender.base import text

PUBLISHED: dict[str, dict] = json.loads(Path(__file__).with_name("published.json").read_text())


def describe(name: str) -> str:
    """All that was published of a table, to read."""
    published = PUBLISHED[name]
    parts = [f"{name}: {published['what']}\nsource: {published['source']}"]
    for title, table in published["figures"].items():
        parts.append(f"published: {title}\n{_describe(table)}")
    if published["notes"]:
        parts.append("\n".join(f"- {note}" for note in published["notes"]))
    return "\n\n".join(parts)


def _describe(table: Mapping) -> str:
    columns = list(dict.fromkeys(column for row in table["rows"].values() for column in row))
    rows = [
        [
            name,
            *(format(row[column], table["form"]) if column in row else "-" for column in columns),
        ]
        for name, row in table["rows"].items()
    ]
    return text.table(["", *columns], rows)


def column(published: Mapping, title: str, name: str) -> dict[str, float]:
    """The figures of one column of a published table, by row."""
    rows = published["figures"][title]["rows"]
    return {row: figures[name] for row, figures in rows.items() if name in figures}


def figures(published: Mapping) -> Iterator[str]:
    """Every published figure of a table, as it is printed."""
    for table in published["figures"].values():
        for row in table["rows"].values():
            for figure in row.values():
                yield format(figure, table["form"])
