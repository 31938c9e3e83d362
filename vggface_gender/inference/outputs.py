"""What is written of answers besides a table: drawn copies, crops, subtitles."""

from pathlib import Path

import numpy as np
from PIL import Image

from vggface_gender.base import files
from vggface_gender.inference.answers import FaceAnswer, PhotoAnswer
from vggface_gender.inference.track_answers import VideoAnswer
from vggface_gender.photos import draw, naming, subtitles, track, video

QUALITY = 90  # of drawn copies' JPEGs


def draw_photo(answer: PhotoAnswer, path: Path, *, top: int = 1) -> None:
    """Write a photo with its faces' boxes and labels.

    Args:
        top: how many labels of a task to name, here and below.
    """
    with files.whole(path) as part:
        answer.draw(top).save(part, quality=QUALITY)


def write_crops(faces: list[FaceAnswer], path: Path) -> int:
    """Write each face's crop as a PNG: `path` with `-1`, `-2`, … before its ending; how many."""
    count = 0
    for number, face in enumerate(faces, start=1):
        if face.crop is not None:
            with files.whole(naming.number(path, number)) as part:
                Image.fromarray(face.crop).save(part)
            count += 1
    return count


def draw_video(answer: VideoAnswer, path: Path, *, top: int = 1) -> None:
    """Write a video with boxes that follow its people, and its subtitles beside it.

    Where the labels of a frame have no room, it has numbers; subtitles have both.

    Args:
        path: ends in `.mp4`; the subtitles have its name, and `.srt` and `.ass`.

    Raises:
        InputError: the video can't be read again, or not be written.
    """
    size = (answer.width or 0, answer.height or 0)
    points = max(12.0, min(size) / 30)
    said = {each.track: "\n".join(each.describe(top)) for each in answer.tracks}
    labels = {
        number: draw.patch(f"{number}  {text}" if len(said) > 1 else text, points)
        for number, text in said.items()
    }
    numbers = {number: draw.patch(str(number), points) for number in said}

    def paint(seconds: float, frame: np.ndarray) -> np.ndarray:
        boxes = {each.track: track.at(each.path, seconds) for each in answer.tracks}
        seen = {number: box for number, box in boxes.items() if box is not None}
        return draw.over(
            frame, list(seen.values()), patches=[[p[n] for n in seen] for p in (labels, numbers)]
        )

    with files.whole(path) as part:
        video.redraw(Path(answer.video), part, paint=paint)
    lines = {
        each.track: subtitles.Line(each.start, each.end, said[each.track]) for each in answer.tracks
    }
    listed = [
        line._replace(text=f"{number}: {', '.join(line.text.splitlines())}")
        for number, line in lines.items()
    ]
    boxed = [(lines[each.track], each.face.box) for each in answer.tracks]
    for ending, text in (
        (".srt", subtitles.srt(listed)),
        (".ass", subtitles.ass(boxed, size=size)),
    ):
        with files.whole(path.with_suffix(ending)) as part:
            part.write_text(text, encoding="utf-8")
