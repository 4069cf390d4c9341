"""stub"""

from typing import BinaryIO


class Unavailable(Exception): ...


def scan(stream: BinaryIO) -> str | None:
    return None
