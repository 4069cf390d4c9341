from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One for all tests of a file: it takes six seconds to start."""
    with Stack(tmp_path_factory.mktemp("stack")).running() as stack:
        yield stack
