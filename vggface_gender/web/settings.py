"""What a server allows, and the refusal of what it does not."""

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits and choices of one server; all hold for a request unless said otherwise."""

    max_bytes: int = 20 * MIB  # of its body
    max_pixels: int = 50_000_000  # of a photo; a phone's have 12 to 50 millions
    max_faces: int = 100  # of a photo, and crops of an inference
    queue: int = 32  # photos that are received, waited for or answered at one time, of all requests
    timeout: float = 60.0  # seconds, from its first byte to its answer
    threads: int = 1  # that photos are read and searched for faces in
    race: bool = False  # whether the perceived race is answered
    token: str | None = None  # that clients have to know


class Refusal(Exception):
    """A request that is not answered: the HTTP status, and one line that says why."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
