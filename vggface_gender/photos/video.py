"""Videos as photos: one frame every so many seconds."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vggface_gender.base.errors import InputError

SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".ts"}
)
CLOSE = 1e-6  # seconds: times of frames are rounded


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by the end of its name."""
    return path.suffix.lower() in SUFFIXES


def frames(path: Path, *, every: float) -> Iterator[tuple[float, np.ndarray]]:
    """A video's frames, one every so many seconds: (seconds, uint8 RGB (h, w, 3)).

    Args:
        every: seconds from one frame to the next; above 0.

    Raises:
        InputError: there is no such file, no frame can be read from it, or, after the frames that
            can be, the video ends before its stated duration does.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a video")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # quiet: what is wrong is said here
    video = cv2.VideoCapture(str(path))
    due, seconds, gap = 0.0, 0.0, 0.0
    try:
        stated = _duration(video)
        while video.grab():
            before, seconds = seconds, video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            gap = max(gap, seconds - before)
            if seconds + CLOSE < due:
                continue
            is_read, frame = video.retrieve()
            if is_read:
                yield seconds, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                due = every * ((seconds + CLOSE) // every + 1)
    finally:
        video.release()
    if not due:
        raise InputError(f"{path}: not a video that can be read here; replace the file")
    # Containers round their duration, and some state that of the sound.
    if stated - (seconds + gap) > max(2 * gap, 0.1 * stated):
        raise InputError(
            f"{path}: ends after {seconds + gap:.1f} of {stated:.1f} seconds, damaged or "
            "incomplete; replace the file"
        )


def _duration(video: cv2.VideoCapture) -> float:
    """The duration in seconds that a video's header states; 0 where it states none."""
    rate, count = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
    return max(count / rate, 0.0) if rate > 0 else 0.0
