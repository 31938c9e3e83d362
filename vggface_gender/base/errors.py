"""Bad input: an error of one line."""

from vggface_gender.base.text import shortened

LONGEST = 2000  # characters of a message: one that quotes a damaged file may be of any length


class InputError(ValueError):
    """Bad input. Its text is one line: what is wrong, where, and what to do about it."""

    def __init__(self, message: str):
        super().__init__(shortened(message, LONGEST))


def first_line(error: Exception) -> str:
    """What an exception of another library says, for an `InputError` to quote."""
    return (str(error).strip() or repr(error)).splitlines()[0]
