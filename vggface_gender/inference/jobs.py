"""All that is named, answered in order: photos together, videos one by one, each written at once.

What is drawn and cut of an answer is written before its rows are, and its rows before the answer is
given. So what a table has is finished, and a killed job goes on from there.
"""

import collections
import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vggface_gender.base import files
from vggface_gender.base.errors import InputError
from vggface_gender.inference import outputs, pipeline, tables, videos
from vggface_gender.inference.answers import PhotoAnswer
from vggface_gender.inference.interface import Predictor
from vggface_gender.inference.tables import Table
from vggface_gender.inference.track_answers import VideoAnswer
from vggface_gender.photos import FPS, THRESHOLD, detect, naming, sources, threads, video
from vggface_gender.photos.inputs import Picture
from vggface_gender.photos.sources import CAMERA, PHOTO, STDIN, VIDEO, Source


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What answers depend on besides the classifier."""

    detector: str = "auto"  # see `detect.finder`
    align: bool = False  # each photo shows one face: see `detect.main_face`
    upsample: int = 1
    threshold: float = THRESHOLD
    tasks: Collection[str] | None = None  # see `pipeline.answers`
    extra_tasks: Collection[str] = ()
    samples: int | None = None
    min_confidence: float = 0.0
    min_face: int = 0
    fps: float = FPS  # frames of a video that are looked at a second


@dataclass(kw_only=True)
class Written:
    """Where files are written, and how many were."""

    drawn: Path | None = None  # folder of the drawn copies; None for none
    crops: Path | None = None  # folder of the faces' crops
    table: Table | None = None
    others: Sequence[Path] = ()  # files that the table goes to
    top: int = 1  # labels of a task that drawn copies name
    counts: collections.Counter = field(default_factory=collections.Counter)  # drawn, crops

    def describe(self) -> list[str]:
        """A line for each kind of what was written."""
        lines = []
        if self.drawn and self.counts["drawn"]:
            lines.append(f"drawn copies: {self.counts['drawn']:,} in {self.drawn}")
        if self.crops:
            lines.append(f"crops: {self.counts['crops']:,} in {self.crops}")
        return lines


class Answered(NamedTuple):
    """An input that is done."""

    status: str  # as the answer's
    answer: PhotoAnswer | VideoAnswer | None  # None where the table had it already


def check(found: Sequence[Source], settings: Settings) -> None:
    """Refuse, before anything is read or written, settings that can't be or don't go with inputs.

    Raises:
        InputError: there is no such detector, or videos are to be answered with dropout left on.
    """
    detect.finder(settings.detector, threshold=settings.threshold)
    if settings.samples and any(source.kind != PHOTO for source in found):
        raise InputError("answers with dropout left on are of photos alone: leave --mc-dropout out")


def check_tables(csv: Path | None, parquet: Path | None, *, found: Sequence[Source]) -> None:
    """Refuse, before anything is read or written, a table in the place of something else.

    Raises:
        InputError: it is one of the inputs, another file that is no such table, or no file; or both
            tables are one.
    """
    if csv and parquet and os.path.realpath(csv) == os.path.realpath(parquet):
        raise InputError(f"{parquet}: --csv and --parquet are one file; name two")
    for path, begins in ((csv, tables.begins), (parquet, tables.begins_parquet)):
        if path is None:
            continue
        for source in found:
            if source.kind != CAMERA and source.name != STDIN and _is_one(path, source.name):
                raise InputError(f"{path}: this is one of the inputs; name another file")
        tables.require_own(path, begins)


def _is_one(path: Path, name: str) -> bool:
    try:
        return os.path.samefile(path, name)
    except (OSError, ValueError):  # one is not there
        return False


def made_by(classifier: Path, settings: Settings, *, tasks: Sequence[str]) -> str:
    """What a table's rows say that they were made by.

    Args:
        classifier: its file.
        tasks: that are answered.
    """
    said = dataclasses.asdict(settings) | {"tasks": tasks, "extra_tasks": None}
    said["detector"] = detect.chosen(settings.detector)  # what "auto" stands for may change
    if not settings.align:
        del said["align"]  # as in tables from before there was such a setting
    return tables.made_by(classifier, **said)


@contextlib.contextmanager
def table(
    csv: Path | None,
    parquet: Path | None,
    *,
    path: Path,
    load: Callable[[], Predictor],
    settings: Settings,
    found: Sequence[Source],
    resume: bool = False,
) -> Iterator[Table | None]:
    """The table that a job's answers go to, as CSV, as Parquet in the end, or both; None if none.

    Args:
        path: of the classifier's file, which `load` reads.
        found: all that is to be answered.
        resume: see `tables.opened`.

    Raises:
        InputError, OSError: see `tables.opened` and `tables.to_parquet`.
    """
    if csv is None and parquet is None:
        yield None
        return
    if parquet:
        tables.require_pyarrow()
    classifier = load()
    wanted = pipeline.chosen(classifier, settings.tasks, extra_tasks=settings.extra_tasks)
    columns = tables.columns(classifier.tasks, wanted, sampled=bool(settings.samples))
    made = made_by(path, settings, tasks=wanted)
    names = [source.name for source in found]
    with contextlib.ExitStack() as stack:
        if csv is None:
            assert parquet is not None
            place = stack.enter_context(files.aside(parquet.parent)) / "answers.csv"
        else:
            place = csv
        with tables.opened(place, columns, made_by=made, names=names, resume=resume) as opened:
            yield opened
        if parquet:
            tables.to_parquet(place, parquet, columns=columns)


def run(
    found: Sequence[Source],
    load: Callable[[], Predictor],
    *,
    settings: Settings,
    written: Written,
    progress: Callable[[videos.Frames, float], videos.Frames] = lambda frames, seconds: frames,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Answered]:
    """Answer what was found, in its order, and write what is wanted of each answer.

    Args:
        load: gives the classifier, the same at every call; called only where it is needed.
        progress: see `videos.answer`.
        is_stopped: says that no more of a camera's frames are wanted.

    Raises:
        InputError: a setting that does not go with an input or with the classifier.
        OSError: something can't be written.
    """
    drawn = _drawn_paths(found, written)
    # Besides the photos and the table, no crop takes the place of a drawn copy.
    others = [*written.others, *filter(None, drawn)]
    crops = _paths(found, written.crops, "-face.png", others, numbered=True)
    places = itertools.count()
    for kind, group in itertools.groupby(found, key=lambda source: source.kind):
        each: Iterator[Answered]
        if kind == PHOTO:
            each = _photos(list(group), load, settings, written)
        else:
            each = _videos(list(group), load, settings, written, progress, is_stopped)
        for done in each:
            place = next(places)
            if done.answer is not None:
                _write(done.answer, written, drawn[place], crops[place])
            yield done


def _photos(
    group: list[Source], load: Callable[[], Predictor], settings: Settings, written: Written
) -> Iterator[Answered]:
    """The answers of photos, and what the table has of them, in order."""
    order: collections.deque[str | None] = collections.deque()  # the table's status, or None

    def pictures() -> Iterator[Picture]:
        if written.table is None:
            for source in group:
                order.append(None)
                yield sources.picture(source)
            return
        for picture in threads.ahead(sources.hashed, group, threads=os.cpu_count() or 1):
            status = written.table.known(picture.name, picture.content)
            order.append(status)
            if status is None:
                yield picture

    def skipped() -> Iterator[Answered]:
        while order and (status := order[0]) is not None:
            order.popleft()
            yield Answered(status, None)

    answered = pipeline.answers(
        pictures(),
        load,
        find=_finder(settings),
        tasks=settings.tasks,
        extra_tasks=settings.extra_tasks,
        samples=settings.samples,
        min_confidence=settings.min_confidence,
        min_face=settings.min_face,
        keep_images=written.drawn is not None,
    )
    for answer in answered:
        yield from skipped()
        order.popleft()
        yield Answered(answer.status, answer)
    yield from skipped()


def _finder(settings: Settings) -> detect.Finder:
    """What finds the faces of photos."""
    if not settings.align:
        return detect.finder(
            settings.detector, upsample=settings.upsample, threshold=settings.threshold
        )

    def find(photo: np.ndarray) -> list[detect.Face]:
        face = detect.main_face(
            photo,
            detector=settings.detector,
            upsample=settings.upsample,
            threshold=settings.threshold,
        )
        return [face]

    return find


def _videos(
    group: list[Source],
    load: Callable[[], Predictor],
    settings: Settings,
    written: Written,
    progress: Callable[[videos.Frames, float], videos.Frames],
    is_stopped: Callable[[], bool],
) -> Iterator[Answered]:
    """The answers of videos and cameras, and what the table has of them, in order."""
    # Faces of a low score continue tracks; those that are taken whole have none.
    find = detect.finder(
        "none" if settings.align else settings.detector,  # people are not followed by one face
        upsample=settings.upsample,
        threshold=settings.threshold,
        weaker=videos.WEAK,
    )
    answer = functools.partial(
        videos.of_frames,
        load=load,
        find=find,
        threshold=settings.threshold,
        tasks=settings.tasks,
        extra_tasks=settings.extra_tasks,
        min_confidence=settings.min_confidence,
        min_face=settings.min_face,
    )
    for source in group:
        if source.kind == CAMERA:
            frames: videos.Frames = video.camera(
                int(source.name), every=1 / settings.fps, is_stopped=is_stopped
            )
            found = answer(source.name, progress(frames, 0.0))
        else:
            content = sources.content(source.name) if written.table else None
            known = written.table.known(source.name, content) if written.table else None
            if known is not None:
                yield Answered(known, None)
                continue
            path = Path(source.name)
            frames = videos.looked_at(path, fps=settings.fps, progress=progress)
            found = answer(source.name, frames, content=content)
        yield Answered(found.status, found)


def _write(
    answer: PhotoAnswer | VideoAnswer, written: Written, drawn: Path | None, crops: Path | None
) -> None:
    """Write what is wanted of an answer, its rows last."""
    if isinstance(answer, PhotoAnswer):
        faces = answer.faces
        if drawn and faces:
            outputs.draw_photo(answer, drawn, top=written.top)
            written.counts["drawn"] += 1
    else:
        faces = [person.face for person in answer.tracks]
        if drawn and faces:
            outputs.draw_video(answer, drawn, top=written.top)
            written.counts["drawn"] += 1
    if crops:
        written.counts["crops"] += outputs.write_crops(faces, crops)
    if written.table:
        written.table.add(answer)


def _drawn_paths(found: Sequence[Source], written: Written) -> list[Path | None]:
    """Where each drawn copy goes; None for a camera, whose frames are gone."""
    paths: dict[int, Path | None] = {}
    for kind, ending in ((PHOTO, "-faces.jpg"), (VIDEO, "-faces.mp4")):
        places = [i for i, source in enumerate(found) if source.kind == kind]
        kinds = [found[i] for i in places]
        paths |= zip(places, _paths(kinds, written.drawn, ending, written.others), strict=True)
    return [paths.get(i) for i in range(len(found))]


def _paths(
    found: Sequence[Source],
    folder: Path | None,
    ending: str,
    others: Sequence[Path],
    *,
    numbered: bool = False,
) -> Sequence[Path | None]:
    """Where what is made of each source goes; None without a folder."""
    if folder is None:
        return [None] * len(found)
    names = [
        Path("stdin" if each.name == STDIN else f"camera-{each.name}")
        if each.name == STDIN or each.kind == CAMERA
        else Path(each.name)
        for each in found
    ]
    return naming.paths(names, folder, ending=ending, others=others, numbered=numbered)
