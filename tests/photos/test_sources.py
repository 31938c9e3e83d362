"""What names on a command line stand for."""

import io
import os
from types import SimpleNamespace

import pytest
from PIL import Image

from vggface_gender.base.errors import InputError
from vggface_gender.photos import sources
from vggface_gender.photos.sources import CAMERA, PHOTO, VIDEO, Source


@pytest.fixture
def album(workplace):
    """Photos, a video and others, two folders deep; the working folder is above."""
    names = ["a.jpg", "b.PNG", "clip.mp4", "notes.txt", ".hidden.jpg", "deep/c.jpg", "deep/x/d.jpg"]
    for name in names:
        path = workplace / "album" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return workplace / "album"


def found(*names, **options):
    return [(each.name, each.kind) for each in sources.find(names, **options).sources]


def test_a_folder_is_entered_as_deep_as_asked(album):
    assert found("album") == [("album/a.jpg", PHOTO), ("album/b.PNG", PHOTO)]
    deep = [name for name, _ in found("album", recursive=True)]
    assert deep == ["album/a.jpg", "album/b.PNG", "album/deep/c.jpg", "album/deep/x/d.jpg"]


def test_patterns(album):
    assert found("album/*.jpg") == [("album/a.jpg", PHOTO)]
    assert found("album/*.[mM]p4") == [("album/clip.mp4", VIDEO)]
    every = ["album/a.jpg", "album/deep/c.jpg", "album/deep/x/d.jpg"]
    assert [name for name, _ in found("album/**/*.jpg")] == every
    result = sources.find(["album/*"])
    assert [each.name for each in result.sources] == [
        "album/a.jpg",
        "album/b.PNG",
        "album/clip.mp4",
    ]
    assert {reason: each["count"] for reason, each in result.left_out.items()} == {
        "not named as an image": 1,
        "a folder, which is not entered": 1,
    }
    (album / "empty").mkdir()
    assert "album/deep/x/d.jpg" in [name for name, _ in found("album/*", recursive=True)]
    with pytest.raises(InputError, match="no file matches"):
        sources.find(["album/*.webp"])


def test_a_file_is_meant_before_a_pattern_a_camera_or_standard_input(workplace):
    for name in ("0", "a[1].jpg", "a1.jpg", "-"):
        (workplace / name).write_bytes(b"")
    assert found("0", "a[1].jpg", "-") == [("0", PHOTO), ("a[1].jpg", PHOTO), ("-", PHOTO)]
    assert found("1") == [("1", CAMERA)]
    assert sources.picture(Source("0", PHOTO)).name == "0"


def test_urls_of_files(workplace):
    (workplace / "ä b.jpg").write_bytes(b"")
    expected = [(str(workplace / "ä b.jpg"), PHOTO)]
    assert found((workplace / "ä b.jpg").as_uri()) == expected
    assert found(f"file://localhost{workplace}/%C3%A4%20b.jpg") == expected
    with pytest.raises(InputError, match="another machine"):
        sources.find(["file://server/share/a.jpg"])


def test_standard_input_is_one_picture(monkeypatch):
    content = io.BytesIO()
    Image.new("RGB", (7, 5), "red").save(content, "PNG")
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content.getvalue())))
    assert found("-") == [("-", PHOTO)]
    picture = sources.hashed(Source("-", PHOTO))
    assert picture.read().shape == (5, 7, 3) and picture.content
    with pytest.raises(InputError, match="only once"):
        sources.find(["-", "-"])


def test_content_is_of_bytes_and_not_of_names(workplace):
    for name, content in (("a.jpg", b"1"), ("b.jpg", b"1"), ("c.jpg", b"2")):
        (workplace / name).write_bytes(content)
    os.mkfifo(workplace / "pipe.jpg")
    hashes = [sources.content(name) for name in ("a.jpg", "b.jpg", "c.jpg")]
    assert hashes[0] == hashes[1] != hashes[2] and hashes[0]
    assert sources.content("pipe.jpg") is None and sources.content("missing.jpg") is None


@pytest.mark.parametrize("name", ["file://[", "file:///%00", "file:%00.jpg"])
def test_what_is_no_url_is_refused(workplace, name):
    with pytest.raises(InputError, match="not the URL of a file"):
        sources.find([name])


@pytest.mark.parametrize("name", ["9" * 20, "9" * 5000])
def test_no_camera_has_so_many_digits(workplace, name):
    assert found(name) == [(name, PHOTO)]
    with pytest.raises(InputError):
        sources.picture(Source(name, PHOTO)).read()


def test_a_closed_standard_input_is_a_picture_that_can_not_be_read(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        sources.hashed(Source("-", PHOTO)).read()
