"""The files' collection as the admin reads it. It is never written through here: `files.uploads` is the only way."""

from __future__ import annotations

from typing import Any

from django.db import models
from django_mongodb_backend.fields import ArrayField

from .documents import Status
from .kinds import Kind


class StoredFile(models.Model):
    """The same documents as `files.documents.File`; tests/test_admin.py holds the two field by field.

    What MongoEngine leaves out where there is nothing is null here, text too.
    """

    key = models.CharField(primary_key=True, db_column="_id", max_length=1024)
    owner_id = models.CharField("owner", max_length=20)
    name = models.CharField(max_length=256)
    content_type = models.CharField("type", max_length=255)
    size = models.BigIntegerField("size")
    status = models.CharField(max_length=16, choices=[(status.value, status.value) for status in Status])
    created_at = models.DateTimeField("signed")
    ready_at = models.DateTimeField("confirmed", null=True)
    trashed_at = models.DateTimeField("deleted by the owner", null=True)
    expires_at = models.DateTimeField("kept until", null=True)
    etag = models.CharField(max_length=128, null=True)  # noqa: DJ001
    sha256 = models.CharField("SHA-256", max_length=64, null=True)  # noqa: DJ001
    policy = models.CharField(max_length=32, null=True)  # noqa: DJ001
    detected = models.CharField("type by its bytes", max_length=255, null=True)  # noqa: DJ001
    checks = ArrayField(models.CharField(max_length=16), verbose_name="checks to pass", null=True)
    step = models.CharField("check it is at", max_length=16, null=True)  # noqa: DJ001
    attempts = models.IntegerField("checks that began and did not end", null=True)
    check_at = models.DateTimeField("nobody works on it from", null=True)
    reason = models.CharField("rejected for", max_length=32, null=True)  # noqa: DJ001
    rejected_at = models.DateTimeField("rejected", null=True)
    dismissed = models.BooleanField("dismissed by the owner", null=True)
    cleaned = models.CharField("cleaned picture", max_length=1024, null=True)  # noqa: DJ001
    thumbnail = models.CharField(max_length=1024, null=True)  # noqa: DJ001
    kind = models.CharField(max_length=16, choices=[(kind.value, kind.value) for kind in Kind])

    class Meta:
        managed = False
        db_table = "files"
        default_permissions = ("view", "delete")
        permissions = [
            ("cleanup_storedfile", "Can clean up now"),
            ("doctor_storedfile", "Can examine the bucket"),
            ("dashboard_storedfile", "Can see the dashboard"),
            ("recheck_storedfile", "Can have files checked again"),
            ("expire_storedfile", "Can give up uploads now"),
            ("quota_storedfile", "Can set quotas"),
        ]
        verbose_name = "file"

    def __str__(self) -> str:
        return self.name

    @property
    def object_key(self) -> str:
        """Where the bucket has what is downloaded."""
        return self.cleaned or self.key


class MongoRouter:
    """StoredFile is read from MongoDB; everything else lives in the relational database, and only that has migrations."""

    def db_for_read(self, model: type[models.Model], **hints: Any) -> str | None:
        return "mongo" if model is StoredFile else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == "mongo" else None
