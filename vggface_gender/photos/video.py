"""Videos as photos, one frame every so many seconds, and videos drawn on.

OpenCV reads and writes them: rotation is applied, and times are those of the frames, also where
these are not evenly spaced.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.photos.folders import VIDEO_SUFFIXES

CLOSE = 1e-6  # seconds: times of frames are rounded
COMPLETE = 0.9  # of the frames that the header states, those from which on none is missed
CODEC = "mp4v"  # MPEG-4: of what OpenCV writes everywhere, what takes milliseconds a frame
FASTEST, USUAL = 60.0, 25.0  # frames a second of what is written: the most, and where none is said


class About(NamedTuple):
    """What a video's header says."""

    rate: float  # frames a second, on the average; 0 where it says nothing
    frames: int  # 0 where it says nothing
    size: tuple[int, int]  # (width, height) of the upright frames

    @property
    def seconds(self) -> float:
        """How long it should be; 0 where it is not known."""
        return self.frames / self.rate if self.rate else 0.0


class Incomplete(InputError):
    """A video ends before its stated end; what there is of it was read."""

    def __init__(self, message: str, missing: int):
        super().__init__(message)
        self.missing = missing  # frames


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by the end of its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def about(path: Path) -> About:
    """What a video's header says.

    Raises:
        InputError: there is no such file, or it is no video.
    """
    video = _opened(path)
    try:
        return _about(video)
    finally:
        video.release()


def frames(path: Path, *, every: float) -> Iterator[tuple[float, np.ndarray]]:
    """A video's frames, one every so many seconds: (seconds, uint8 RGB (h, w, 3)).

    Args:
        every: seconds from one frame to the next; 0 for each frame.

    Raises:
        InputError: there is no such file, or no frame can be read from it.
        Incomplete: after the frames that can be read: the video ends before its stated duration.
    """
    video = _opened(path)
    due, seconds, count, given = 0.0, 0.0, 0, 0
    try:
        rate, stated, _ = _about(video)
        while video.grab():
            # Where a frame has no time, it comes as long after the last as frames do.
            said = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            seconds = said if said > seconds or not count else seconds + 1 / (rate or USUAL)
            count += 1
            if seconds + CLOSE < due:
                continue
            is_read, frame = video.retrieve()
            if is_read:
                given += 1
                yield seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                due = every * ((seconds + CLOSE) // every + 1) if every else 0.0
    finally:
        video.release()
    if not given:
        raise InputError(f"{path}: not a video that can be read here; replace the file")
    # Some containers only estimate how many frames they hold: time has to be missing, too.
    there = max(count, round(seconds * rate) + 1)
    if rate > 0 and there < COMPLETE * stated - 1:
        raise Incomplete(
            f"{path}: ends after {there:,} of {stated:,} frames ({stated - there:,} missing), "
            "damaged or incomplete; replace the file",
            stated - there,
        )


def camera(
    number: int, *, every: float, is_stopped: Callable[[], bool]
) -> Iterator[tuple[float, np.ndarray]]:
    """A camera's frames, as `frames` gives a video's: seconds are those since the first.

    Args:
        number: as the system counts cameras, from 0.
        is_stopped: says that no more frames are wanted.

    Raises:
        InputError: there is no such camera, or it gives nothing.
    """
    _be_quiet()
    video = cv2.VideoCapture(number)
    try:
        first, due = None, 0.0
        while not is_stopped() and video.grab():
            now = time.monotonic()
            first = now if first is None else first
            if now - first + CLOSE < due:
                continue
            is_read, frame = video.retrieve()
            if is_read:
                yield now - first, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                due = every * ((now - first + CLOSE) // every + 1)
    finally:
        video.release()
    if first is None and not is_stopped():
        raise InputError(
            f"{number}: no camera of this number gives pictures; name a photo or video"
        )


def redraw(path: Path, target: Path, *, paint: Callable[[float, np.ndarray], np.ndarray]) -> None:
    """Write a video with every frame painted on, as MP4 without sound.

    Its frames are evenly spaced: where those of the video are not, some are repeated or left out,
    so that everything happens at its time.

    Args:
        target: ends in `.mp4`.
        paint: takes seconds and a frame, uint8 RGB (h, w, 3), and gives it painted, of one size.

    Raises:
        InputError: it can't be read, or not be written.
    """
    rate = min(about(path).rate or USUAL, FASTEST)
    writer, written = None, 0
    last: np.ndarray | None = None
    size = (0, 0)
    try:
        for seconds, frame in _all(path):
            due = round(seconds * rate)
            while last is not None and writer is not None and written < due:
                writer.write(last)
                written += 1
            painted = cv2.cvtColor(paint(seconds, frame), cv2.COLOR_RGB2BGR)
            if writer is None:
                size = (painted.shape[1], painted.shape[0])
                codec = cv2.VideoWriter.fourcc(*CODEC)
                writer = cv2.VideoWriter(_encoded(target), cv2.CAP_FFMPEG, codec, rate, size)
                if not writer.isOpened():
                    raise InputError(f"{target}: OpenCV can't write it; name another place")
            # A stream may change its size; a file may not.
            same = (painted.shape[1], painted.shape[0]) == size
            last = painted if same else cv2.resize(painted, size)
        if writer is not None and last is not None:
            writer.write(last)
            written += 1
    finally:
        if writer is not None:
            writer.release()
    # OpenCV does not say that a disk was full: the file then lacks its header, or frames.
    if about(target).frames < written:
        raise InputError(
            f"{target.name}: can't be written whole: no room on the disk, or files may not be that "
            "large; make room, then give the same command again"
        )


def _all(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    """Every frame that there is of a video that may be cut."""
    try:
        yield from frames(path, every=0.0)
    except Incomplete:
        return  # whoever read it before has said so


def _opened(path: Path) -> Any:
    if path.is_dir():
        raise InputError(f"{path}: a folder; give a video")
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: not a regular file; give a video")
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a video")
    _be_quiet()
    return cv2.VideoCapture(_encoded(path), cv2.CAP_FFMPEG)


def _encoded(path: Path) -> str:
    """A path that OpenCV takes for one: absolute, since `12:30.mp4` would be a URL.

    Raises:
        InputError: it is no UTF-8, at which OpenCV crashes.
    """
    whole = str(path.absolute())
    try:
        whole.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{path}: OpenCV opens names in UTF-8 alone; rename the file or its folder"
        ) from None
    return whole


def _be_quiet() -> None:
    """Have what goes wrong raised, not printed."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _about(video: Any) -> About:
    rate, stated = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
    size = (int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)))
    is_known = 0 < rate < 1e4
    return About(rate if is_known else 0.0, max(0, int(stated)) if is_known else 0, size)
