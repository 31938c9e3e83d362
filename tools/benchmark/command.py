"""Measure how fast the package is on this machine, each figure against a limit or an alternative.

What is compared runs in turns (reference, ours, reference, ours, ...), so that whatever else the
machine does meets both, and a row's ratio is the median over the turns. Before it is timed each
side runs once, so neither libraries' imports nor first-time compilation nor a cold disk is counted;
the row "predict", which is about just that, starts a new process every time instead.

It measures and does not judge: the goals are printed beside the figures, and a machine that is busy
misses them. Everything is written to a temporary folder (under $TMPDIR) that is removed.
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmark import faces, report
from vggface_gender.base import files, options, runs

ROWS = (
    *("extraction", "training", "gradcam", "precision", "dlib", "records", "crops"),
    *("predict", "answers", "photos", "detectors", "serving"),
)
PHOTOS, QUICK_PHOTOS = 60, 4
REPEATS = 5
IMAGES, QUICK_IMAGES = 2048, 64


def parser() -> argparse.ArgumentParser:
    """The command line's options."""
    made = options.Parser("benchmark", __doc__)
    made.prog = "python tools/benchmark.py"
    made.add_argument(
        "--rows", nargs="+", choices=ROWS, default=ROWS, metavar="ROW", help="what to measure"
    )
    faces.add_source_argument(made)
    made.add_argument(
        "--run",
        help="for the rows predict, answers and photos: a run's name, its folder or its file "
        "(default: the default classifier)",
    )
    options.add_json_argument(made)
    made.add_argument(
        "--repeats",
        type=options.positive,
        metavar="N",
        help=f"turns a row (default: {REPEATS}; with --quick 1)",
    )
    made.add_argument(
        "--quick",
        action="store_true",
        help=f"{QUICK_IMAGES} images instead of {IMAGES:,} (or, for records, all) and one turn: "
        "tries the tool, and measures little",
    )
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    source = faces.find(arguments.source)
    model = runs.find(arguments.run, onnx=True)

    from vggface_gender.base import device

    device.start(seed=0)  # as the training commands do, deterministic kernels included
    quick = arguments.quick
    repeats = arguments.repeats or (1 if quick else REPEATS)
    count = QUICK_IMAGES if quick else IMAGES
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        work = Path(folder)
        about = "drawn faces (for photographs: --source or $FACES_DIR)"
        if source is None:
            source = work / "drawn"
            faces.draw(source, count)
        else:
            about = f"images of {source}, from all over it"
        paths = faces.sample(source, count, folder=work / "sample")
        found = {
            "machine": report.machine(),
            "faces": f"{len(paths):,} {about}",
            "quick": quick,
            "repeats": repeats,
            "rows": [],
        }
        print(
            f"{report.describe_machine(found['machine'])}\n{found['faces']}; medians of {repeats} "
            f"turns\n\n{report.HEADING}",
            flush=True,
        )
        measures = _measures(paths, source, work=work, model=model, quick=quick, repeats=repeats)
        for name in dict.fromkeys(arguments.rows):
            for row in measures[name]():
                found["rows"].append(row.figures())
                print(report.describe(found["rows"][-1]), flush=True)
    print(f"\n{json.dumps(found)}")
    if arguments.json:
        files.write_json(found, arguments.json)


def _measures(
    paths: list[Path], source: Path, *, work: Path, model: Path, quick: bool, repeats: int
) -> dict[str, Callable[[], list[report.Row]]]:
    """What measures each of `ROWS`.

    Args:
        paths: the sample of images, links below `work / "sample"`.
        source: all of them.
        work: a folder to write to.
        model: see `prediction.measure`.
        quick: write the records of the sample alone.
    """
    from benchmark import (
        decoding,
        detectors,
        epochs,
        extraction,
        maps,
        networks,
        prediction,
        serving,
        writing,
    )

    some = work / "sample"
    return {
        "extraction": lambda: extraction.measure(some, work=work, repeats=repeats),
        "training": lambda: epochs.measure(some, work=work, repeats=repeats),
        "gradcam": lambda: maps.measure(paths, repeats=repeats),
        "precision": lambda: networks.measure_precision(paths, repeats=repeats),
        "dlib": lambda: networks.measure_dlib(paths, repeats=repeats),
        "records": lambda: writing.measure(some if quick else source, work=work, repeats=repeats),
        "crops": lambda: decoding.measure(paths, repeats=repeats),
        "predict": lambda: prediction.measure(model, work=work, repeats=repeats),
        "answers": lambda: prediction.measure_crops(paths, model, repeats=repeats),
        "photos": lambda: prediction.measure_photos(
            model, work=work, count=QUICK_PHOTOS if quick else PHOTOS, repeats=repeats
        ),
        "detectors": lambda: detectors.measure(work=work, repeats=repeats),
        "serving": lambda: serving.measure(paths, repeats=repeats, quick=quick),
    }
