"""What was typed or posted, checked. Knows no database."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Self

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.http import HttpRequest, RawPostDataException, UnreadablePostError
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from . import content, names, policies
from .kinds import LABELS
from .refusals import Refusal

SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
MAX_BODY = 16 * 1024  # bytes; a sign request with the longest of everything has 4 KiB


MAX_PASSWORD = 128  # characters

# How long a link can be good for.
SHARE_LIVES = {
    "hour": (timedelta(hours=1), _("1 hour")),
    "day": (timedelta(days=1), _("1 day")),
    "week": (timedelta(days=7), _("7 days")),
    "month": (timedelta(days=30), _("30 days")),
}
ORDERS = {"newest": _("Newest first"), "name": _("By name"), "size": _("Largest first")}


class Invalid(Refusal):
    """The request is at fault: `fields` has a sentence for each field, `status` and `code` say what kind of fault."""

    KINDS = {"too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "type_not_allowed": HTTPStatus.UNSUPPORTED_MEDIA_TYPE}

    def __init__(self, message: str, code: str = "invalid", fields: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.fields = fields
        self.status = self.KINDS.get(code, HTTPStatus.BAD_REQUEST)

    @classmethod
    def of(cls, form: forms.Form) -> Invalid:
        """A field that cannot be understood outweighs one that is too large, and that one of a type not allowed."""
        errors = [(field, error) for field, found in form.errors.as_data().items() for error in found]
        _, first = min(errors, key=lambda item: list(cls.KINDS).index(item[1].code) if item[1].code in cls.KINDS else -1)
        code = first.code if first.code in cls.KINDS else "invalid"
        return cls(first.messages[0], code or "invalid", {name: error.messages[0] for name, error in reversed(errors)})


class Text(forms.CharField):
    """A JSON string. CharField itself would take a number or a list and write it out."""

    def to_python(self, value: Any) -> str:
        if value is not None and not isinstance(value, str):
            raise ValidationError(_("Write this as a string."), code="wrong_type")
        return super().to_python(value) or ""


class Whole(forms.IntegerField):
    """A JSON integer: not "12", 12.0 or true."""

    def to_python(self, value: Any) -> int | None:
        if value is not None and type(value) is not int:
            raise ValidationError(_("Write this as a whole number."), code="wrong_type")
        return value


class Shared(dict[str, forms.Field]):
    """Fields that a form does not copy for every request. It does so in case somebody changes them, and here nobody does."""

    def __deepcopy__(self, memo: object) -> Self:
        return self


class SignForm(forms.Form):
    policy = Text(required=False, strip=False)
    filename = Text(strip=False, error_messages={"required": _("The file needs a name.")})
    contentType = Text(required=False, strip=False, max_length=1024)  # noqa: N815  the name outside clients send
    size = Whole(error_messages={"required": _("Say how many bytes the file has.")})
    sha256 = Text(required=False, strip=False)

    # The policy is known before what it allows. The name is shown before the type, and the type is guessed from it where the
    # browser knew none.

    def clean_policy(self) -> str:
        name: str = self.cleaned_data["policy"] or policies.DEFAULT
        if name not in settings.UPLOAD_POLICIES:
            raise ValidationError(_("There is no such policy here. Leave it out, or name one that the site has."), "no_policy")
        return name

    @property
    def _policy(self) -> policies.Policy:
        return policies.policy_for(self.cleaned_data.get("policy", policies.DEFAULT))

    def clean_filename(self) -> str:
        name = _clean(names.clean_filename, self.cleaned_data["filename"])
        if fault := self._policy.fault_of_name(name):
            raise ValidationError(fault, "type_not_allowed")
        return name

    def clean_contentType(self) -> str:  # noqa: N802
        content_type = _clean(names.clean_content_type, self.cleaned_data["contentType"], self.cleaned_data.get("filename", ""))
        if fault := self._policy.fault_of_type(content_type):
            raise ValidationError(fault, "type_not_allowed")
        return content_type

    def clean_size(self) -> int:
        size: int = self.cleaned_data["size"]
        if size < 1:
            raise ValidationError(_("The file is empty. Choose one with something in it."), code="empty")
        most = self._policy.max_size
        if size > most:
            sentence = _("The file has %(size)s; %(limit)s is the most. Choose a smaller one.")
            sizes = {"size": filesizeformat(min(size, 10**18)), "limit": filesizeformat(most)}
            raise ValidationError(sentence % sizes, "too_large")
        return size

    def clean(self) -> dict[str, Any]:
        said = self.cleaned_data
        if {"filename", "contentType"} <= said.keys():
            sentence = content.contradiction(said["contentType"], said["filename"])
            if sentence:
                self.add_error("filename", ValidationError(sentence, code="invalid"))
        return said

    def clean_sha256(self) -> str | None:
        sha256: str = self.cleaned_data["sha256"]
        if sha256 and not SHA256.fullmatch(sha256):
            raise ValidationError(_("The SHA-256 has to be 64 hex digits, as sha256sum prints it. Or leave it out."))
        return sha256.lower() or None


class KeyForm(forms.Form):
    """A key as a string. Whether it is anybody's is for `files.uploads` to say."""

    key = Text(strip=False, max_length=1024, error_messages={"required": _("Say which upload: key is missing.")})


class NameForm(forms.Form):
    """A file's new name."""

    name = forms.CharField(strip=False, error_messages={"required": _("The file needs a name.")})

    def clean_name(self) -> str:
        return _clean(names.clean_filename, self.cleaned_data["name"])


class ShareForm(forms.Form):
    """What a link is made of. A password is optional; so is a number of downloads."""

    expires = forms.ChoiceField(
        choices=[(name, label) for name, (_lives, label) in SHARE_LIVES.items()],
        error_messages={"required": _("Choose how long the link is good for."), "invalid_choice": _("Choose one of the list.")},
    )
    password = forms.CharField(
        required=False,
        strip=False,
        min_length=8,
        max_length=MAX_PASSWORD,
        error_messages={
            "min_length": _("The password is too short: take 8 characters or more."),
            "max_length": _("The password is too long: 128 characters are the most."),
        },
    )
    limit = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=1000,
        error_messages=dict.fromkeys(("invalid", "min_value", "max_value"), _("Write a number from 1 to 1000, or nothing.")),
    )


class SharePasswordForm(forms.Form):
    """What a visitor types to open a link."""

    password = forms.CharField(strip=False, max_length=MAX_PASSWORD)


class ListForm(forms.Form):
    """Which files a list shows, as its address says."""

    q = forms.CharField(required=False, max_length=names.MAX_LENGTH)
    kind = forms.ChoiceField(required=False, choices=LABELS.items())
    sort = forms.ChoiceField(required=False, choices=ORDERS.items())
    after = forms.CharField(required=False)


for form in (SignForm, KeyForm, NameForm, ShareForm, SharePasswordForm, ListForm):
    form.base_fields = Shared(form.base_fields)


def read_json(request: HttpRequest) -> dict[str, Any]:
    """The request's body as a JSON object. Raises Invalid for anything else."""
    try:
        too_long = int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY
        # RecursionError: 16 KiB of "[" are enough for one.
        data = None if too_long else json.loads(request.body)
    except (ValueError, RecursionError, RawPostDataException, UnreadablePostError) as error:
        raise Invalid(gettext("The request is not JSON. Send a JSON object.")) from error
    if too_long:
        sentence = gettext("The request has more than %(size)s. Send a JSON object with the fields alone.")
        raise Invalid(sentence % {"size": filesizeformat(MAX_BODY)})
    if not isinstance(data, dict):
        raise Invalid(gettext("The request is not a JSON object. Send one, like {…}."))
    return data


def checked(form: forms.Form) -> dict[str, Any]:
    """What the form cleaned. Raises Invalid."""
    if not form.is_valid():
        raise Invalid.of(form)
    return form.cleaned_data


def _clean(clean: Any, *values: str) -> str:
    try:
        return clean(*values)  # type: ignore[no-any-return]
    except ValueError as error:
        raise ValidationError(str(error), code="invalid") from error
