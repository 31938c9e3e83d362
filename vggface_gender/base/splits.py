"""What the splits of a dataset are called."""

from vggface_gender.base.text import plain

SPLITS = ("train", "validation", "test")
ALL = "all"  # every record, whatever its split

_WORDS = {
    **{name: name for name in SPLITS},
    **{"training": "train", "val": "validation", "valid": "validation", "testing": "test"},
}


def split(text: str) -> str | None:
    """The split's name for a word that people use for it, else None.

    >>> split("val"), split("Training"), split("holdout")
    ('validation', 'train', None)
    """
    return _WORDS.get(plain(text))
