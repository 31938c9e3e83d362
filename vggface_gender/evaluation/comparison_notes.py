"""What is to be known of two sides before their figures are compared, a line each.

Which faces count, whether a side was trained on the dataset, which repeats are in no test.
"""

from pathlib import Path

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.evaluation import unseen
from vggface_gender.evaluation.repeats import Side


def describe(run: str, side: Side) -> str:
    """A side's run, its repeats, and whether it is tested on what it was trained on."""
    said = {True: "in-domain", False: "cross-dataset"}
    domains = {said[each.is_in_domain] for each in side.values() if each.is_in_domain is not None}
    notes = [
        *(key for key in side if len(side) > 1 or key != Path(run).as_posix()),
        *sorted(domains),
    ]
    return f"{run} ({', '.join(notes)})" if notes else run


def unseen_faces(a: Side, b: Side) -> tuple[Side, Side, list[str]]:
    """The sides without faces that any of their classifiers was trained on, and what to say of it.

    All tables lose the same faces, so that they stay tables of the same images.
    """
    lines = []
    seen: set[str] = set()
    for letter, side in (("A", a), ("B", b)):
        near = 0
        for repeat in side.values():
            seen |= unseen.copies(repeat.table)
            counts = unseen.overlap(repeat.table) or {"exact": 0, "near": 0}
            near = max(near, counts["near"] - counts["exact"])
        if near:
            lines.append(f"{near:,} faces are near-duplicates of training images of {letter}")
    if not seen:
        return a, b, lines
    count = "1 face is" if len(seen) == 1 else f"{len(seen):,} faces are"
    lines.insert(0, f"{count} left out, copied from training images of A or B")
    a, b = (
        {
            key: repeat._replace(
                table=repeat.table[~repeat.table["name"].isin(seen)].reset_index(drop=True)
            )
            for key, repeat in side.items()
        }
        for side in (a, b)
    )
    return a, b, lines


def in_common(a: Side, b: Side) -> tuple[Side, Side]:
    """The sides with the faces alone that all of their tables have.

    Raises:
        InputError: there is no such face.
    """
    every = [set(repeat.table["name"]) for side in (a, b) for repeat in side.values()]
    names = set.intersection(*every)
    if not names:
        firsts = [next(iter(side.values())).table["name"] for side in (a, b)]
        raise InputError(
            f"A and B have no face in common: the first of A is {text.listed(firsts[0].head(1))}, "
            f"of B {text.listed(firsts[1].head(1))}; give a table of both's faces as --truth"
        )
    return tuple(  # type: ignore[return-value]
        {
            key: repeat._replace(
                table=repeat.table[repeat.table["name"].isin(names)].reset_index(drop=True)
            )
            for key, repeat in side.items()
        }
        for side in (a, b)
    )


def domains(a: Side, b: Side) -> list[str]:
    """What is to be known of training and test data: whether one side was trained on these."""
    trained = [{repeat.is_in_domain for repeat in side.values()} for side in (a, b)]
    if trained[0] == trained[1]:
        return []
    said = {
        True: "in-domain, trained on this dataset",
        False: "cross-dataset, not trained on it",
        None: "without a record of what it was trained on",
    }
    sides = [
        f"{letter} is {' or '.join(said[each] for each in its)}"
        for letter, its in zip("AB", trained, strict=True)
    ]
    return [f"{' and '.join(sides)}, so a difference may be that of the training data"]


def unpaired(a: Side, b: Side) -> list[str]:
    """Which repeats are in no test on the same images, and why."""
    if len(a) == len(b) == 1:
        return []
    if not a.keys() & b.keys():
        return [
            f"no repeat of A has one of its name in B, so only {next(iter(a))} of A and "
            f"{next(iter(b))} of B are tested on the same images"
        ]
    return [
        f"{text.listed(alone)} of {letter} {'have' if len(alone) > 1 else 'has'} no counterpart in "
        f"{other}: in the means, not in a test on the same images"
        for letter, other, alone in (
            ("A", "B", [key for key in a if key not in b]),
            ("B", "A", [key for key in b if key not in a]),
        )
        if alone
    ]
