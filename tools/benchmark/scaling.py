"""Measure how time and memory grow with the number of faces, in one process and on Apache Beam.

    python tools/scaling.py
    python tools/scaling.py --sizes 1000 10000 --steps records duplicates

Writes records of so many faces, extracts their features, finds their duplicates, and predicts them:
each by its own command, in a process of its own and on Beam's direct runner with one worker and
with two. Prints, of each, the seconds and the most memory that all its processes took together,
what a further face costs between the last two sizes, and how time grows there: as n to the power
of 1.0 is in a straight line.

Beyond the images that there are, faces are taken again mirrored and turned, which are other
pictures: their hashes differ, and they have as many duplicates as the images themselves.
"""

import json
import math
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmark import faces, report
from vggface_gender.base import device, files, options, runs, text
from vggface_gender.base.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

STEPS = ("records", "features", "duplicates", "prediction")
SIZES = (1_000, 10_000, 100_000)
FAR = 10**8  # faces that the costs are extrapolated to
TURNS = 8  # of a square: the symmetries that it has
POLLED = 0.2  # seconds between two looks at the memory
DIRECT = ("--runner=DirectRunner", "--direct_running_mode=multi_processing")
BY = {
    "one process": (),
    "1 worker": (*DIRECT, "--direct_num_workers=1"),
    "2 workers": (*DIRECT, "--direct_num_workers=2"),
}


class Cost(NamedTuple):
    """What a step took."""

    step: str
    faces: int
    by: str
    seconds: float
    memory: int  # bytes, the most of all processes together


def parser() -> options.Parser:
    """The command line's options."""
    made = options.Parser("scaling", __doc__)
    made.prog = "python tools/scaling.py"
    made.add_argument("--sizes", nargs="+", type=options.positive, default=SIZES, metavar="N")
    made.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, metavar="STEP")
    made.add_argument("--by", nargs="+", choices=BY, default=list(BY), metavar="HOW")
    faces.add_source_argument(made)
    made.add_argument(
        "--run", help="what predicts: a run's name, its folder or its file (default: the default)"
    )
    options.add_json_argument(made)
    return made


def main(argv: list[str] | None = None) -> None:
    arguments = parser().parse_args(argv)
    device.start()
    source, model = faces.find(arguments.source), runs.find(arguments.run, onnx=True)
    about = report.machine()
    print(report.describe_machine(about), flush=True)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        work = Path(folder)
        for size in sorted(arguments.sizes):
            table = many(source, size, folder=work / str(size))
            for step in arguments.steps:
                for by in arguments.by:
                    cost = measure(step, table, by=by, model=model, work=work)
                    costs.append(cost)
                    print(
                        f"{step}, {size:,} faces, {by}: {cost.seconds:.1f} s, "
                        f"{cost.memory / 1e6:,.0f} MB",
                        flush=True,
                    )
    print(f"\n{describe(costs)}")
    found = {"machine": about, "costs": [cost._asdict() for cost in costs]}
    print(f"\n{json.dumps(found)}")
    if arguments.json:
        files.write_json(found, arguments.json)


def many(source: Path | None, count: int, *, folder: Path) -> Path:
    """Fill a folder with so many faces and their table; returns the table.

    Args:
        source: UTKFace's folder; None for drawn faces.
    """
    from PIL import Image

    from vggface_gender.datasets.utk_face import utk_face_dataset_builder

    folder.mkdir()
    if source is None:
        faces.draw(source := folder / "drawn", min(count, 2_000))
    paths = faces.images(source)
    if count > len(paths) * TURNS:
        raise InputError(f"{source}: {len(paths):,} images make {len(paths) * TURNS:,} faces")
    lines = ["file,gender,race,age"]
    (folder / "images").mkdir()
    for i in range(count):
        again, place = divmod(i, len(paths))
        path = folder / "images" / f"{i:06d}.jpg"
        if again:
            turned(Image.open(paths[place]), again).save(path, quality=95)
        else:
            path.symlink_to(paths[place].resolve())
        said = utk_face_dataset_builder.parse(paths[place].name)
        lines.append(
            f"images/{path.name},{said.get('gender', '')},{said.get('race', '')},"
            f"{said.get('age', '')}"
        )
    table = folder / "faces.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def turned(image: "Image.Image", number: int) -> "Image.Image":
    """One of the `TURNS` of an image: turned by quarters, and mirrored or not."""
    from PIL import Image

    quarters, is_mirrored = divmod(number, 2)
    if is_mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return image.rotate(90 * quarters)


def measure(step: str, table: Path, *, by: str, model: Path, work: Path) -> Cost:
    """Do a step by its command, and take its time and its memory."""
    name = by.replace(" ", "-")
    records = table.parent / f"records-{name}"
    dataset = ["--dataset", str(table), "--frame", "0.19", "--data-dir", str(records)]
    out = work / f"{step}-{name}"
    count = table.read_text().count("\n") - 1
    whole = ["--crops", "--align", "never", "--run", str(model)]
    command = {
        "records": ["records", *dataset],
        "features": ["embed", *dataset, "--split", "all", "--out", f"{out}.h5"],
        "duplicates": ["duplicates", *dataset, "--out", f"{out}.csv"],
        "prediction": ["predict", str(table.parent / "images"), *whole, "--csv", f"{out}.csv"],
    }[step]
    if step in ("features", "duplicates") and not records.exists():
        watched(
            _command(["records", *dataset])
        )  # not measured: the step is of what they are there for
    seconds, memory = watched(_command([*command, *BY[by]]))
    return Cost(step, count, by, seconds, memory)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", f"vggface_gender.{arguments[0]}", *arguments[1:]]


def watched(command: Sequence[str]) -> tuple[float, int]:
    """Run a command: the seconds that it took, and the most memory of it and all below it, bytes.

    Memory that processes share counts once (Linux's proportional set size).

    Raises:
        InputError: it failed; its last line is quoted.
    """
    most, is_over = 0, threading.Event()
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        running = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)

        def watch() -> None:
            nonlocal most
            while not is_over.wait(POLLED):
                most = max(most, sum(map(_memory, _below(running.pid))))

        watcher = threading.Thread(target=watch)
        watcher.start()
        status = running.wait()
        seconds = time.perf_counter() - start
        is_over.set()
        watcher.join()
        if status:
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise InputError(f"{' '.join(command[2:5])}: {lines[-1] if lines else status}")
    return seconds, most


def _below(pid: int) -> Iterator[int]:
    """A process and all that it has started, also by way of others."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    waiting = [pid]
    while waiting:
        yield (each := waiting.pop())
        waiting += parents.get(each, [])


def _memory(pid: int) -> int:
    """A process's share of memory, in bytes; 0 of one that has ended."""
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def describe(costs: Sequence[Cost]) -> str:
    """A table of what each step costs at each size, and how that grows."""
    by_kind: dict[tuple[str, str], dict[int, Cost]] = {}
    for cost in costs:
        by_kind.setdefault((cost.step, cost.by), {})[cost.faces] = cost
    sizes = sorted({cost.faces for cost in costs})
    header = ["step", "by", *(f"{size:,}" for size in sizes), "ms a face", "power", f"at {FAR:.0e}"]
    rows = []
    for (step, by), its in by_kind.items():
        cells = [
            f"{its[size].seconds:,.1f} s, {its[size].memory / 1e6:,.0f} MB" if size in its else ""
            for size in sizes
        ]
        rows.append([step, by, *cells, *_growth(its)])
    return text.table(header, rows, text_columns=2)


def _growth(its: Mapping[int, Cost]) -> list[str]:
    """What a further face costs, how time grows, and how long very many take, between two sizes."""
    sizes = sorted(its)
    if len(sizes) < 2:
        return ["", "", ""]
    (few, small), (lots, large) = ((size, its[size].seconds) for size in sizes[-2:])
    each = (large - small) / (lots - few)
    power = math.log(large / small) / math.log(lots / few)
    return [f"{1000 * each:.2f}", f"{power:.2f}", f"{each * FAR / 3600:,.0f} h"]
