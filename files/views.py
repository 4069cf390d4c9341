"""The pages and their fragments. A fragment is what HTMX asks for at the page's own address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import add_never_cache_headers, patch_cache_control
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from . import checking, names, previews, quotas, sweeps, uploads, usage
from .documents import File, Row, Status
from .errors import SignedOut
from .forms import ORDERS, Invalid, KeyForm, ListForm, NameForm, checked
from .kinds import LABELS, Kind
from .listing import Cursor, Order, Wanted

PAGE_SIZE = 50
SELECTED_AT_MOST = 5_000  # files to delete at once; settings.DATA_UPLOAD_MAX_NUMBER_FIELDS lets all of them be brought back


def signed_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Give the view the owner id. A stranger goes to sign in; a fragment, which cannot, is told to. Nothing is cached that does
    not say so itself.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            response = view(request, str(request.user.pk), *args, **kwargs)
        elif request.headers.get("HX-Request"):
            raise SignedOut
        else:
            response = redirect_to_login(request.get_full_path() if request.method != "POST" else reverse("files:list"))
        if not response.has_header("Cache-Control"):
            add_never_cache_headers(response)
        return response

    return wrapper


def as_rows(files: Sequence[Row], more: str | None = None, nothing: dict[str, str] | None = None) -> str:
    """The rows of these files, and a way to those at the address `more`; or that what was asked for is not there."""
    context = {"files": files, "more": more, "nothing": nothing}
    # Jinja has escaped what is in them; its backend does not say so as Django's own does.
    return mark_safe(render_to_string("files/_rows.jinja", context, using="compiled"))  # noqa: S308


@require_safe
@signed_in
@vary_on_headers("HX-Request")
def file_list(request: HttpRequest, owner_id: str) -> HttpResponse:
    """The owner's ready files that the address asks for, a page at a time from behind `after`."""
    asked = checked(ListForm(request.GET)) if request.GET else {}
    wanted, after = listing(asked)
    # One more than the page shows whether there is a next.
    files = File.page(owner_id, after, PAGE_SIZE + 1, wanted)
    more = address(asked, files[PAGE_SIZE - 1].place(wanted.order)) if len(files) > PAGE_SIZE else None
    rows = as_rows(files[:PAGE_SIZE], more, nothing=asked if not files and not after else None)
    if request.headers.get("HX-Request"):
        return HttpResponse(rows)
    context = {
        "rows": rows,
        "asked": asked,
        "kinds": LABELS,
        "orders": ORDERS,
        "later_page": after is not None,
        "usage": usage.usage_of(owner_id),
        "room": quotas.standing_of(owner_id),
    }
    if after is None and not wanted.narrowed:
        # Which of them have arrived HTMX asks behind the page, which so needs no bucket.
        pending = File.unfinished(owner_id, uploads.UNFINISHED_SHOWN)
        context["unfinished"] = [uploads.Unfinished(file, None) for file in pending]
        context["in_checking"] = File.in_checking(owner_id, uploads.UNFINISHED_SHOWN)
    return render(request, "files/list.html", context)


def listing(asked: dict[str, str]) -> tuple[Wanted, Cursor | None]:
    """What the address asks for, as the documents understand it."""
    order = Order(asked.get("sort") or Order.NEWEST)
    kind = Kind(asked["kind"]) if asked.get("kind") else None
    try:
        after = Cursor.decode(asked["after"], order) if asked.get("after") else None
    except ValueError as error:
        raise BadRequest("The address has no page of your files.") from error
    return Wanted(tuple(names.words(asked.get("q", ""))), kind, order), after


def address(asked: dict[str, str], place: Cursor) -> str:
    """The address of the page behind that place of the list."""
    kept = {name: value for name, value in asked.items() if value and name != "after"}
    return f"?{urlencode({**kept, 'after': place.encode()})}"


@require_safe
@signed_in
@vary_on_headers("HX-Request")
def unfinished(request: HttpRequest, owner_id: str) -> HttpResponse:
    """The owner's uploads that nobody confirmed, each with the way on that its bytes allow."""
    found = uploads.unfinished(owner_id)
    if not request.headers.get("HX-Request"):
        return render(request, "files/unfinished.html", {"unfinished": found, "asked": True})
    return render(request, "files/_unfinished.html", {"unfinished": found, "asked": True}) if found else HttpResponse()


@require_POST
@signed_in
def confirm(request: HttpRequest, owner_id: str) -> HttpResponse:
    """What an upload's row turns into once the bucket has the file."""
    file = checking.confirm(owner_id, checked(KeyForm(request.POST))["key"])
    return as_it_is(request, file) if request.headers.get("HX-Request") else redirect("files:list")


def as_it_is(request: HttpRequest, file: File) -> HttpResponse:
    """The row of a file that is READY, or that is being checked or was rejected."""
    if file.status == Status.READY:
        return HttpResponse(as_rows([file.row()]))
    return render(request, "files/_checking.html", {"files": [file]})


@require_POST
@signed_in
def discard(request: HttpRequest, owner_id: str) -> HttpResponse:
    """Give up an upload that nobody confirmed."""
    uploads.cancel(owner_id, checked(KeyForm(request.POST))["key"])
    return HttpResponse() if request.headers.get("HX-Request") else redirect("files:list")


@require_safe
@signed_in
@vary_on_headers("HX-Request")
def preview(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """Show one file, in the list's dialog or on a page of its own."""
    file = uploads.fetch(owner_id, key, Status.READY)
    template = "files/_file.html" if request.headers.get("HX-Request") else "files/file.html"
    return render(request, template, {"file": file, "preview": previews.preview_of(file)})


@require_safe
@signed_in
def download(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    file = uploads.fetch(owner_id, key, Status.READY)
    return redirect(uploads.download_url(file))


@require_safe
@signed_in
def row(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """A file as the list has it, for whoever does not rename it after all. A row that waits for checks says what it has `seen`:
    while that is how it stands, there is nothing to swap.
    """
    file = uploads.fetch(owner_id, key, Status.READY, Status.CHECKING, Status.REJECTED)
    if file.status == Status.CHECKING and request.GET.get("seen") == file.stage:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return as_it_is(request, file)


@require_POST
@signed_in
def dismiss(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """Take the row of a rejected file away."""
    uploads.dismiss(owner_id, key)
    return HttpResponse() if request.headers.get("HX-Request") else redirect("files:list")


@require_safe
@signed_in
def thumbnail(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """Where the bucket shows a small picture of the file. Browsers may keep the answer for as long as its URL is good."""
    file = uploads.fetch(owner_id, key, Status.READY)
    if not file.thumbnail:
        raise uploads.NotFound
    response = redirect(previews.thumbnail_url(file))
    patch_cache_control(response, private=True, max_age=previews.LOADED_IN_PARTS // 2)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@vary_on_headers("HX-Request")
def rename(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """Ask for the new name in the row or on a page of its own; then show the file under it."""
    in_the_row = request.headers.get("HX-Request")
    if request.method != "POST":
        template = "files/_rename.html" if in_the_row else "files/rename.html"
        return render(request, template, {"file": uploads.fetch(owner_id, key, Status.READY)})
    file = uploads.rename(owner_id, key, checked(NameForm(request.POST))["name"])
    return HttpResponse(as_rows([file.row()])) if in_the_row else redirect("files:list")


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """Ask on GET; delete on POST, and offer to undo it."""
    if request.method != "POST":
        return render(request, "files/delete.html", {"file": uploads.fetch(owner_id, key, Status.READY)})
    return trash(request, owner_id, [key])


@require_POST
@signed_in
def delete_several(request: HttpRequest, owner_id: str) -> HttpResponse:
    return trash(request, owner_id, request.POST.getlist("key"))


def trash(request: HttpRequest, owner_id: str, keys: list[str]) -> HttpResponse:
    """Delete, and offer to undo it: by a message for HTMX, on a page for a browser without JavaScript."""
    if len(keys) > SELECTED_AT_MOST:
        sentence = _("These are more than %(count)d files. Select fewer, and delete them in several steps.")
        raise Invalid(sentence % {"count": SELECTED_AT_MOST})
    gone = uploads.trash(owner_id, keys)
    if not gone:
        raise uploads.NotFound
    template = "files/_trashed.html" if request.headers.get("HX-Request") else "files/trashed.html"
    return render(request, template, {"keys": keys, "gone": gone, "undo_for": sweeps.TRASH_LIVES.seconds})


@require_POST
@signed_in
def restore(request: HttpRequest, owner_id: str) -> HttpResponse:
    """Undo a deletion."""
    back = uploads.restore(owner_id, request.POST.getlist("key"))
    if not back:
        raise uploads.NotFound
    return (
        render(request, "files/_restored.html", {"back": back}) if request.headers.get("HX-Request") else redirect("files:list")
    )
