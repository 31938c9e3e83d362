"""The faces of a predictions table that its classifier was not trained on, as far as it says so.

Exact copies of training images are left out of every figure. Near-duplicates count, since splits of
published datasets have them, and so do published figures; those without them are given beside.
"""

from collections.abc import Mapping

import pandas as pd

from vggface_gender.base import text
from vggface_gender.evaluation import predictions

NAMED = 3  # of the faces that are copies of a training image, those that are named


def faces(frame: pd.DataFrame, *, without_near: bool = False) -> pd.DataFrame:
    """The faces that the classifier was not trained on, as far as that is known.

    Args:
        without_near: leave out those that have a near-duplicate among the training images, too.
    """
    if predictions.OVERLAP not in frame:
        return frame
    left_out = (predictions.EXACT, predictions.NEAR) if without_near else (predictions.EXACT,)
    return frame[~frame[predictions.OVERLAP].isin(left_out)].reset_index(drop=True)


def copies(frame: pd.DataFrame) -> set[str]:
    """The names of the faces that are copies of training images, as far as that is known."""
    return set(frame["name"]) - set(faces(frame)["name"])


def overlap(frame: pd.DataFrame) -> dict | None:
    """How many faces are among the training images; None where that is not known.

    Returns:
        `exact`: copies of a training image; `near`: near-duplicates, those included; `names`: the
        first few of the copies.
    """
    if predictions.OVERLAP not in frame:
        return None
    exact = frame[predictions.OVERLAP] == predictions.EXACT
    return {
        "exact": int(exact.sum()),
        "near": int(frame[predictions.OVERLAP].notna().sum()),
        "names": frame["name"][exact].head(NAMED).tolist(),
    }


def describe(overlap: Mapping) -> list[str]:
    """What is known of the faces that a classifier was trained on, a line each.

    Args:
        overlap: what `overlap` gives, and `trained_on.about`; or either.
    """
    if overlap.get("is_own"):
        return ["the classifier learned from this split: these figures are no test"]
    if "exact" not in overlap:
        return ["faces that were trained on are not recognized: the run has no hashes of them"]
    lines = []
    if exact := overlap["exact"]:
        names = text.listed(overlap["names"], NAMED, total=exact)
        copies = "copies of images it was trained on or chosen by"
        lines.append(f"left out: {exact:,} that are {copies} ({names})")
    if near := overlap["near"] - exact:
        lines.append(f"near-duplicates of training images: {near:,} of the faces")
    if not lines:
        lines.append("none is a copy or a near-duplicate of a training image")
    if unknown := overlap.get("unknown"):
        lines.append(f"what {', '.join(unknown)} had learned from is not known")
    return lines
