"""Duplicates as a table, as figures and as text."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vggface_gender.base import files, text
from vggface_gender.base.splits import SPLITS
from vggface_gender.evaluation import duplicates
from vggface_gender.evaluation.duplicates import Found, Pairs
from vggface_gender.evaluation.duplicates_images import FACTS, LABELS, read_facts
from vggface_gender.evaluation.predictions import EXACT
from vggface_gender.evaluation.predictions import NEAR as NEAR_KIND
from vggface_gender.photos.prints import NEAR

# Distances in bits by which what is found of all pairs is counted.
DISTANCES = ((0, 0), (1, 8), (9, 16), (17, NEAR))


def members(pairs: Pairs, parts: Iterable[Path]) -> pd.DataFrame:
    """The images that have a duplicate; of all parts' images, only these are held in memory.

    Args:
        parts: files of `duplicates_images`, whose images stand one after the other.

    Returns:
        A row an image, in the order of their places: place, group (from 1), name and, where the
        images are of a dataset, its split and `LABELS`, text.
    """
    places, groups = duplicates.groups(pairs)
    found: dict[str, list[str]] = {name: [] for name in FACTS}
    start, is_of_dataset = 0, False
    for path in parts:
        facts = read_facts(path)
        stop = start + len(facts["name"])
        within = places[slice(*np.searchsorted(places, [start, stop]))] - start
        for name in FACTS:
            found[name] += facts[name][within].tolist()
        start, is_of_dataset = stop, is_of_dataset or bool((facts["split"] != "").any())
    kept = found if is_of_dataset else {"name": found["name"]}
    return pd.DataFrame({"place": places, "group": groups + 1, **kept})


def table(pairs: Pairs, images: pd.DataFrame) -> pd.DataFrame:
    """The table that is written: a row a pair, group by group.

    Args:
        images: see `members`.

    Returns:
        Columns name and other; kind, "exact" or "near"; bits, by how many the hashes differ; group,
        a number; and, where the images are of a dataset, split and other_split, and differ: which
        of `LABELS` are known of both and not the same.
    """
    by_place = images.set_index("place")
    one, other = (by_place.loc[ends].reset_index(drop=True) for ends in (pairs.first, pairs.second))
    kind = np.where(pairs.exact, EXACT, NEAR_KIND)
    made = pd.DataFrame({"name": one["name"], "other": other["name"], "kind": kind})
    made = made.assign(bits=pairs.bits, group=one.group)
    if "split" in images:
        differ = pd.Series("", index=made.index)
        for label in LABELS:
            is_known = (one[label] != "") & (other[label] != "")
            differ += np.where(is_known & (one[label] != other[label]), f"{label} ", "")
        made = made.assign(split=one.split, other_split=other.split, differ=differ.str.strip())
    return made.sort_values("group", kind="stable", ignore_index=True)


def write(made: pd.DataFrame, path: Path) -> None:
    """Write `table`, whole or not at all."""
    with files.whole(path) as part:
        made.to_csv(part, index=False, errors="surrogateescape")


def summarize(made: pd.DataFrame, images: pd.DataFrame) -> dict:
    """The figures of a table of duplicates.

    Args:
        made: see `table`.
        images: see `members`.

    Returns:
        `exact` and `near`, numbers of pairs; `groups`, their number, the `images` in them and the
        `largest`; and of a dataset `across`: how many groups lie in several splits and, by split,
        how many images have another of their group in another split; and `differ`: how many pairs
        have different labels, in all and by label.
    """
    sizes = images.groupby("group").size()
    figures: dict = {
        "exact": int((made.kind == EXACT).sum()),
        "near": int((made.kind == NEAR_KIND).sum()),
        "groups": len(sizes),
        "images": len(images),
        "largest": int(sizes.max()) if len(sizes) else 0,
    }
    if "split" not in made:
        return figures
    splits = images.groupby("group").split
    is_across = splits.transform("nunique") > 1
    by_split = images[is_across].split.value_counts()
    across = {split: int(by_split[split]) for split in SPLITS if split in by_split}
    figures["across"] = {"groups": int((splits.nunique() > 1).sum()), **across}
    by_label = {label: int(made.differ.str.contains(label).sum()) for label in LABELS}
    figures["differ"] = {"pairs": int((made.differ != "").sum()), **by_label}
    return figures


def describe(figures: Mapping) -> str:
    """The figures of `summarize`, to read."""
    lines = [
        f"exact copies: {figures['exact']:,} images have the pixels of an earlier one",
        f"near-duplicates: {figures['near']:,} pairs, at most {NEAR} of 256 bits apart",
        f"groups: {figures['groups']:,}, of {figures['images']:,} images, the largest of "
        f"{figures['largest']:,}",
    ]
    if across := figures.get("across"):
        by_split = [f"{split} {count:,}" for split, count in across.items() if split != "groups"]
        named = f", with these images: {text.listed(by_split)}" if by_split else ""
        lines.append(f"across splits: {across['groups']:,} groups{named}")
    if differ := figures.get("differ"):
        by_label = ", ".join(f"{label} {differ[label]:,}" for label in LABELS)
        lines.append(f"with different labels: {differ['pairs']:,} pairs ({by_label})")
    return "\n".join(lines)


def describe_skipped(found: Found) -> str:
    """What was not compared, to read."""
    return (
        f"not compared: {found.skipped:,} pairs of hashes, among more than "
        f"{duplicates.WINDOW:,} that are alike in a part of their bits: pictures with little in "
        "them, or many of one scene. Each was compared with so many of these"
    )


def recall(found: Pairs, truth: Pairs) -> str:
    """How many of all pairs were found, by distance, to read."""
    known = set(zip(found.first.tolist(), found.second.tolist(), strict=True))
    is_found = np.array(
        [pair in known for pair in zip(truth.first.tolist(), truth.second.tolist(), strict=True)],
        bool,
    )
    rows = []
    for low, high in (*DISTANCES, (0, NEAR)):
        its = is_found[(truth.bits >= low) & (truth.bits <= high)]
        name = f"{low} to {high} bits" if low != high else f"{low} bits"
        share = text.percent(its.mean()) if len(its) else "-"
        rows.append([name, f"{len(its):,}", f"{its.sum():,}", share])
    return text.table(["", "pairs", "found", "recall"], rows)
