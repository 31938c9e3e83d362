"""Options that several commands share, and the types of their arguments."""

import argparse
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from vggface_gender.base import extras, numbers, parts, runs, splits
from vggface_gender.base.geometry import ALIGN, PADDING

T = TypeVar("T")


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one and the text does not say it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        there_is_one = action.default is not None and action.default is not False
        if not there_is_one or action.default == [] or "(default:" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap paragraphs, and leave examples, which are indented, as they are."""
        paragraphs = text.strip("\n").split("\n\n")
        return "\n\n".join(
            part if part.startswith(" ") else textwrap.fill(" ".join(part.split()), width)
            for part in paragraphs
        )


class Parser(argparse.ArgumentParser):
    """A command's argument parser: it shows defaults in its help and fails in one line."""

    def __init__(self, command: str, docstring: str, *, extra: str | None = None, **kwargs: Any):
        """Begin the parser of `vggface-gender COMMAND`.

        Args:
            extra: of the installation, that the command takes (see `base.extras`).
            docstring: the command's module's: its first line stands above the options, the rest,
                examples and what is written, below them.
        """
        kwargs.setdefault("formatter_class", _Help)
        self._extra = extra
        description, _, epilog = docstring.strip().partition("\n")
        prog = f"vggface-gender {command}"
        super().__init__(prog=prog, description=description, epilog=epilog.strip("\n"), **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """The arguments; where the command's extra is not installed, one line and status 2.

        Of a command that takes a runner, what it doesn't know are the runner's options.
        """
        arguments, unknown = super().parse_known_args(args, namespace)
        if unknown and not getattr(arguments, "runner", None):
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        arguments.runner_options = unknown
        if self._extra and extras.is_here() and (module := extras.missing(self._extra)):
            self.exit(2, f"error: {extras.absence(module)}\n")
        return arguments

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line that says what is wrong."""
        self.exit(2, f"error: {message} (see `{self.prog} --help`)\n")


def add_dataset_arguments(
    parser: argparse.ArgumentParser,
    named: Iterable[str],
    *,
    mixes: bool = False,
    split_seed: int | None = 0,
    title: str = "dataset",
    required: bool = True,
    align: bool = True,
) -> None:
    """The options that say which records to use, and how to write them where there are none.

    Args:
        named: the datasets that have a name (`datasets.catalogue`).
        mixes: whether the command takes several datasets joined by +.
        split_seed: the default; None for the run's own split.
        title: of the group in the help.
        required: whether a dataset has to be named.
        align: whether it can be said whose faces are aligned as the records are written; if not,
            it is as the run's own data was, of a command that takes one.
    """
    mixed = "; or several to train on, as UTKFace[:20%%]+FairFace*0.5" if mixes else ""
    group = parser.add_argument_group(title)
    group.add_argument(
        "--dataset",
        required=required,
        metavar="NAME",
        help=f"one of {', '.join(named)}; a folder of class folders; or a .csv file with a column "
        f"file and any of gender, race, age, subject, fold, split{mixed}",
    )
    group.add_argument(
        "--source",
        metavar="DIR",
        help="the folder of a named dataset's own files, or one that holds a folder NAME, if its "
        "records are not written yet (default: $FACES_DIR)",
    )
    group.add_argument(
        "--frame",
        type=share,
        metavar="P",
        help="how much the crops of a folder or table show: the margin on each side of the face, "
        "as a fraction of its size (dlib.get_face_chip's padding). It is kept with the records; "
        "where it is never stated, the faces are aligned",
    )
    parser.set_defaults(align=None)
    if align:
        _add_align_argument(group, of_run=split_seed is None)
    _add_records_arguments(group, split_seed)


def add_datasets_arguments(
    parser: argparse.ArgumentParser,
    named: Iterable[str],
    *,
    split_seed: int | None = 0,
    align: bool = True,
    required: bool = True,
) -> None:
    """The same of a command that reads several datasets one after the other.

    Args:
        align: whether faces may be aligned as the records are written.
        required: whether datasets have to be named.
    """
    group = parser.add_argument_group("datasets")
    group.add_argument(
        "--datasets",
        nargs="+",
        required=required,
        metavar="NAME",
        help=f"any of {', '.join(named)}; folders of class folders; .csv files",
    )
    group.add_argument(
        "--source",
        type=Path,
        metavar="DIR",
        help="the folder that holds a folder NAME for each named dataset (default: $FACES_DIR)",
    )
    if align:
        _add_align_argument(group, of_run=True)
    _add_records_arguments(group, split_seed)


def _add_align_argument(group: argparse._ArgumentGroup, *, of_run: bool) -> None:
    """The option that says whose faces are aligned as records are written."""
    group.add_argument(
        "--align",
        choices=ALIGN,
        default=None if of_run else "auto",
        help="find the face in each image, the largest and most central, and align it as the "
        "records are written: auto does so where the frame of a dataset is neither known nor "
        "stated; where no face is found, the whole image is used, and counted"
        + (" (default: as the run's own data, else auto)" if of_run else ""),
    )


def _add_records_arguments(group: argparse._ArgumentGroup, split_seed: int | None) -> None:
    group.add_argument(
        "--data-dir", type=Path, default="tfrecords", metavar="DIR", help="the records' folder"
    )
    group.add_argument(
        "--split-seed",
        type=seed,
        default=split_seed,
        metavar="N",
        help="the seed that train, validation and test are drawn with"
        + (" (default: the run's own, else 0)" if split_seed is None else ""),
    )
    group.add_argument(
        "--keep-going",
        action="store_true",
        help="write the records even if over 5%% of the images can't be read; labels that are not "
        "understood are then missing",
    )


def dataset_arguments(arguments: argparse.Namespace) -> dict:
    """The options of `add_dataset_arguments`, as keyword arguments of `datasets.prepare`."""
    return {
        "name": arguments.dataset,
        "source": arguments.source,
        "data_dir": arguments.data_dir,
        "seed": arguments.split_seed,
        "keep_going": arguments.keep_going,
        "padding": arguments.frame,
        "align": arguments.align,
    }


def add_engine_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say what does the command's work, other than this process alone."""
    group = parser.add_argument_group("several machines")
    group.add_argument(
        "--runner",
        type=argument(_runner),
        metavar="NAME",
        help="have Apache Beam do it: DirectRunner (this machine), FlinkRunner, SparkRunner, "
        "DataflowRunner, DaskRunner; its own options pass through, as --direct_num_workers=2 "
        f"(takes {extras.remedy('beam')})",
    )
    group.add_argument(
        "--shards",
        type=argument(parts.parse_share),
        metavar="I/N",
        help="do one of N shares here, from 1/N to N/N, as one of N jobs that see the same "
        "folders; the same command without it brings their work together",
    )


def engine_arguments(arguments: argparse.Namespace) -> dict:
    """The options of `add_engine_arguments`, as keyword arguments of `scale.engine.chosen`."""
    return {
        "runner": arguments.runner,
        "share": arguments.shards,
        "options": arguments.runner_options,
    }


def add_split_argument(parser: argparse._ActionsContainer, default: str = "test") -> None:
    """The option that says which split to read."""
    parser.add_argument(
        "--split",
        type=lambda text: splits.split(text) or text,
        default=default,
        help=f"{', '.join(splits.SPLITS)}, or {splits.ALL} of it",
    )


def add_run_argument(parser: argparse._ActionsContainer, required: bool = False) -> None:
    """The option that says which classifier to use."""
    parser.add_argument(
        "--run",
        required=required,
        metavar="RUN",
        help="a run's name under model_files, its folder, or its file"
        + ("" if required else " (default: the classifier that comes with the package)"),
    )


def add_batch_size_argument(parser: argparse._ActionsContainer) -> None:
    """The option that says how many crops go through the network at once."""
    parser.add_argument(
        "--batch-size",
        "--batch",
        type=positive,
        default=64,
        metavar="N",
        help="crops in one forward pass",
    )


def add_external_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say how to read predictions that others made."""
    group = parser.add_argument_group("predictions that others made")
    group.add_argument(
        "--truth",
        type=Path,
        metavar="FILE",
        help="a table with the faces' true labels, and any further columns to group by, matched by "
        "the faces' names (default: the predictions have them)",
    )
    group.add_argument(
        "--columns",
        nargs="+",
        type=_assignment,
        action="extend",
        default=[],
        metavar="ROLE=COLUMN",
        help="what columns are, where it isn't guessed: name, gender (the true label), "
        "gender_predicted, gender_score, gender_female, race_White, age_predicted and the like",
    )
    group.add_argument(
        "--values",
        nargs="+",
        type=_assignment,
        action="extend",
        default=[],
        metavar="VALUE=LABEL",
        help="what labels are called in the tables, such as 0=female 1=male; unknown= for none",
    )
    group.add_argument(
        "--group-by",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="further columns whose values are groups; several joined by ' x ', such as "
        "'gender x skin'; numbers of many values are cut in quarters",
    )


def external_arguments(arguments: argparse.Namespace) -> dict:
    """The options of `add_external_arguments`, as keyword arguments of `external.read`."""
    return {
        "truth": arguments.truth,
        "columns": dict(arguments.columns),
        "values": dict(arguments.values),
        "grouped_by": arguments.group_by,
    }


def _assignment(text: str) -> tuple[str, str]:
    left, sign, right = text.rpartition("=")
    if not sign or not left:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    return left, right


def add_json_argument(parser: argparse._ActionsContainer) -> None:
    """The option that has the figures written to a file."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures to this file, too"
    )


def add_precision_argument(parser: argparse._ActionsContainer) -> None:
    """The option that says what precision a network computes in."""
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
        default="auto",
        help="the network's dtype policy; auto takes 16 bits where the machine has units for it",
    )


def add_padding_argument(parser: argparse._ActionsContainer) -> None:
    """The option that says how much a crop shows around the face."""
    parser.add_argument(
        "--padding",
        type=share,
        metavar="P",
        help="margin on each side of the face in a crop, as a fraction of its size "
        f"(dlib.get_face_chip's padding; default: {PADDING})",
    )


def add_search_arguments(
    parser: argparse._ActionsContainer, *, most_upsample: int, threshold: float
) -> None:
    """The options that say which of the faces in a photo count.

    Args:
        most_upsample: doublings at the most.
        threshold: the default.
    """
    parser.add_argument(
        "--upsample",
        type=int,
        choices=range(most_upsample + 1),
        default=1,
        help="doublings of the photo before detection: more find smaller faces, and take longer",
    )
    parser.add_argument(
        "--threshold",
        type=score,
        default=threshold,
        metavar="SCORE",
        help="least detection score of a face: a higher one leaves fewer false detections and "
        "more missed faces",
    )
    parser.add_argument(
        "--min-face",
        type=count,
        default=0,
        metavar="PIXELS",
        help="leave out faces whose box is narrower or lower, and count them",
    )


def add_detector_argument(parser: argparse._ActionsContainer, *, align: bool = False) -> None:
    """The options that say what finds the faces.

    Args:
        align: whether the faces of photos that are crops may be aligned.
    """
    parser.add_argument(
        "--detector",
        default="auto",
        metavar="NAME",
        help="cnn; hog, which is quicker and misses more; auto, the one that misses fewer; or "
        "none: each photo is one face cut out already, take its central square",
    )
    if not align:
        parser.add_argument(
            "--crops",
            dest="detector",
            action="store_const",
            const="none",
            help="as --detector none",
        )
        return
    parser.add_argument(
        "--crops",
        action="store_true",
        help="each photo is one face cut out already: answer that one, as --align says",
    )
    parser.add_argument(
        "--align",
        choices=ALIGN,
        help="with --crops: always or auto to find the face, of several the largest and most "
        "central, and align it; where none is found, and with never, the central square is used "
        "(default: as the crops that the classifier learned from, else auto)",
    )


def argument(parse: Callable[[str], T]) -> Callable[[str], T]:
    """An argument's type whose `ValueError`s argparse quotes."""

    def convert(text: str) -> T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _runner(text: str) -> str:
    if not text.strip():
        raise ValueError("the name is empty: name a runner, or leave --runner out")
    return text


def _run_name(text: str) -> str:
    """A name for a new run: a folder within `runs.MODEL_FILES`."""
    parts = Path(text).parts
    if not parts or Path(text).is_absolute() or ".." in parts:
        raise ValueError(f"{text!r} is not the name of a folder in {runs.MODEL_FILES}")
    if text == runs.DEFAULT:
        raise ValueError(f"{text} is the classifier that comes with the package: name another run")
    return text


run_name = argument(_run_name)
positive = argument(numbers.positive)
count = argument(numbers.count)
seed = argument(numbers.seed)
amount = argument(numbers.amount)
positive_real = argument(numbers.positive_real)
share = argument(numbers.share)
below_one = argument(numbers.below_one)
score = argument(numbers.score)
