"""What every command line shares: one-line errors, exit statuses, quiet libraries, whole files."""

import argparse
import contextlib
import errno
import io
import json
import math
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

# What the machine may refuse a sound program, and what its user can do about it.
_REMEDIES = {
    errno.ENOSPC: "make room, then give the same command again",
    errno.EDQUOT: "make room in your quota, then give the same command again",
    errno.EFBIG: "files may not be that large here; name another place",
    errno.EACCES: "allow it, or name another place",
    errno.EROFS: "name another place",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name another place",
    errno.EEXIST: "name another place",
}


PADDING = 0.25  # of dlib's own chips, which dlib's network was trained on
PART_PREFIX = ".part-"  # of what is not whole yet


class InputError(ValueError):
    """Bad input. Its text is one line: what is wrong, where, and what to do about it."""


def first_line(error: Exception) -> str:
    """What an exception of another library says, for an `InputError` to quote."""
    return (str(error).strip() or repr(error)).splitlines()[0]


def quiet() -> None:
    """Pick Keras's backend and silence TensorFlow's log; call before either is imported."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Discard what native code writes to standard error, such as TensorFlow's notes at import.

    TensorFlow 2.21 writes some of them before it reads TF_CPP_MIN_LOG_LEVEL.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def run(main: Callable[[], int | None]) -> int:
    """Run a command's `main` and return its exit status.

    0 means that the job was done, 2 that the input was bad or that the disk refused (one line on
    standard error says what), 130 that Ctrl-C stopped it, 141 that the reader of its output went
    away. SIGTERM is made to unwind like Ctrl-C, so that half-written files are removed. Programming
    errors keep their traceback.
    """
    quiet()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us (`2>&-`)
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for names that it can't encode
    with contextlib.suppress(ValueError):  # not in the main thread: leave the signals alone
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status = main() or 0
        sys.stdout.flush()  # what goes wrong here can still be told; at exit it can't
        return status
    except KeyboardInterrupt:
        print("stopped; the same command goes on from what was finished", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone (`| head`)
        _drop_output()
        return 141
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else _refusal(error)
        if reason is None:
            raise
        print(f"error: {' '.join(reason.splitlines())}", file=sys.stderr)
        _drop_output()
        return 2


def _refusal(error: Exception) -> str | None:
    """What the machine refused and what to do about it; None for any other error."""
    code = getattr(error, "errno", None)
    if code is None and os.strerror(errno.ENOSPC) in str(error):
        code = errno.ENOSPC  # HDF5 and TensorFlow have errors of their own that quote the system's
    if code not in _REMEDIES:
        return None
    # Of a file that was to be renamed, the name that it should have got.
    place = getattr(error, "filename2", None) or getattr(error, "filename", None) or "writing"
    return f"{place}: {os.strerror(code)}; {_REMEDIES[code]}"


def _drop_output() -> None:
    """If standard output can't be written, forget what it holds: Python would try again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows a default where there is one and the text does not say it already."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        there_is_one = action.default is not None and action.default is not False
        if not there_is_one or action.default == [] or "(default:" in (action.help or ""):
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser that shows defaults in its help and fails in one line."""

    def __init__(self, **kwargs):
        kwargs.setdefault("formatter_class", _Help)
        super().__init__(**kwargs)

    def error(self, message: str):
        self.exit(2, f"error: {message} (see `{self.prog} --help`)\n")


def add_dataset_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that say which records to use, and how to write them where there are none."""
    group = parser.add_argument_group("dataset")
    group.add_argument(
        "--dataset",
        required=True,
        help="UTKFace, FairFace, Adience, AllAgeFaces, GenderDataset, GenderDataset_Small or "
        "SyntheticFaces; a folder of class folders; or a .csv file with a column file and any of "
        "gender, race, age, subject, fold, split; or a mix of them, where the command trains on "
        "several: UTKFace[:20%%]+FairFace*0.5",
    )
    group.add_argument(
        "--source",
        metavar="DIR",
        help="where a named dataset's own files lie, if its records are not written yet "
        "(default: $FACES_DIR/NAME)",
    )
    group.add_argument("--data-dir", default="tfrecords", metavar="DIR", help="where records lie")
    group.add_argument("--split-seed", type=int, default=0, metavar="N", help="of the split")
    group.add_argument(
        "--keep-going", action="store_true", help="build even if over 5%% of the images are bad"
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that trains."""
    group = parser.add_argument_group("run")
    group.add_argument(
        "--run",
        metavar="NAME",
        help="the run's folder under model_files (default: named after what is trained)",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace a run of that name with other settings"
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of weights, order and dropout"
    )
    group.add_argument(
        "--repeats",
        type=positive,
        default=1,
        metavar="N",
        help="train with N seeds from --seed up, each in a folder of its own in the run's",
    )
    group.add_argument(
        "--folds",
        type=positive,
        metavar="N",
        help="train N times, each time with another of N folds as the test split: the dataset's "
        "own folds, else drawn by person; each in a folder of its own in the run's",
    )
    add_precision_argument(group)


def add_precision_argument(parser: argparse._ActionsContainer) -> None:
    """The argument that says what a network computes in."""
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
        default="auto",
        help="what the network computes in; auto takes 16 bits where this machine has units for it",
    )


def add_padding_argument(parser: argparse._ActionsContainer) -> None:
    """The argument that says what frame crops are trained and read in."""
    parser.add_argument(
        "--padding",
        type=share,
        default=PADDING,
        metavar="P",
        help="the crops' frame, as dlib.get_face_chip's padding",
    )


def positive(text: str) -> int:
    """An argument's type: a whole number from 1 up."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 up")
    return number


def count(text: str) -> int:
    """An argument's type: a whole number from 0 up."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 up")
    return number


def amount(text: str) -> float:
    """An argument's type: a finite number from 0 up."""
    number = float(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 up")
    return number


def positive_real(text: str) -> float:
    """An argument's type: a finite number above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def share(text: str) -> float:
    """An argument's type: a number from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return number


def dataset_arguments(arguments: argparse.Namespace) -> dict:
    """The above, as keyword arguments of `datasets.prepare`."""
    return {
        "name": arguments.dataset,
        "source": arguments.source,
        "data_dir": arguments.data_dir,
        "seed": arguments.split_seed,
        "keep_going": arguments.keep_going,
    }


@contextlib.contextmanager
def whole(path: str | os.PathLike) -> Iterator[Path]:
    """Give a path to write to that becomes `path` only if the block succeeds.

    The temporary file (or folder, where the block makes one) has the name of `path`, since writers
    choose a format by it, in a hidden folder beside it. Whatever goes wrong, `path` is as it was
    before. A file replaces a file; a folder replaces only an empty one.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, since that of `path` may be as long as names can be.
    folder = Path(tempfile.mkdtemp(prefix=PART_PREFIX, dir=path.parent))
    part = folder / path.name
    try:
        yield part
        os.replace(part, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_json(content: Mapping, path: str | os.PathLike) -> None:
    """Write JSON, whole or not at all."""
    with whole(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n")
