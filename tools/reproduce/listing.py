"""The list of the published tables, and what of their datasets is at hand."""

from collections.abc import Mapping
from pathlib import Path

from reproduce import tables as published_tables
from reproduce.request import Request
from vggface_gender.base.errors import InputError


def listing(*, source: Path | None, tables: Mapping[str, str], data_dir: Path) -> str:
    """Each table's name, what it is of, its source and its datasets; how to get those missing.

    Args:
        source, tables, data_dir: see `Request`.
    """
    parts, how_to_get = [], {}
    for name, published in sorted(published_tables.PUBLISHED.items()):
        request = Request(name, source=source, tables=tables, data_dir=data_dir)
        there = []
        for dataset in published["datasets"]:
            try:
                request.check(dataset)
                there.append(f"{dataset} (at hand)")
            except InputError as error:
                there.append(f"{dataset} (missing)")
                how_to_get[dataset] = str(error).removeprefix(f"{name} needs ")
        parts.append(
            f"{name}\n  {published['what']}\n  source: {published['source']}\n"
            f"  datasets of ours: {', '.join(there)}"
        )
    if how_to_get:
        lines = [f"  {line}" for _, line in sorted(how_to_get.items())]
        parts.append("\n".join(["missing, and how to get it (docs/datasets.md):", *lines]))
    return "\n\n".join(parts)
