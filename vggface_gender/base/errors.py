"""Bad input, told in one line."""


class InputError(ValueError):
    """Bad input. Its text is one line: what is wrong, where, and what to do about it."""


def first_line(error: Exception) -> str:
    """What an exception of another library says, for an `InputError` to quote."""
    return (str(error).strip() or repr(error)).splitlines()[0]
