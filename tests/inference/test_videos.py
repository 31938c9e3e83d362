"""People in videos: followed, answered once, of all frames by their weights."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import vggface_gender
from vggface_gender.base.errors import InputError
from vggface_gender.inference import outputs, videos
from vggface_gender.photos import detect, read, video
from vggface_gender.photos.detect import Face

CLASSIFIER = Path(__file__).resolve().parents[2] / "model_files" / "default" / "classifier.onnx"


class Shade:
    """A classifier whose answer is a crop's brightness."""

    size, padding = 64, 0.25
    tasks = {"gender": ("female", "male"), "age": ()}

    def predict(self, crops):
        light = crops.reshape(len(crops), -1).mean(1) / 255
        return {"gender": np.stack([light, 1 - light], 1), "age": 100 * light}


def answered(frames, find, **options):
    return videos.of_frames("v.mp4", frames, load=Shade, find=find, **options)


def grey(*levels):
    """Frames at five a second that are evenly grey but for a mark, so that they look alike."""
    for i, level in enumerate(levels):
        frame = np.full((100, 100, 3), level, np.uint8)
        frame[40:60, 40:60] += 20
        yield i / 5, frame


def test_frames_weigh_as_much_as_faces_are_large():
    sides = iter([64, 48])  # of the detected faces
    lights = []

    def find(photo):
        side = next(sides)
        lights.append(photo[50 - side // 2 : 50 + side // 2][:, 50 - side // 2 : 50 + side // 2])
        return [Face((50 - side // 2,) * 2 + (50 + side // 2,) * 2, 1.0, None)]

    # One thread, so that the frames come to `find` in their order.
    frames = list(grey(200, 100))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(videos.pipeline, "THREADS", 1)
        found = answered(frames, find)
    [person] = found.tracks
    light = [each.mean() / 255 for each in lights]
    weights = np.array([64, 48]) / 112
    logits = np.log([[x, 1 - x] for x in light]).T @ weights
    expected = np.exp(logits) / np.exp(logits).sum()
    assert person.gender.probabilities["female"] == pytest.approx(expected[0], abs=2e-3)
    assert person.age.years == pytest.approx(100 * np.dot(light, weights), abs=0.3)
    assert (person.start, person.end, person.frames, person.best) == (0.0, 0.2, 2, 0.0)
    assert found.status == "ok" and found.frames == 2 and (found.width, found.height) == (100, 100)


def test_many_frames_that_agree_are_no_surer_than_each():
    def find(photo):
        return [detect.whole(photo)]

    one, many = answered(grey(180), find), answered(grey(*[180] * 150), find)
    assert many.tracks[0].frames == 150
    assert many.tracks[0].gender.probability == pytest.approx(
        one.tracks[0].gender.probability, abs=1e-6
    )


def test_small_faces_are_left_out_and_counted():
    found = answered(grey(180, 180), lambda photo: [Face((0, 0, 30, 20), 1.0, None)], min_face=21)
    assert found.tracks == [] and found.small == 2 and found.status == "no face"
    assert found.to_dict()["small_faces"] == 2


def test_what_ends_early_has_what_there_was(tmp_path):
    def cut():
        yield from grey(180, 180, 180)
        raise video.Incomplete("v.mp4: ends after 3 of 9 frames (6 missing)", 6)

    found = answered(cut(), lambda photo: [detect.whole(photo)])
    assert found.frames == 3 and found.missing == 6 and found.status == "incomplete"
    assert found.tracks[0].frames == 3  # none is lost that was read ahead
    (tmp_path / "text.mp4").write_text("no video")
    found = answered(videos.looked_at(tmp_path / "text.mp4"), lambda photo: [detect.whole(photo)])
    assert found.status == "unreadable" and "not a video" in found.error
    with pytest.raises(InputError, match="does not predict race"):
        answered(grey(1), lambda photo: [], tasks=["race"])


@pytest.mark.skipif(not CLASSIFIER.is_file(), reason="no exported classifier")
def test_a_video_from_python(tmp_path, write_image):
    picture = cv2.imread(str(write_image(tmp_path / "a.png")))
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(20):
        writer.write(picture)
    writer.release()
    model = vggface_gender.load(CLASSIFIER)
    found = model.video(path, fps=2, detector="none", tasks="age")
    assert isinstance(found, vggface_gender.VideoAnswer) and found.frames == 4
    [person] = found.tracks
    whole = model.predict(video_frame(path), detector="none")
    assert list(person.tasks) == ["age"]
    assert person.age.years == pytest.approx(whole.faces[0].age.years, abs=0.2)
    with pytest.raises(InputError, match="no such file"):
        model.video(tmp_path / "missing.mp4")
    with pytest.raises(InputError, match="above 0"):
        model.video(path, fps=0)


def video_frame(path) -> np.ndarray:
    return next(video.frames(path, every=1.0))[1]


@pytest.fixture
def crossing(faces_dir, tmp_path):
    """Two people of real photos who cross, one before the other, in three seconds."""
    patches = []
    for name in ("obama.jpg", "rose_leslie.jpg"):
        photo = read.read_photo(faces_dir / "photos" / name)
        [face] = detect.detect(photo, detector="hog")
        left, top, right, bottom = face.box
        margin = (right - left) // 3
        cut = photo[max(0, top - 2 * margin) : bottom + margin, left - margin : right + margin]
        patches.append(cv2.resize(cut, (150, 180), interpolation=cv2.INTER_AREA))
    path = tmp_path / "crossing.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 240))
    for i in range(30):
        frame = np.full((240, 640, 3), 128, np.uint8)
        for x, patch in zip((470 - 15 * i, 20 + 15 * i), patches, strict=True):
            frame[30:210, x : x + 150] = patch
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return path


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["cnn", "hog"])
def test_two_people_who_cross_are_two_in_table_and_drawing(detector, crossing, tmp_path):
    find = detect.finder(detector, upsample=0, threshold=-0.3)
    found = videos.of_frames(str(crossing), videos.looked_at(crossing), load=Shade, find=find)
    assert found.status == "ok" and found.frames == 15
    first, second = found.tracks
    assert all(each.start < 0.5 and each.end > 2.5 for each in found.tracks)
    # Each ends where the other began.
    assert (first.path[0][1][0] < 320) != (first.path[-1][1][0] < 320)
    assert (second.path[0][1][0] < 320) == (first.path[-1][1][0] < 320)
    assert len(found.to_rows()) == 2

    target = tmp_path / "out" / "crossing-faces.mp4"
    outputs.draw_video(found, target)
    assert {each.suffix for each in target.parent.iterdir()} == {".mp4", ".srt", ".ass"}
    assert "1: " in target.with_suffix(".srt").read_text()
    assert video.about(target).frames == 30
    for seconds, frame in video.frames(target, every=1.0):
        yellow = (np.abs(frame.astype(int) - (255, 212, 0)) < 60).all(-1)
        box = (
            first.path[min(range(15), key=lambda i: abs(first.path[i][0] - seconds))][1]
            if (len(first.path) == 15)
            else None
        )
        assert yellow.sum() > 500
        if box:
            assert yellow[box[1] : box[3], max(0, box[0] - 3) : box[0] + 4].any(1).mean() > 0.5
