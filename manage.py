#!/usr/bin/env python
import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "uploadkit.settings")
    if sys.argv[1:2] != ["dev"]:
        # What a running `make run` left for commands beside it. The site itself must never take its DEBUG from there.
        os.environ.setdefault("ENV_FILES", ".env var/local.env")
    execute_from_command_line(sys.argv)
