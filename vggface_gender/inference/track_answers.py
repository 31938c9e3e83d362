"""Answers of videos: people followed through it, each with one answer of all their frames.

Nothing here computes: `inference.videos` makes them.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from vggface_gender.base import text
from vggface_gender.inference.answers import FaceAnswer, Label, Years

SECONDS_DIGITS = 3  # frames of a video are milliseconds apart


@dataclass(frozen=True, kw_only=True)
class TrackAnswer:
    """A person who was followed through a video, and what is predicted of them."""

    track: int  # from 1, in the order in which people appear
    start: float  # seconds from the video's start to the first frame with the face
    end: float  # to the last
    frames: int  # in which the face was found, of those that were looked at
    best: float  # seconds to the frame that shows the face best, which `face` is of
    face: FaceAnswer  # its box, landmarks and crop there; the answers are means of all frames
    path: tuple[tuple[float, tuple[int, int, int, int]], ...] = field(
        default=(), repr=False, compare=False
    )  # seconds and box, of every frame in which it was found

    @property
    def tasks(self) -> dict[str, Label | Years]:
        """What is predicted, by the task's name."""
        return self.face.tasks

    @property
    def gender(self) -> Label | None:
        """The perceived gender; None where it was not predicted."""
        return self.face.gender

    @property
    def race(self) -> Label | None:
        """The perceived race; None where it was not predicted."""
        return self.face.race

    @property
    def age(self) -> Years | None:
        """The perceived age; None where it was not predicted."""
        return self.face.age

    def to_dict(self) -> dict[str, Any]:
        """The published form."""
        return self._about() | {"best": round(self.best, SECONDS_DIGITS)} | self.face.to_dict()

    def to_row(self) -> dict[str, Any]:
        """The published form as a table's row: a column a number."""
        about = self._about()
        return {"face": about.pop("track")} | about | self.face.to_row()

    def _about(self) -> dict[str, Any]:
        start, end = (round(seconds, SECONDS_DIGITS) for seconds in (self.start, self.end))
        return {"track": self.track, "start": start, "end": end, "frames": self.frames}

    def describe(self, top: int = 1) -> list[str]:
        """A phrase a task: `["male 98%", "31 years"]`."""
        return self.face.describe(top)


@dataclass(frozen=True, kw_only=True)
class VideoAnswer:
    """A video and the people in it."""

    video: str  # what it is called: its path as the user gave it
    width: int | None  # of its upright frames in pixels; None if it could not be read
    height: int | None
    frames: int  # that were looked at
    end: float  # seconds to the last of them
    tracks: list[TrackAnswer]  # in the order in which people appear
    missing: int | None = None  # frames that the file says it has and does not; None: not known
    error: str | None = None  # why it could not be read, or why not to its end, in one line
    small: int = 0  # faces that were left out as too small, over all frames
    content: str | None = None  # the hash of the file's content, where it was asked for

    @property
    def photo(self) -> str:
        """What it is called, as a photo's answer has it."""
        return self.video

    @property
    def status(self) -> str:
        """`ok`, `no face`, `incomplete` (it ends before its stated end), or `unreadable`."""
        if self.error is not None:
            return "incomplete" if self.frames else "unreadable"
        return "ok" if self.tracks else "no face"

    def to_dict(self) -> dict[str, Any]:
        """The published form of `predict --json`, its keys in their order."""
        published: dict[str, Any] = {"video": self.video, "status": self.status}
        if self.error is not None:
            published["error"] = self.error
        published |= {"width": self.width, "height": self.height, "frames": self.frames}
        published["end"] = round(self.end, SECONDS_DIGITS)
        if self.missing:
            published["missing_frames"] = self.missing
        if self.small:
            published["small_faces"] = self.small
        return published | {"tracks": [track.to_dict() for track in self.tracks]}

    def to_json(self) -> str:
        """The published form as one line of JSON."""
        return json.dumps(self.to_dict())

    def to_rows(self) -> list[dict[str, Any]]:
        """The published form as rows of a table: one a person, or one that says why there is none.

        The columns are those of `PhotoAnswer.to_rows`, and `start`, `end` and `frames`.
        """
        about: dict[str, Any] = {"photo": self.video, "status": self.status, "error": self.error}
        about |= {"width": self.width, "height": self.height}
        return [about | track.to_row() for track in self.tracks] or [about | {"face": None}]

    def describe(self, top: int = 1) -> list[str]:
        """Lines to read, one a person; none for a video that could not be read.

        Args:
            top: how many labels of a task to name.
        """
        video = text.printable(self.video)
        if not self.tracks:
            return [f"{video}: no face found"] if self.frames else []
        return [
            f"{video}: {', '.join(track.describe(top))} from {track.start:.1f} to {track.end:.1f} s"
            f" ({track.frames:,} frame{'s' * (track.frames != 1)})"
            for track in self.tracks
        ]
