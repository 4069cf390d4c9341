"""The JSON endpoints as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1).

Limits come from the forms and the settings, codes and statuses from the refusals themselves. What only the endpoints know is
written out here, and tests/test_openapi.py holds it against their answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, cast

from django import forms
from django.conf import settings
from django.urls import reverse

from . import names, policies, storage, uploads
from .diagnosis import Cause, Diagnosis
from .documents import File, Status, Used
from .errors import RETRY_AFTER, SignedOut
from .forms import MAX_BODY, SHA256, Invalid, KeyForm, SignForm
from .limits import WINDOW, TooMany, Window
from .quotas import Full, Standing
from .reasons import Reason
from .refusals import Refusal
from .storage import Head

Json = dict[str, Any]
NOTHING: Json = {}

ABOUT = f"""Files go straight from the client to the bucket, in three steps: **sign** answers a URL, the client sends the bytes
there with a PUT, and **confirm** makes the file one of the user's. **cancel** gives an upload up instead, and **diagnose**
says why a PUT failed of which the client saw no more than that.

A file is `ready` when the server has seen that it is what it claims to be. Where that takes longer than a request, confirm
answers 202 and the file is `checking`: confirm it again, every few seconds, until it answers 200, or 422 `rejected` with a
`reason` for programs beside the sentence. A file that was rejected is gone, and its record is kept for a while.

Requests are JSON objects in UTF-8 of at most {MAX_BODY} bytes, with a Content-Length: a chunked body is taken for an empty one.
Their Content-Type is not looked at. Fields that are not listed are ignored; of one that comes twice the last counts.

Every refusal has the shape of `Error`. An address below /api/ that is not listed is 404 `not_found`, also to a stranger."""

SESSION = "The session of somebody who signed in with a browser. One that ended is 401 `signed_out`."
CSRF = (
    "The value of the CSRF cookie. If it is missing or differs it is 403 `csrf`. So is an `Origin` that is not the site's, and \
over HTTPS a request without `Origin` whose `Referer` is not one of the site's pages."
)
FILENAME = (
    f"The name to show and to download by. Kept in NFC and without its path, control characters, and characters that turn \
the direction of text; 1 to {names.MAX_LENGTH} characters must be left."
)
CONTENT_TYPE = (
    "type/subtype of RFC 9110; parameters are dropped. Guessed from the filename if it is empty or missing. A name that ends \
otherwise than files of the type do is 400."
)
CAUSE = (
    "A sentence for a person: what happened and what to do. By the cause: `arrived` (confirm it), `expired`, `unknown` (the \
client's network) and `unreachable` (the bucket is down) are worth another try with a new URL, `clock` and `origin` (the \
bucket's CORS rule) are for whoever runs the site."
)
CHECKSUM = (
    "Of the bytes, in hex. The bucket then refuses any others with 400 `BadDigest`. Not signed if it is empty or missing."
)
POLICY = (
    "What the upload may be, and what becomes of it. That of `default` if it is empty or missing; one that is not here is 400. "
    "Over its size is 413, another type or ending is 415, more files than it gives in 24 hours are 429."
)
CHECKING = "The bytes are there, and are being checked. Confirm again, to see how it stands."
SIZE = "Bytes. An integer without fraction or exponent: 5, not 5.0 and not 5e0."


def document() -> Json:
    return {
        "openapi": "3.1.0",
        "info": {"title": "uploadkit", "version": "1.0", "description": ABOUT},
        "servers": [{"url": "/"}],
        "paths": {
            reverse("files:openapi"): {"get": described()},
            reverse("files:api_sign"): {"post": sign()},
            reverse("files:api_confirm"): {"post": confirm()},
            reverse("files:api_cancel"): {"post": cancel()},
            reverse("files:api_diagnose"): {"post": diagnose()},
        },
        "components": {
            "schemas": {"Error": ERROR, "Key": KEY, "SignedUpload": SIGNED_UPLOAD, "File": FILE},
            "headers": HEADERS,
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME, "description": SESSION},
                "csrfCookie": {"type": "apiKey", "in": "cookie", "name": settings.CSRF_COOKIE_NAME},
                "csrfToken": {"type": "apiKey", "in": "header", "name": "X-CSRFToken", "description": CSRF},
            },
        },
    }


# --- what the endpoints answer ----------------------------------------------------------------------------------------


def sign() -> Json:
    named = dict(policies.all_named())
    fields = {
        "filename": {"type": "string", "minLength": 1, "maxLength": names.MAX_LENGTH, "description": FILENAME},
        "contentType": {
            "type": ["string", "null"],
            "maxLength": most(SignForm, "contentType"),
            "pattern": f"^({names.CONTENT_TYPE.pattern})?$",
            "description": CONTENT_TYPE,
        },
        "size": {
            "type": "integer",
            "minimum": 1,
            "maximum": max(policy.max_size for policy in named.values()),
            "description": SIZE,
        },
        "policy": {"enum": [*named, "", None], "description": POLICY + "".join(map(described_policy, named, named.values()))},
        "sha256": {"type": ["string", "null"], "pattern": f"^({SHA256.pattern})?$", "description": CHECKSUM},
    }
    example = {"filename": "report.pdf", "contentType": "application/pdf", "size": 52310}
    refused = [
        Invalid.of(SignForm({})),
        Invalid.of(SignForm({"filename": "report.pdf", "size": settings.MAX_UPLOAD_SIZE + 1})),
        Invalid(WRONG_TYPE, "type_not_allowed", {"contentType": WRONG_TYPE}),
        Full(Standing(Used(12, 1_000_000_000), 500, 1_073_741_824), 80_000_000),
        TooMany("You can start 20 uploads a minute. Try again in 37 s.", 37, Window(20, 0, 37).headers()),
    ]
    answer = ok(ref("schemas", "SignedUpload"), EXAMPLE_SIGNED, "Cache-Control", "RateLimit", "RateLimit-Policy")
    answer["links"] = {name: link(name) for name in ("confirm", "cancel", "diagnose")}
    return post("sign", "Start an upload", request_body(SignForm, fields, example), answer, refused)


def described_policy(name: str, policy: policies.Policy) -> str:
    endings = "" if policy.extensions == ("*",) else f", names that end in {', '.join(policy.extensions)}"
    a_day = f", {policy.max_files} files a day" if policy.max_files else ""
    return f"\n- `{name}`: {', '.join(policy.content_types)}{endings}, up to {policy.max_size} bytes{a_day}"


def confirm() -> Json:
    file = File(size=52310, content_type="application/pdf")
    refused = [
        *(uploads.NotFound(), uploads.NotUploaded(), uploads.Mismatch(file, Head(0, "application/pdf", ""))),
        uploads.Rejected(Reason.MALWARE),
    ]
    ready = ok(confirmed(Status.READY), {"ok": True, "file": EXAMPLE_FILE})
    waits = {**EXAMPLE_FILE, "status": Status.CHECKING, "readyAt": None}
    checking = {**ok(confirmed(Status.CHECKING), {"ok": True, "file": waits}), "description": CHECKING}
    return post(
        "confirm",
        "Say that the bytes arrived; again as often as you like",
        key_body(),
        ready,
        [Invalid.of(KeyForm({})), *refused],
        more={"202": checking},
    )


def confirmed(status: Status) -> Json:
    ready_at = {"type": "string"} if status == Status.READY else {"type": "null"}
    file = {**ref("schemas", "File"), "properties": {"status": {"const": status}, "readyAt": ready_at}}
    return exactly(ok={"const": True}, file=file)


def cancel() -> Json:
    refused = [uploads.NotFound(), uploads.AlreadyReady()]
    return post(
        "cancel",
        "Give an upload up",
        key_body(),
        ok(exactly(ok={"const": True}), {"ok": True}),
        [Invalid.of(KeyForm({})), *refused],
    )


def diagnose() -> Json:
    answer = exactly(cause={"enum": list(Cause)}, message={"type": "string", "pattern": r"\.$", "description": CAUSE})
    example = {"cause": Cause.ORIGIN, "message": Diagnosis(Cause.ORIGIN).message}
    refused = [Invalid.of(KeyForm({})), uploads.NotFound()]
    return post("diagnose", "Ask why the bytes could not be sent", key_body(), ok(answer, example), refused)


def described() -> Json:
    answer = {**ok({"type": "object"}, None, "Cache-Control"), "description": "This document."}
    refused = [BAD_REQUEST, wrong_method("Ask for this with a GET.", "GET, HEAD"), BUSY_ADDRESS]
    return {"operationId": "describe", "summary": "This document", "responses": {"200": answer, **refusals(refused)}}


def post(name: str, summary: str, body: Json, answer: Json, refused: list[Refusal], more: Json = NOTHING) -> Json:
    everywhere = [BAD_REQUEST, SignedOut(), FORGED, wrong_method("Send this as a POST.", "POST"), BUSY_ADDRESS, UNAVAILABLE]
    return {
        "operationId": name,
        "summary": summary,
        "security": [{"session": [], "csrfCookie": [], "csrfToken": []}],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": answer, **more, **refusals([*everywhere, *refused])},
    }


def ok(schema: Json, example: Json | None, *headers: str) -> Json:
    content = {"schema": schema, **({"example": example} if example else {})}
    return {
        "description": "Done.",
        "headers": {name: ref("headers", name) for name in headers},
        "content": {"application/json": content},
    }


def refusals(refused: Iterable[Refusal]) -> Json:
    """A response for each status, with the codes it may have and an example of each."""
    by_status: dict[int, list[Refusal]] = {}
    for refusal in sorted(refused, key=lambda refusal: refusal.status):
        by_status.setdefault(refusal.status, []).append(refusal)
    return {str(int(status)): response(HTTPStatus(status), same) for status, same in by_status.items()}


def response(status: HTTPStatus, refused: list[Refusal]) -> Json:
    codes = sorted({refusal.code for refusal in refused})
    headers = ["Cache-Control", *dict.fromkeys(name for refusal in refused for name in refusal.headers or {})]
    schema = {**ref("schemas", "Error"), "properties": {"code": {"enum": codes}}}
    return {
        "description": f"{status.phrase}: {' or '.join(f'`{code}`' for code in codes)}.",
        "headers": {name: ref("headers", name) for name in headers},
        "content": {"application/json": {"schema": schema, "examples": {r.code: {"value": example(r)} for r in refused}}},
    }


def example(refusal: Refusal) -> Json:
    known = {"fields": refusal.fields, "reason": refusal.reason, "left": refusal.left}
    more = {name: value for name, value in known.items() if value}
    return {"error": str(refusal), "code": refusal.code, **more}


def said(status: HTTPStatus, code: str, sentence: str, **headers: str) -> Refusal:
    """A refusal that is no exception of its own where it is made."""
    refusal = Refusal(sentence)
    refusal.status, refusal.code = status, code
    refusal.headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal


def wrong_method(sentence: str, allow: str) -> Refusal:
    return said(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", sentence, Allow=allow)


BAD_REQUEST = said(
    HTTPStatus.BAD_REQUEST, "bad_request", "The request is malformed or too large. Reload the page and try again."
)
FORGED = said(HTTPStatus.FORBIDDEN, "csrf", "The page is out of date or its cookie is missing. Reload it and try again.")
UNAVAILABLE = said(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "unavailable",
    "MongoDB does not answer. Nothing is lost; try again in a few seconds.",
    Retry_After=str(RETRY_AFTER),
)
BUSY_ADDRESS = TooMany("Too many requests from your address. Try again in 37 s.", 37)
WRONG_TYPE = "Files of type text/html are not accepted here, only image/*."


# --- what is sent -----------------------------------------------------------------------------------------------------


def request_body(form: type[forms.Form], properties: Json, example: Json) -> Json:
    required = [name for name, field in form.base_fields.items() if field.required]
    schema = {"type": "object", "required": required, "properties": properties, "additionalProperties": True}
    return {"schema": schema, "example": example}


def key_body() -> Json:
    key = {**ref("schemas", "Key"), "minLength": 1, "maxLength": most(KeyForm, "key")}
    return request_body(KeyForm, {"key": key}, {"key": EXAMPLE_KEY})


def link(name: str) -> Json:
    return {"operationId": name, "requestBody": {"key": "$response.body#/key"}}


def most(form: type[forms.Form], name: str) -> int | None:
    return cast("forms.CharField", form.base_fields[name]).max_length


# --- parts ------------------------------------------------------------------------------------------------------------


def ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def exactly(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def moment(description: str) -> Json:
    return {"type": "string", "format": "date-time", "pattern": "Z$", "description": f"{description} RFC 3339, in UTC."}


EXAMPLE_KEY = "u/7/V1StGXR8_Z5jdHi6B-myT-report.pdf"
EXAMPLE_SIGNED = {
    "url": f"https://bucket.example.com/files/{EXAMPLE_KEY}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=7ab1",
    "key": EXAMPLE_KEY,
    "method": "PUT",
    "headers": {"Content-Type": "application/pdf", "If-None-Match": "*"},
    "expiresAt": "2030-01-31T12:01:00.250000Z",
}
EXAMPLE_FILE = {
    "key": EXAMPLE_KEY,
    "name": "report.pdf",
    "contentType": "application/pdf",
    "size": 52310,
    "status": Status.READY,
    "policy": policies.DEFAULT,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "readyAt": "2030-01-31T12:00:12.125000Z",
}

KEY = {"type": "string", "pattern": f"^{names.KEY.pattern}$", "description": "Names an upload, and the object in the bucket."}
SIGNED_UPLOAD = exactly(
    url={"type": "string", "format": "uri", "description": "Good for one PUT of exactly what was asked for."},
    key=ref("schemas", "Key"),
    method={"const": "PUT"},
    headers={"type": "object", "additionalProperties": {"type": "string"}, "description": "To be sent to the letter."},
    expiresAt=moment(f"When the URL ends, {storage.URL_LIVES} s after it was signed."),
)
FILE = exactly(
    key=ref("schemas", "Key"),
    name={"type": "string", "minLength": 1, "maxLength": names.MAX_LENGTH},
    contentType={"type": "string"},
    size={"type": "integer", "minimum": 1, "description": "Bytes; of a picture that was encoded anew, those it has now."},
    status={"enum": [Status.CHECKING, Status.READY]},
    policy={"type": "string", "description": "The one that it was signed under."},
    sha256={"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$", "description": "Of its bytes; null if unknown."},
    readyAt={**moment("When it became `ready`; null until then."), "type": ["string", "null"]},
)
ERROR = {
    "type": "object",
    "required": ["error", "code"],
    "properties": {
        "error": {"type": "string", "pattern": r"\.$", "description": "A sentence for a person."},
        "code": {"type": "string", "pattern": "^[a-z]+(_[a-z]+)*$", "description": "For programs; it never changes."},
        "fields": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {"type": "string", "pattern": r"\.$"},
            "description": "A sentence for each field at fault.",
        },
        "left": {
            **exactly(files={"type": ["integer", "null"]}, bytes={"type": ["integer", "null"]}),
            "description": "Beside `quota`: how many files, and bytes, there is room for; null where there is no limit.",
        },
        "reason": {"enum": list(Reason), "description": "Beside `rejected`: why, for programs; these never change."},
    },
    "additionalProperties": False,
}
HEADERS: Json = {
    "Allow": {"required": True, "schema": {"type": "string"}},
    "Cache-Control": {"required": True, "schema": {"type": "string"}},
    "Retry-After": {
        "required": True,
        "description": "Seconds after which it is worth another try.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit": {
        "description": "How many signings the user has left, and in how many seconds the next one frees up "
        "(draft-ietf-httpapi-ratelimit-headers-10). Absent where an address, or one file more a day, was refused.",
        "schema": {"type": "string", "pattern": r'^"sign";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": "How many signings a user may make in any 60 s.",
        "schema": {"type": "string", "pattern": rf'^"sign";q=[0-9]+;w={WINDOW}$'},
    },
}
