"""Faults in the real thing: a stack of its own to break, people who upload to it meanwhile, and what must hold afterwards."""

from tests.faults.invariants import assert_nothing_is_lost
from tests.faults.people import Acknowledged, Person, Traffic
from tests.faults.stack import CSRF, PEOPLE, TO_SWEEP, Stack, pid_of, web_workers

__all__ = [
    "CSRF",
    "PEOPLE",
    "TO_SWEEP",
    "Acknowledged",
    "Person",
    "Stack",
    "Traffic",
    "assert_nothing_is_lost",
    "pid_of",
    "web_workers",
]
