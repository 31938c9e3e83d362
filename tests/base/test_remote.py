"""Files elsewhere: looked up and read by URL, and refused in one line."""

import pytest

fsspec = pytest.importorskip("fsspec", reason="takes fsspec: the extra [beam]")

from vggface_gender.base import remote  # noqa: E402
from vggface_gender.base.errors import InputError  # noqa: E402


@pytest.fixture
def bucket():
    """A file system in memory with a few files; the URL of their folder."""
    system = fsspec.filesystem("memory")
    for name in ("b.jpg", "a.jpg", "notes.txt", "in/c.jpg"):
        system.pipe_file(f"/faces/{name}", name.encode())
    yield "memory://faces"
    system.rm("/faces", recursive=True)


def test_a_folder_a_pattern_and_a_file_are_found(bucket):
    def names(url, **given):
        return [each.removeprefix("memory://").lstrip("/") for each in remote.find(url, **given)]

    assert names(bucket) == ["faces/a.jpg", "faces/b.jpg", "faces/notes.txt"]
    assert names(bucket, deep=True)[2] == "faces/in/c.jpg"
    assert names(f"{bucket}/*.jpg") == ["faces/a.jpg", "faces/b.jpg"]
    assert remote.find(f"{bucket}/a.jpg") == [f"{bucket}/a.jpg"]
    assert [remote.read(url) for url in remote.find(f"{bucket}/*.jpg")] == [b"a.jpg", b"b.jpg"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("memory://faces/gone.jpg", "no such file; give a file that can be read"),
        ("nosuchkind://faces/a.jpg", "Protocol not known: nosuchkind"),
    ],
)
def test_what_can_not_be_read_is_one_line(bucket, url, says):
    with pytest.raises(InputError) as refused:
        remote.read(url)
    assert says in str(refused.value) and url in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["file:/a/b.jpg", "file:///a.jpg", "C:/a.jpg", "a.jpg", "-", "0"])
def test_names_of_files_here_are_no_urls(name):
    assert not remote.is_url(name)
