"""The frame of one's own crops: stated once, kept beside the records of all splits and folds."""

import hashlib
import json
from pathlib import Path

from vggface_gender.base import files, state


def kept(place: Path) -> float | None:
    """The frame that was stated, as `dlib.get_face_chip`'s padding; None where none was.

    Args:
        place: the file that keeps it.
    """
    if not place.exists():
        return None
    remedy = "remove it, and state the frame again"
    return float(state.read(place, {"padding": (int, float)}, remedy=remedy)["padding"])


def keep(place: Path, padding: float) -> None:
    """Keep the frame that is stated, in place of any before it."""
    if kept(place) != padding:
        place.parent.mkdir(parents=True, exist_ok=True)
        files.write_json({"padding": padding}, place)


def framed(summary: dict, padding: float | None) -> dict:
    """The summary of a dataset whose frame is stated.

    Its fingerprint is another one, since features and predictions are made from the crops as they
    are brought to a classifier's frame.
    """
    if padding is None or summary["padding"] is not None:
        return summary
    made_of = json.dumps([summary["fingerprint"], padding]).encode()
    fingerprint = hashlib.blake2b(made_of, digest_size=16).hexdigest()
    return summary | {"padding": padding, "fingerprint": fingerprint}
