"""Subtitles: what is said of a video's people, while they are to be seen."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

ASS = """[Script Info]
ScriptType: v4.00+
PlayResX: {width}
PlayResY: {height}

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, OutlineColour, BorderStyle, Outline, Alignment
Style: Face,Arial,{points},&H0000D4FF,&H00000000,1,2,2

[Events]
Format: Layer, Start, End, Style, Text
"""


class Line(NamedTuple):
    """A text that is shown from one time to another."""

    start: float  # seconds
    end: float
    text: str


def srt(lines: Sequence[Line]) -> str:
    """Lines as SubRip: those that are shown at one time stand under each other."""
    blocks = []
    for number, (start, end, texts) in enumerate(_spans(lines), start=1):
        shown = "\n".join(texts)
        blocks.append(f"{number}\n{_time(start, ',')} --> {_time(end, ',')}\n{shown}\n")
    return "\n".join(blocks)


def ass(boxed: Sequence[tuple[Line, tuple[int, int, int, int]]], *, size: tuple[int, int]) -> str:
    """Lines as Advanced SubStation Alpha, each above a box.

    Args:
        boxed: lines, each with left, top, right, bottom in pixels of the video.
        size: of the video's frames (width, height).
    """
    text = ASS.format(width=size[0], height=size[1], points=max(12, size[1] // 24))
    for (start, end, said), (left, top, right, _) in boxed:
        place = f"{{\\an2\\pos({(left + right) // 2},{top})}}"
        said = said.replace("\n", "\\N")
        text += f"Dialogue: 0,{_ass_time(start)},{_ass_time(end)},Face,{place}{said}\n"
    return text


def _spans(lines: Sequence[Line]) -> list[tuple[float, float, list[str]]]:
    """The times between which the same texts are shown, with these."""
    times = sorted({time for line in lines for time in (line.start, line.end)})
    spans = []
    for start, end in itertools.pairwise(times):
        shown = [line.text for line in lines if line.start <= start and line.end >= end]
        if shown:
            spans.append((start, end, shown))
    return spans


def _time(seconds: float, point: str) -> str:
    """Seconds as 00:01:02,345."""
    milliseconds = round(1000 * seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole, rest = divmod(milliseconds, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{rest:03}"


def _ass_time(seconds: float) -> str:
    """Seconds as 0:01:02.34."""
    return _time(seconds, ".")[1:-1]
