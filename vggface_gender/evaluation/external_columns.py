"""What the columns of somebody's table of predictions are, and what their cells say."""

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from vggface_gender.base import text
from vggface_gender.base.errors import InputError
from vggface_gender.base.readings import READINGS
from vggface_gender.base.tasks import TASKS
from vggface_gender.evaluation import predictions

# What columns are called elsewhere, in small letters, other signs as _.
NAMES = (
    *("name", "file", "filename", "file_name", "image", "image_path", "img", "img_path"),
    *("photo", "path", "filepath", "file_path", "face", "id"),
)
TRUE = ("true", "y_true", "label", "labels", "target", "actual", "truth", "ground_truth", "gt")
PREDICTED = ("predicted", "y_pred", "pred", "prediction", "predictions", "output", "dominant")
SCORE = ("score", "y_score", "prob", "proba", "probability", "confidence")
NOTHING = {"nan", "none", "null", "n_a", "na"}  # values that are none, unless said otherwise
ANSWERS = {"photo", "status", "made_by"}  # columns of what `predict` writes, which has no truth
FEWEST_AGES = 5  # distinct numbers: fewer are codes of labels


# Lines on what was guessed, converted or left out: text, or pieces of text with counts of faces
# between them, which add up over parts of a table (see `lines`).
Notes = list[str | tuple[str | int, ...]]


def plain(words: str) -> str:
    """A column's name or a value in one way of writing it.

    >>> plain("Ground Truth")
    'ground_truth'
    """
    return re.sub(r"\W+", "_", text.plain(words)).strip("_") or text.plain(words)


def roles(
    frame: pd.DataFrame,
    where: str,
    *,
    given: Mapping[str, str],
    meaning: Mapping[str, str],
    has_truth: bool,
) -> dict[str, str]:
    """What each column is: role to column. What is given goes before what is guessed.

    Args:
        frame: see `as_text`.
        given: as `external.read` takes it.
        meaning: what values mean, by their plain form.
        has_truth: whether true labels come from another table.

    Raises:
        InputError: no column names the faces, or none is a prediction.
    """
    outputs = [column for task in TASKS.values() for column in task.output_columns(task.labels)]
    known = ["name", *TASKS, predictions.OVERLAP, *outputs]
    known += [f"{task}_{what}" for task in TASKS for what in ("predicted", "score")]
    for role, column in given.items():
        if role not in known:
            raise InputError(
                f"{role} is no role of a column: use name, gender, race, age, gender_predicted, "
                "gender_score, gender_female, race_White and the like"
            )
        if column not in frame:
            raise InputError(f"{where}: no column {column!r}; it has {listed(frame)}")
    free = [column for column in frame if column not in given.values()]
    found = _guessed(frame, free, meaning=meaning, has_truth=has_truth) | dict(given)
    if "name" not in found and has_truth:
        raise InputError(
            f"{where}: no column names the faces; it has {listed(frame)}: say which does with "
            "name=COLUMN"
        )
    if not any(_of_task(found, task) for task in TASKS):
        raise InputError(
            f"{where}: no column is understood as a prediction; it has {listed(frame)}: say what "
            "they are, such as gender=COLUMN gender_predicted=COLUMN, and what values mean, such "
            "as 1=male"
        )
    return found


def _guessed(
    frame: pd.DataFrame, free: Sequence[str], *, meaning: Mapping[str, str], has_truth: bool
) -> dict[str, str]:
    called: dict[str, str] = {}
    for column in free:
        called.setdefault(plain(column), column)
    roles: dict[str, str] = {}

    def take(role: str, names: Iterable[str]) -> None:
        for name in names:
            if role not in roles and called.get(name) not in (None, *roles.values()):
                roles[role] = called[name]

    take("name", NAMES)
    take(predictions.OVERLAP, (predictions.OVERLAP,))
    for task in TASKS:
        take(f"{task}_predicted", spellings(task, PREDICTED))
        take(f"{task}_score", spellings(task, SCORE))
        roles |= _label_columns(task, called, roles)
        take(task, spellings(task, TRUE))
        if has_truth or set(frame) >= ANSWERS:
            if not _of_task(roles, task):
                take(f"{task}_predicted", (task,))
        else:
            take(task, (task,))
    true, predicted, score = (_free(called, names, roles) for names in (TRUE, PREDICTED, SCORE))
    of = predicted or true
    whose = _task_of(frame[of], meaning) if of else None
    if whose:
        own = {whose: true, f"{whose}_predicted": predicted}
        own |= {f"{whose}_score": score} if predicted else {}
        roles |= {role: its for role, its in own.items() if its and role not in roles}
    return roles


def _free(called: Mapping[str, str], names: Iterable[str], roles: Mapping[str, str]) -> str | None:
    """The first column of some names that has no role yet; None where there is none."""
    there = (called[name] for name in names if name in called)
    return next((column for column in there if column not in roles.values()), None)


def first(frame: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The column that is called by the first of some names that one is; None where none is."""
    called = {plain(column): column for column in reversed(list(frame))}
    return next((called[name] for name in names if name in called), None)


def spellings(task: str, words: Iterable[str]) -> list[str]:
    """A task's name beside each word, in either order: gender_true, true_gender."""
    return [form.format(task, word) for word in words for form in ("{0}_{1}", "{1}_{0}")]


def _label_columns(task: str, called: Mapping[str, str], roles: Mapping[str, str]) -> dict:
    """The columns that hold a label's probability: "gender_female", "p_female", "Woman"."""
    if not TASKS[task].is_classification:
        return {}
    found: dict[str, str] = {}
    bare: dict[str, str] = {}
    for name, column in called.items():
        if column in roles.values():
            continue
        stem = re.sub(
            rf"^({task}|p|prob|proba|probability|score)_|_(p|prob|proba|score)$", "", name
        )
        label = READINGS[task].read(stem.replace("_", " "))
        if label is not None:
            (found if stem != name else bare).setdefault(f"{task}_{label}", column)
    # Of two labels one column is enough, since it says what the other is.
    if len(found) > (1 if len(TASKS[task].labels) > 2 else 0):
        return found
    return bare if len(bare) > 1 else {}


def _task_of(cells: pd.Series, meaning: Mapping[str, str]) -> str | None:
    """The task whose labels most of a column's cells are; None where they are no one task's."""
    counts = words(cells).dropna().value_counts()
    there = {cell: said for cell in counts.index if (said := meant(cell, meaning))}
    for task, its in TASKS.items():
        known = [cell for cell, said in there.items() if READINGS[task].read(said) is not None]
        is_most = 2 * counts[known].sum() > counts[list(there)].sum()
        if is_most and len(known) >= (1 if its.is_classification else FEWEST_AGES):
            return task
    return None


def as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose cells are text, None where they are empty, but for columns of numbers.

    Those stay as they are, since most are probabilities: `words` makes text of them, too.
    """
    columns = [frame.iloc[:, place] for place in range(frame.shape[1])]
    made = {
        place: cells if _is_number(cells) else _written(cells)
        for place, cells in enumerate(columns)
    }
    return pd.DataFrame(made, index=frame.index).set_axis(frame.columns, axis=1)


def _is_number(cells: pd.Series) -> bool:
    return isinstance(cells.dtype, np.dtype) and cells.dtype.kind in "fiu"


def words(cells: pd.Series) -> pd.Series:
    """A column of what `as_text` gives as text of dtype object, None where a cell is empty."""
    return _written(cells) if _is_number(cells) else cells


def _written(cells: pd.Series) -> pd.Series:
    if cells.dtype == object and pd.api.types.infer_dtype(cells) not in ("string", "empty"):
        # What is equal, as True and 1 are, need not be written alike.
        return pd.Series(map(_text, cells), index=cells.index, name=cells.name, dtype=object)
    codes, values = pd.factorize(cells)
    texts = np.array([*map(_text, np.asarray(values, dtype=object)), None], dtype=object)
    return pd.Series(texts[codes], index=cells.index, name=cells.name, dtype=object)


def _text(value: object) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return _text(str(value))


def _of_task(roles: Mapping[str, str], task: str) -> bool:
    """Whether there are predictions of a task."""
    its = TASKS[task]
    wanted = {f"{task}_predicted", *its.output_columns(its.labels)}
    return bool(wanted & roles.keys())


def describe(roles: Mapping[str, str]) -> str:
    """A line on what columns were taken for, where their names don't say it; "" where all do."""
    said = [f"{column} as {role}" for role, column in roles.items() if column != role]
    return f"read {', '.join(said)}" if said else ""


def lines(notes: Notes) -> list[str]:
    """Notes to read, each once, without those whose first count is 0.

    >>> lines(["a guess", (2, " of ", 9, " faces"), "a guess", (1, " of ", 10, " faces"), (0, "!")])
    ['a guess', '3 of 19 faces']
    """
    sums: dict[tuple[str | None, ...], list[str | int]] = {}
    for note in notes:
        pieces = [note] if isinstance(note, str) else list(note)
        key = tuple(piece if isinstance(piece, str) else None for piece in pieces)
        so_far = sums.setdefault(key, [piece if isinstance(piece, str) else 0 for piece in pieces])
        for place, piece in enumerate(pieces):
            if isinstance(piece, int):
                so_far[place] += piece  # type: ignore[operator]
    kept = (
        pieces
        for pieces in sums.values()
        if next((piece for piece in pieces if isinstance(piece, int)), 1)
    )
    joined = ("".join(p if isinstance(p, str) else f"{p:,}" for p in pieces) for pieces in kept)
    return [line for line in joined if line]


def listed(frame: pd.DataFrame) -> str:
    """The first of a table's columns, to read."""
    return text.listed([str(column) for column in frame.columns], 12)


def said(
    frame: pd.DataFrame,
    column: str,
    *,
    task: str,
    meaning: Mapping[str, str],
    where: str,
    unread: Notes | None = None,
) -> np.ndarray:
    """A column's labels, or years, as the package has them: (n,), None where there is none.

    Args:
        frame: see `as_text`.
        meaning: what values mean, by their plain form.
        unread: takes a note on each value that is no label and is taken for none; without it, such
            a value is refused.

    Raises:
        InputError: see `unread`.
    """
    codes, values = pd.factorize(frame[column])
    known: list[str | float | None] = []
    for place, value in enumerate(values):
        cell = _text(value)
        words = meant(cell, meaning) if cell else None
        known.append(READINGS[task].read(words) if words else None)
        if cell is None or words is None or known[place] is not None:
            continue
        rows = frame.index[codes == place]
        shown = text.printable(text.shortened(cell, 40))
        if unread is None:
            raise InputError(
                f"{where}: row {rows[0] + 2}, column {column}: {shown!r} is not a {task}: say what "
                f"it means, such as {shown}={_example(task)}, or {shown}= for none"
            )
        unread.append(
            (f"{shown!r} in {column} is no {task}: ", len(rows), " faces count as without")
        )
    return np.array([*known, None], dtype=object)[codes]


def _example(task: str) -> str:
    return TASKS[task].labels[-1] if TASKS[task].is_classification else "31"


def meant(cell: str, meaning: Mapping[str, str]) -> str | None:
    """What a cell means; None where it means that there is nothing."""
    whole = re.sub(r"^(-?\d+)\.0+$", r"\1", cell)  # 1.0, which stood beside a gap
    words = meaning.get(plain(cell), meaning.get(plain(whole), cell))
    return None if words == cell and plain(cell) in NOTHING else words or None


def names(cells: pd.Series, where: str) -> np.ndarray:
    """The faces' names, one a row.

    Raises:
        InputError: a row has none, or two have the same.
    """
    cells = words(cells)
    if cells.isna().any():
        row = cells.index[cells.isna()][0]
        raise InputError(f"{where}: row {row + 2}, column {cells.name}: a face without a name")
    twice = cells.duplicated()
    if twice.any():
        name = text.printable(text.shortened(cells[twice].iloc[0]))
        raise InputError(
            f"{where}: row {cells.index[twice][0] + 2}: {name} is there twice; keep one row a face"
        )
    return cells.to_numpy(object)


def numbers(frame: pd.DataFrame, column: str, *, where: str) -> np.ndarray:
    """A column of numbers, NaN where a cell is empty."""
    cells = frame[column]
    numbers = pd.to_numeric(cells, errors="coerce").to_numpy(float, copy=True)
    is_there = cells.notna().to_numpy()
    # 0,99 and 99% are numbers too; what is in percent, its size says.
    rest = is_there & np.isnan(numbers)
    plainer = [
        re.sub(r"^(\d*),(\d+)$", r"\1.\2", cell.removesuffix("%").strip()) for cell in cells[rest]
    ]
    numbers[rest] = pd.to_numeric(pd.Series(plainer, dtype=object), errors="coerce")
    bad = is_there & ~np.isfinite(numbers)
    if bad.any():
        row = cells.index[bad][0]
        shown = text.shortened(repr(words(cells)[row]))
        raise InputError(f"{where}: row {row + 2}, column {column}: {shown} is not a number")
    return numbers
