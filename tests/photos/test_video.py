"""Frames of small videos, whole and cut."""

import os
import resource
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from vggface_gender.base.errors import InputError
from vggface_gender.photos import video

RATE = 10  # frames a second
CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".mkv": "MJPG"}


@pytest.fixture(params=CODECS)
def clip(request, tmp_path):
    """Three seconds that grow lighter from frame to frame."""
    path = tmp_path / f"clip{request.param}"
    codec = cv2.VideoWriter_fourcc(*CODECS[request.param])
    writer = cv2.VideoWriter(str(path), codec, RATE, (64, 48))
    for i in range(3 * RATE):
        writer.write(np.full((48, 64, 3), 8 * i, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("every, count", [(1.0, 3), (0.5, 6), (0.01, 30), (100.0, 1)])
def test_one_frame_every_so_many_seconds(clip, every, count):
    found = list(video.frames(clip, every=every))
    times = [seconds for seconds, _ in found]
    assert len(found) == count and times[0] == 0
    for before, after in pairwise(times):
        assert after - before == pytest.approx(max(every, 1 / RATE), abs=0.002)
    for seconds, frame in found:
        assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
        assert frame.mean() == pytest.approx(8 * RATE * seconds, abs=6)


def test_frames_are_rgb(tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "red.avi"), cv2.VideoWriter_fourcc(*"MJPG"), RATE, (64, 48)
    )
    writer.write(np.full((48, 64, 3), (0, 0, 255), np.uint8))
    writer.release()
    [(_, frame)] = video.frames(tmp_path / "red.avi", every=1.0)
    assert frame[..., 0].mean() > 240 and frame[..., 1:].mean() < 15


@pytest.mark.parametrize("clip", [".avi", ".mkv"], indirect=True)
def test_a_cut_video_gives_what_it_has_and_then_says_so(clip):
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    found = []
    with pytest.raises(InputError, match="damaged or incomplete"):
        found.extend(video.frames(clip, every=0.1))
        pytest.fail("no error")
    frames = iter(video.frames(clip, every=0.1))
    assert next(frames)[0] == 0


def test_what_is_no_video_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        next(video.frames(tmp_path / "missing.mp4", every=1.0))
    (tmp_path / "text.mp4").write_text("no video " * 100)
    with pytest.raises(InputError, match="not a video"):
        next(video.frames(tmp_path / "text.mp4", every=1.0))


def test_a_video_is_known_by_its_ending(tmp_path):
    assert video.is_video(tmp_path / "CLIP.MP4") and not video.is_video(tmp_path / "clip.jpg")


@pytest.mark.parametrize("clip", [".avi", ".mkv"], indirect=True)
def test_a_cut_video_says_how_many_frames_are_missing(clip):
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    count = 0
    with pytest.raises(video.Incomplete) as caught:
        for _ in video.frames(clip, every=0.0):
            count += 1
    missing = caught.value.missing
    assert count > 0 and missing in (30 - count, 29 - count)  # the last may be there in part
    assert f"ends after {30 - missing} of 30 frames ({missing} missing)" in str(caught.value)


@pytest.mark.parametrize("clip", [".mp4"], indirect=True)
def test_a_turned_video_is_upright(clip):
    """Its header says to turn it by 90 degrees, as a phone's does."""
    content = bytearray(clip.read_bytes())
    matrix = content.index(b"tkhd") + 44  # of a track header of version 0 (ISO/IEC 14496-12)
    assert content[matrix : matrix + 4] == b"\x00\x01\x00\x00"
    turned = [0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30]
    content[matrix : matrix + 36] = b"".join(x.to_bytes(4, "big", signed=True) for x in turned)
    clip.write_bytes(content)
    [(_, frame)] = video.frames(clip, every=100.0)
    assert frame.shape == (64, 48, 3) and video.about(clip).size == (48, 64)


def test_a_video_is_drawn_on_in_time(clip, tmp_path):
    target = tmp_path / "drawn.mp4"
    times = []

    def paint(seconds, frame):
        times.append(seconds)
        return 255 - frame

    video.redraw(clip, target, paint=paint)
    assert len(times) == 3 * RATE and video.about(target).frames == 3 * RATE
    for seconds, frame in video.frames(target, every=0.0):
        assert frame.mean() == pytest.approx(255 - 8 * RATE * seconds, abs=9)


ODD = ["12:30.mp4", "concat:v.mp4", "file:v.mp4", "fr%02d.mp4", "-v.mp4", "é 'x'.mp4"]


@pytest.mark.parametrize("clip", [".mp4"], indirect=True)
@pytest.mark.parametrize("name", ODD)
def test_a_name_is_no_url_and_no_pattern(clip, name, monkeypatch):
    monkeypatch.chdir(clip.parent)
    clip.rename(name)
    assert video.about(Path(name)).frames == 3 * RATE
    video.redraw(Path(name), Path(f"drawn-{name}"), paint=lambda seconds, frame: frame)
    assert video.about(Path(f"drawn-{name}")).frames == 3 * RATE


@pytest.mark.parametrize("clip", [".mp4"], indirect=True)
def test_a_name_that_is_no_utf_8_is_refused(clip):
    target = clip.with_name("drawn-\udcff.mp4")
    with pytest.raises(InputError, match="rename the file"):
        video.redraw(clip, target, paint=lambda seconds, frame: frame)
    odd = clip.rename(clip.with_name("nonutf\udcff.mp4"))
    with pytest.raises(InputError, match="rename the file"):
        video.about(odd)


def test_what_is_no_file_is_called_what_it_is(tmp_path):
    (tmp_path / "in.mp4").mkdir()
    os.mkfifo(tmp_path / "x.mp4")
    with pytest.raises(InputError, match="a folder"):
        video.about(tmp_path / "in.mp4")
    with pytest.raises(InputError, match="not a regular file"):
        video.about(tmp_path / "x.mp4")


@pytest.mark.parametrize("clip", [".avi"], indirect=True)
def test_a_drawn_video_that_is_cut_is_refused(clip, tmp_path):
    def paint(seconds, frame):
        return np.random.default_rng(0).integers(0, 256, frame.shape, np.uint8)

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(InputError, match=r"drawn\.mp4: can't be written whole"):
            video.redraw(clip, tmp_path / "drawn.mp4", paint=paint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
