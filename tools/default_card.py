"""The model card of the classifier that comes with the package: a run's, in words of its own."""

from pathlib import Path

from vggface_gender.base import files, runs
from vggface_gender.evaluation import card


def write(folder: Path, *, numbers: int) -> Path:
    """Write the default classifier's `model_card.md`, whole or not at all.

    Args:
        folder: the classifier's, finished as a run's is.
        numbers: how many its model holds.
    """
    path = folder / card.CARD
    with files.whole(path) as part:
        part.write_text(text(folder, numbers=numbers), encoding="utf-8")
    return path


def text(folder: Path, *, numbers: int) -> str:
    """The card, in Markdown; see `write`."""
    of_run = card.content(folder)
    return card.render(
        of_run
        | {
            "title": "The default classifier",
            "opening": "What `predict` and `evaluate` use where no `--run` is given.",
            "made": "Made by `tools/make_default.py`, which also wrote this page; every figure on "
            f"it is that of the file `{runs.CLASSIFIER}` beside it, on faces held out from "
            "training.",
            "licences": "Apache-2.0, as the package. The network's own weights are in the public "
            "domain; who passes this file on names its training data as above.",
            "run": runs.DEFAULT,
            "option": "",
            "file": f"{of_run['file']}; {numbers:,} numbers, the large arrays in half precision",
            "config": None,
        }
    )
