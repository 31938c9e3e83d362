"""Videos as photos: one frame every so many seconds."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from vggface_gender.base.errors import InputError
from vggface_gender.photos.folders import VIDEO_SUFFIXES

CLOSE = 1e-6  # seconds: times of frames are rounded
COMPLETE = 0.9  # of the frames that the header states, those from which on none is missed


def is_video(path: Path) -> bool:
    """Whether a file is taken for a video, by the end of its name."""
    return path.suffix.lower() in VIDEO_SUFFIXES


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
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors are raised below
    video = cv2.VideoCapture(str(path))
    due, seconds, count = 0.0, 0.0, 0
    try:
        rate, stated = video.get(cv2.CAP_PROP_FPS), video.get(cv2.CAP_PROP_FRAME_COUNT)
        while video.grab():
            seconds, count = video.get(cv2.CAP_PROP_POS_MSEC) / 1000, count + 1
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
    # Some containers only estimate how many frames they hold: time has to be missing, too.
    if rate > 0 and max(count, seconds * rate + 1) < COMPLETE * stated - 1:
        raise InputError(
            f"{path}: ends after {count:,} of {stated:,.0f} frames, damaged or incomplete; replace "
            "the file"
        )
