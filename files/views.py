"""The pages and their fragments. A fragment is what HTMX asks for at the page's own address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.decorators.vary import vary_on_headers

from . import uploads
from .documents import Cursor, File, Row, Status
from .errors import SignedOut
from .forms import KeyForm, checked

PAGE_SIZE = 50


def signed_in(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Give the view the owner id. A stranger goes to sign in; a fragment, which cannot, is told to."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, str(request.user.pk), *args, **kwargs)
        if request.headers.get("HX-Request"):
            raise SignedOut
        return redirect_to_login(request.get_full_path() if request.method != "POST" else reverse("files:list"))

    return never_cache(wrapper)


def as_rows(files: Sequence[Row], more: str | None = None) -> str:
    """The rows of these files, and a way to those behind the place `more`."""
    # Jinja has escaped what is in them; its backend does not say so as Django's own does.
    return mark_safe(render_to_string("files/_rows.jinja", {"files": files, "more": more}, using="compiled"))  # noqa: S308


@require_safe
@signed_in
@vary_on_headers("HX-Request")
def file_list(request: HttpRequest, owner_id: str) -> HttpResponse:
    """The owner's ready files, newest first, a page at a time from behind `after`."""
    try:
        after = Cursor.decode(request.GET["after"]) if request.GET.get("after") else None
    except ValueError as error:
        raise BadRequest("The address has no page of your files.") from error
    # One more than the page shows whether there is a next.
    files = File.page(owner_id, after, PAGE_SIZE + 1)
    rows = as_rows(files[:PAGE_SIZE], files[PAGE_SIZE - 1].place.encode() if len(files) > PAGE_SIZE else None)
    if request.headers.get("HX-Request"):
        return HttpResponse(rows)
    context = {"rows": rows, "later_page": after is not None, "max_size": settings.MAX_UPLOAD_SIZE}
    if after is None:
        # Which of them have arrived HTMX asks behind the page, which so needs no bucket.
        pending = File.unfinished(owner_id, uploads.UNFINISHED_SHOWN)
        context["unfinished"] = [uploads.Unfinished(file, None) for file in pending]
    return render(request, "files/list.html", context)


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
    file = uploads.confirm(owner_id, checked(KeyForm(request.POST))["key"])
    return HttpResponse(as_rows([file.row()])) if request.headers.get("HX-Request") else redirect("files:list")


@require_POST
@signed_in
def discard(request: HttpRequest, owner_id: str) -> HttpResponse:
    """Give up an upload that nobody confirmed."""
    uploads.cancel(owner_id, checked(KeyForm(request.POST))["key"])
    return HttpResponse() if request.headers.get("HX-Request") else redirect("files:list")


@require_safe
@signed_in
def download(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    file = uploads.fetch(owner_id, key, Status.READY)
    return redirect(uploads.download_url(file))


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
def delete(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """Ask on GET, delete on POST; HTMX has asked already, and takes the row away itself."""
    if request.method != "POST":
        return render(request, "files/delete.html", {"file": uploads.fetch(owner_id, key, Status.READY)})
    uploads.delete(owner_id, key)
    return HttpResponse() if request.headers.get("HX-Request") else redirect("files:list")
