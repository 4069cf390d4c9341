"""What the web server runs."""

import os
from collections.abc import Mapping
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "uploadkit.settings")


class Request(WSGIRequest):
    """A Content-Type that cannot be read is none; Django's own parser raises, where nothing is there yet to answer for it.

    Nor is a charset believed: all our clients write UTF-8, and Python knows charsets that no text can be read by.
    """

    def _set_content_type_params(self, meta: Mapping[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (ValueError, TypeError, LookupError):
            self.content_type, self.content_params = "", {}


class Handler(WSGIHandler):
    request_class = Request


django.setup(set_prefix=False)

from files.checks import refuse_to_start  # noqa: E402  asks for settings

refuse_to_start()
application = Handler()
