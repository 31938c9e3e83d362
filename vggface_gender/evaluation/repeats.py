"""The trainings on each side of a comparison, and which t-test they allow.

A side is a dictionary from a repeat's name (`seed-0`, `fold-3`, or its run's where there is but
one) to a `Repeat`.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vggface_gender.base import files, runs
from vggface_gender.base.errors import InputError
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import held_out, predictions, provenance

# What the repeats of one training may differ in.
_VARYING = {"seed", "split_seed", "fingerprint", "counts", "fold", "folds"}


class Repeat(NamedTuple):
    """One training's predictions, and what is known of the training."""

    table: pd.DataFrame  # see `predictions.table`
    settings: Mapping = {}  # those of its `config.json`
    checkpoint: str | None = None  # stands for its classifier's content (see `files.digest`)
    is_in_domain: bool | None = None  # whether it was trained on this dataset; None: not known
    made_by: Mapping = {}  # of the table, see `provenance.made_by`; {} where that is not known


Side = Mapping[str, Repeat]


def folders(run: str) -> dict[str, Path]:
    """A run's repeats: `seed-<k>` or `fold-<k>` to folder, by number; else its name to its folder.

    Args:
        run: its name under `model_files`, its folder, or "default".

    Raises:
        InputError: there is no such folder, or it holds both seeds and folds.
    """
    found = runs.repeats(runs.folder(run))
    return {key or path.resolve().name: path for key, path in found.items()}


def read(folder: Path, dataset: str, *, split: str) -> Repeat:
    """One training: its predictions, its settings (none without a config.json), its checkpoint.

    Args:
        dataset: as `predictions.tables` names it.

    Raises:
        InputError: a file is not what it should be, or the table is another classifier's.
    """
    classifier = folder / runs.CLASSIFIER
    path = predictions.tables(folder, split)[dataset]
    provenance.check(path, classifier)
    settings = runs.settings(folder, {}) if (folder / "config.json").is_file() else {}
    return Repeat(
        predictions.read(path),
        settings,
        files.digest(classifier) if classifier.is_file() else None,
        held_out.learned_of(settings, dataset),
        (provenance.known(path) or {"made_by": {}})["made_by"],
    )


def choose_dataset(
    a: Mapping[str, Path], b: Mapping[str, Path], *, split: str, wanted: str | None = None
) -> str:
    """The name of the dataset that every repeat of both sides has predictions of.

    Args:
        a, b: what `folders` gives.
        wanted: the dataset as its label or as the commands take it; None for the only one.

    Raises:
        InputError: a repeat has no such table, the sides' are of different datasets, or there is
            more than one in common.
    """
    sides = {"A": _datasets("A", a, split, wanted), "B": _datasets("B", b, split, wanted)}
    common = sorted(sides["A"] & sides["B"])
    if not common:
        have = ", ".join(
            f"{letter} has predictions of {' and '.join(sorted(there)) or 'no one dataset'}"
            for letter, there in sides.items()
        )
        raise InputError(f"{have} ({split} split): evaluate both on one dataset")
    if len(common) > 1:
        raise InputError(f"A and B have predictions of {', '.join(common)}: name one of these")
    return common[0]


def _datasets(letter: str, side: Mapping[str, Path], split: str, wanted: str | None) -> set[str]:
    """The datasets, of those wanted, that all of a side's repeats have predictions of."""
    every = []
    for key, folder in side.items():
        there = set(predictions.tables(folder, split))
        if wanted is not None:
            there &= {wanted, Path(wanted).resolve().stem}
        if not there:
            raise InputError(
                f"{folder} ({key} of {letter}) has no {split} predictions"
                f"{f' of {wanted}' if wanted else ''}: finish its training, or evaluate it with "
                "vggface-gender evaluate"
            )
        every.append(there)
    return set.intersection(*every)


def named(a: Side, b: Side) -> Iterator[tuple[str, Repeat]]:
    """Every repeat of both sides, with what it is called: "seed-0 of A"."""
    for letter, side in (("A", a), ("B", b)):
        for key, repeat in side.items():
            yield f"{key} of {letter}", repeat


def check_independent(a: Side, b: Side) -> None:
    """Refuse repeats that are one and the same training.

    Two are, whatever their folders are called, if their classifiers have the same content, or their
    predictions are the same to the last bit (in any order of rows); within a side also if they were
    trained with the same seed.

    Raises:
        InputError: two are; they are named.
    """
    for (one, x), (other, y) in itertools.combinations(named(a, b), 2):
        if what := _shared(x, y):
            _refuse_one_checkpoint(one, other, what)
    for letter, side in (("A", a), ("B", b)):
        _check_seeds(letter, side)


def check_one_dataset(a: Side, b: Side) -> None:
    """Refuse tables of two datasets that happen to have one name.

    Those are of other records, and of another folder or table, or one is of a named dataset. A
    table that does not say what it was made from is taken at its name.

    Raises:
        InputError: two are; they are named.
    """
    known = [(where, repeat.made_by) for where, repeat in named(a, b) if repeat.made_by]
    for (one, x), (other, y) in itertools.combinations(known, 2):
        places = [made.get("dataset", "a named dataset") for made in (x, y)]
        if x.get("records") != y.get("records") and places[0] != places[1]:
            raise InputError(
                f"the predictions of {one} are of {places[0]}, those of {other} of {places[1]}: "
                "two datasets of one name; evaluate both runs on one"
            )


def _shared(one: Repeat, other: Repeat) -> str | None:
    """What makes two repeats one training, in words; None where they are two."""
    if one.checkpoint is not None and one.checkpoint == other.checkpoint:
        return "identical classifier.keras"
    if _sorted_outputs(one.table).equals(_sorted_outputs(other.table)):
        return "identical predictions"
    return None


def _sorted_outputs(table: pd.DataFrame) -> pd.DataFrame:
    columns = [column for task in TASKS for column in predictions.outputs_of(table, task)]
    return table[["name", *columns]].sort_values("name", ignore_index=True)


def _refuse_one_checkpoint(one: str, other: str, what: str) -> None:
    if one[-1] != other[-1]:
        raise InputError(
            f"{one} and {other} are one checkpoint ({what}): a difference between them says "
            "nothing; give two runs that were trained apart"
        )
    raise InputError(
        f"{one.split()[0]} and {other} are one checkpoint ({what}): repeated evaluations of one "
        "checkpoint are not independent, so a t-test of them says nothing; train with several seeds"
    )


def _check_seeds(letter: str, side: Side) -> None:
    first: dict[int, str] = {}
    for key, repeat in side.items():
        seed = repeat.settings.get("seed")
        if key.startswith("fold-") or seed is None:
            continue  # folds may share a seed: it is their data that differ
        if seed in first:
            raise InputError(
                f"{first[seed]} and {key} of {letter} were both trained with seed {seed}: they "
                "are not independent, so a t-test of them says nothing; give each its own seed"
            )
        first[seed] = key


def design(a: Side, b: Side, *, test_share: float | None = None) -> dict:
    """Which t-test two sides' repeats allow.

    Equal seeds on one split pair nothing: the seeds are independent draws of weights and order, and
    there is no third thing that makes A's and B's rise and fall together. Data do: the same fold,
    or the same split of a `--resplit`, is as hard for one as for the other. So the test is paired
    where both sides have the same folds or resplits, each with the same `split_seed`, `fingerprint`
    and test images on both sides; else it is Welch's.

    The training sets of folds or resplits overlap, which makes the repeats agree more than
    independent ones would. The variance of a mean is then taken as `(1/n + n_test/n_train) s²`
    instead of `s²/n` (C. Nadeau and Y. Bengio, Inference for the Generalization Error, Machine
    Learning 52, 2003: the corrected resampled t-test). They give it for paired differences; here it
    also goes into Welch's, for each side that it concerns. The numbers are those of the settings'
    `counts`, the greatest ratio among the repeats; the validation images count for neither. Where
    the tables are of a dataset that was not split, the ratio stays that of the split: it stands for
    how much the training sets have in common.

    Args:
        test_share: n_test / (n_test + n_train), for settings without `counts`.

    Returns:
        `test`: "paired", "welch", or None where a side has one repeat; `why`, in words; `overlap`:
        n_test / n_train of A and of B, 0 where repeats don't share training images in part.

    Raises:
        InputError: n_test / n_train is needed and not known, or `test_share` is not within (0, 1).
    """
    if test_share is not None and not 0 < test_share < 1:
        raise InputError(f"the test share is {test_share}: give a number between 0 and 1")
    few = [letter for letter, side in (("A", a), ("B", b)) if len(side) < 2]
    if few:
        return {
            "test": None,
            "why": f"none, since n=1 for {' and '.join(few)}: one training does not show how much "
            "trainings differ; train repeats with several seeds",
            "overlap": [0.0, 0.0],
        }
    overlap = [_overlap(letter, side, test_share) for letter, side in (("A", a), ("B", b))]
    test, reason = _pairing(a, b, overlap)
    name = {"welch": "Welch's", "paired": "paired"}[test]
    return {"test": test, "why": f"{name}, since {reason}", "overlap": overlap}


def _pairing(a: Side, b: Side, overlap: list[float]) -> tuple[str, str]:
    """Whether a t-test of two sides is paired, and why."""
    if a.keys() != b.keys():
        return "welch", f"nothing pairs {', '.join(a)} of A with {', '.join(b)} of B"
    if not any(overlap):
        return (
            "welch",
            "each side's seeds are independent draws on one split, and equal seeds pair nothing",
        )
    apart = [key for key in a if not _same_data(a[key], b[key])]
    if apart:
        return "welch", f"{apart[0]} of A and of B are not of the same training and test images"
    return "paired", "each repeat of A has one of B with the same training and test images"


def _is_resampled(side: Side) -> bool:
    """Whether a side's repeats differ in their data: folds, or splits of their own."""
    splits = {
        json.dumps([repeat.settings.get(key) for key in ("split_seed", "fingerprint")])
        for repeat in side.values()
    }
    tested = {frozenset(repeat.table["name"]) for repeat in side.values()}
    return any(key.startswith("fold-") for key in side) or len(splits) > 1 or len(tested) > 1


def _overlap(letter: str, side: Side, test_share: float | None) -> float:
    """n_test / n_train of a side's repeats (the greatest), 0 where they don't differ in data."""
    if not _is_resampled(side):
        return 0.0
    ratios = []
    for key, repeat in side.items():
        counts = repeat.settings.get("counts") or {}
        if counts.get("train") and counts.get("test"):
            ratios.append(counts["test"] / counts["train"])
        elif test_share is not None:
            ratios.append(test_share / (1 - test_share))
        else:
            raise InputError(
                f"{key} of {letter} has no counts of train and test in its settings, which the "
                "t-test of folds or resplits needs; give the share of test images"
            )
    return max(ratios)


def _same_data(one: Repeat, other: Repeat) -> bool:
    """Whether two repeats were trained on the same split and tested on the same images."""
    return set(one.table["name"]) == set(other.table["name"]) and all(
        one.settings.get(key) == other.settings.get(key) for key in ("split_seed", "fingerprint")
    )


def warnings(a: Side, b: Side, *, chosen: Mapping) -> list[str]:
    """What is to be known before the figures are read, a line each.

    Args:
        chosen: what `design` gives.
    """
    lines = []
    for letter, side, overlap in zip("AB", (a, b), chosen["overlap"], strict=True):
        if overlap:
            lines.append(
                f"the repeats of {letter} share training images, so they are not independent; the "
                f"variance of a mean is taken as (1/n + n_test/n_train) s², with 1/{len(side)} + "
                f"{overlap:.3f} (Nadeau and Bengio 2003, the corrected resampled t-test)"
            )
        if differ := _differing(side):
            lines.append(
                f"the repeats of {letter} were trained with different settings "
                f"({', '.join(differ)}), so they are not repeats of one training"
            )
    tested = [{name for r in side.values() for name in r.table["name"]} for side in (a, b)]
    if chosen["test"] != "paired" and tested[0] != tested[1]:
        lines.append(
            "A and B are tested on different images, so a difference may be that of the images"
        )
    return lines


def _differing(side: Side) -> list[str]:
    """The settings that a side's repeats should share and do not."""
    every = [repeat.settings for repeat in side.values()]
    names = dict.fromkeys(name for settings in every for name in settings)
    return [
        name
        for name in names
        if name not in _VARYING and any(s.get(name) != every[0].get(name) for s in every)
    ]
