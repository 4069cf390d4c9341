from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for all tests of a file: it takes six seconds to start."""
    with Stack(tmp_path_factory.mktemp("stack")).running() as stack:
        yield stack
