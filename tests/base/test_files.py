"""Files: their hashes."""

from vggface_gender.base import files


def test_a_digest_stands_for_the_content(tmp_path):
    for name, content in {"a": "one", "b": "one", "c": "two"}.items():
        (tmp_path / name).write_text(content)
    a, b, c = (files.digest(tmp_path / name) for name in "abc")
    assert a == b != c
