"""What is to be reproduced, and where its datasets and runs are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vggface_gender import datasets
from vggface_gender.base import runs
from vggface_gender.base.errors import InputError
from vggface_gender.datasets import catalogue, mixes
from vggface_gender.datasets.mixes import Mix

# Datasets without a builder, and where they are to be had.
OWN = {
    "KaggleGender": "Kaggle's Gender Classification Dataset, "
    "https://www.kaggle.com/datasets/cashutosh/gender-classification-dataset",
    "MORPH": "MORPH II, of the University of North Carolina Wilmington, given out under a licence",
    "JapanesePoliticians": "NII's photos, of which no publication is known to us: take such photos "
    "of your own",
}


@dataclass(frozen=True)
class Request:
    """A published table, and what ours is made with."""

    table: str  # its name in `published.json`
    runs: Sequence[str] = ()  # finished ones, in place of training
    source: Path | None = None  # the folder that holds the datasets' folders
    tables: Mapping[str, str] = field(default_factory=dict)  # paths of datasets without a builder
    data_dir: Path = datasets.DATA_DIR
    repeats: int = 3  # seeds of each training
    threshold: float | None = None  # of pseudo-labels; None for the published one
    embedding: str | None = None  # an ONNX file, as --backbone takes it; None for dlib's
    training: Sequence[str] = ()  # further options of every training

    def place(self, name: str) -> str:
        """A published dataset's name, or a mix of such, as the commands take it.

        Raises:
            InputError: it has no builder, and no table of it was given.
        """
        wanted = {part.partition("[")[0] for part in name.split("+")}
        if missing := sorted(wanted - {*catalogue.NAMED, *self.tables}):
            raise InputError(
                f"{self.table} needs {' and '.join(missing)}, which has no builder: it is "
                f"{'; '.join(OWN[each] for each in missing)}; make a table or a folder of it "
                "(docs/datasets.md) and give "
                + " ".join(f"--tables {each}=PATH" for each in missing)
            )
        for each in wanted & set(self.tables):
            name = name.replace(each, self.tables[each])
        return name

    def check(self, name: str) -> None:
        """Refuse a published dataset that is not at hand, without making records of it.

        Raises:
            InputError: it is neither in the records nor where its files should be; the line says
                how it is to be had.
        """
        place = self.place(name)
        mixes.check(place, self.source_of(place), data_dir=self.data_dir)

    def check_all(self, published: Mapping) -> None:
        """Refuse at once what would be refused after TensorFlow is loaded.

        Not where runs are there, from which some tables are made without any dataset.

        Args:
            published: see `tables`.

        Raises:
            InputError: something that is needed is not at hand, or nothing at all is.
        """
        if self.runs or any(runs.MODEL_FILES.glob("reproduce-*")):
            return
        for name in published["needs"]:
            self.check(name)
        if not published["needs"]:
            self._those_there(published["datasets"], self.check)

    def available(self, names: Sequence[str]) -> dict[str, str]:
        """Those of the datasets that are there; others are printed, with how to get them.

        Returns:
            As the commands take them, by their published names.

        Raises:
            InputError: none is there.
        """
        there = self._those_there(names, lambda name: self.prepared(self.place(name)))
        return {name: self.place(name) for name in there}

    def _those_there(self, names: Sequence[str], look: Callable[[str], object]) -> list[str]:
        """Those that looking for raises no InputError; of others what it says is printed."""
        found = []
        for name in names:
            try:
                look(name)
                found.append(name)
            except InputError as error:
                print(f"left out: {error}")
        if not found:
            raise InputError(f"{self.table}: none of its datasets is there ({', '.join(names)})")
        return found

    def prepared(self, name: str) -> Mix:
        """The records of a dataset, or of a mix, as the commands take it."""
        return mixes.prepare(name, self.source_of(name), data_dir=self.data_dir)

    def source_of(self, name: str) -> Path | None:
        """Where the files of a dataset, or of a mix, lie, as the commands take it."""
        parts = mixes.names(name)
        if self.source is None or not {*parts} & {*catalogue.NAMED}:
            return None
        return self.source / parts[0] if len(parts) == 1 else self.source

    def runs_of(self, kinds: Sequence[str]) -> dict[str, str]:
        """The runs that were given, by what each is of; {} where none was.

        Raises:
            InputError: there are not as many as there are kinds.
        """
        if self.runs and len(self.runs) != len(kinds):
            raise InputError(
                f"{self.table} takes {len(kinds)} run{'s' * (len(kinds) > 1)}, not "
                f"{len(self.runs)}: {', '.join(kinds)}"
            )
        return dict(zip(kinds, self.runs, strict=bool(self.runs)))
