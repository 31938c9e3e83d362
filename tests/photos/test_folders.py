"""Which files of a folder are images, and what is said of the others."""

import os
from pathlib import Path

import pytest

from vggface_gender.photos import folders


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_are_known_by_their_endings_in_any_case(tmp_path):
    images = ["a.JPG", "b.png", "c.jfif", "d.HEIC", "e.webp", "f.tiff", "g.AVIF"]
    touch(*(tmp_path / name for name in (*images, "notes.txt", "jpg", "clip.mp4")))
    found = folders.contents(tmp_path, deep=False)
    assert [Path(path).name for path in found.images] == images
    assert {path.name for path in found.left_out[folders.OTHER]} == {"notes.txt", "jpg", "clip.mp4"}


TOOLS = (
    *(".hidden.png", "._a.jpg", ".DS_Store", "Thumbs.db", "desktop.ini"),
    *(".ipynb_checkpoints/a.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg"),
    *("$RECYCLE.BIN/a.jpg", "@__thumb/a.jpg", "System Volume Information/a.jpg"),
)


@pytest.mark.parametrize("deep", [False, True])
def test_what_tools_leave_is_counted_and_never_entered(tmp_path, deep):
    touch(tmp_path / "a.jpg", *(tmp_path / name for name in TOOLS))
    found = folders.contents(tmp_path, deep=deep)
    assert found.images == [str(tmp_path / "a.jpg")]
    tallied = folders.tally(found.left_out)
    assert tallied == {folders.HIDDEN: {"count": len(TOOLS), "first": []}}
    assert folders.describe(tallied) == ["hidden, or a tool's: 11"]


def test_folders_within_are_entered_or_named(tmp_path):
    touch(tmp_path / "z.jpg", tmp_path / "b" / "c" / "1.jpg", tmp_path / "album.jpg" / "2.jpg")
    shallow = folders.contents(tmp_path, deep=False)
    assert shallow.images == [str(tmp_path / "z.jpg")]
    assert shallow.left_out == {folders.FOLDER: [tmp_path / "album.jpg", tmp_path / "b"]}
    names = ["z.jpg", "album.jpg/2.jpg", "b/c/1.jpg"]
    assert folders.contents(tmp_path, deep=True).images == [str(tmp_path / name) for name in names]


def test_links_to_folders_are_entered_but_none_in_a_circle(tmp_path):
    touch(tmp_path / "elsewhere" / "1.jpg", tmp_path / "images" / "a" / "2.jpg")
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "a" / "up").symlink_to(tmp_path / "images")
    found = folders.contents(tmp_path / "images", deep=True)
    inside = [Path(path).relative_to(tmp_path / "images") for path in found.images]
    assert inside == [Path("a/2.jpg"), Path("link/1.jpg")]
    assert found.left_out == {folders.FOLDER: [tmp_path / "images" / "a" / "up"]}


def test_a_folder_that_may_not_be_read_is_an_error(tmp_path, monkeypatch):
    touch(tmp_path / "female" / "1.jpg", tmp_path / "male" / "2.jpg")
    scan = os.scandir

    def refuse(folder):
        if Path(folder).name == "male":
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        folders.contents(tmp_path, deep=True)


def test_the_first_names_stand_for_all_and_fit_on_a_line():
    names = [f"{i}\n.txt" for i in range(30)]
    tallied = folders.tally({folders.OTHER: names})
    assert tallied == {folders.OTHER: {"count": 30, "first": names[:10]}}
    [line] = folders.describe(tallied)
    assert line == r"not named as an image: 30 (0\n.txt, 1\n.txt, 2\n.txt and 27 others)"
