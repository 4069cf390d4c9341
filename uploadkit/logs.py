"""How a line of the log is written."""

import logging
import re

LINK = re.compile(r"/s/[^\s/?\"']+")


class WithoutLinks(logging.Formatter):
    """Leaves out which link was asked for, since whoever reads it has it. Django names the address of all that it refuses."""

    def format(self, record: logging.LogRecord) -> str:
        return LINK.sub("/s/…", super().format(record))
