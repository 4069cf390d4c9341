"""The pages of links: the owner's, which makes and revokes them, and the visitor's, which knows no session."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from http import HTTPStatus

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from . import limits, previews, shares, uploads
from .documents import File, Share, Status
from .forms import SHARE_LIVES, ShareForm, SharePasswordForm
from .views import signed_in

FOR_NOBODY_ELSE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
COOKIE = "share"
COOKIE_LIVES = 60 * 60  # seconds


# --- the owner's --------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@signed_in
@vary_on_headers("HX-Request")
def share(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    """The links of a file, and on POST one more."""
    file = uploads.fetch(owner_id, key, Status.READY)
    if request.method != "POST":
        return links(request, file, ShareForm(initial={"expires": "week"}))
    form = ShareForm(request.POST)
    if form.is_valid():
        wanted = form.cleaned_data
        lives, _words = SHARE_LIVES[wanted["expires"]]
        try:
            made = shares.create(owner_id, key, lives=lives, password=wanted["password"], limit=wanted["limit"])
        except shares.TooManyLinks as error:
            form.add_error(None, str(error))
        else:
            return done(request, file, made)
    return links(request, file, form)


@require_POST
@signed_in
def revoke(request: HttpRequest, owner_id: str, key: str) -> HttpResponse:
    file = uploads.fetch(owner_id, key, Status.READY)
    shares.revoke(owner_id, key, request.POST.get("token", ""))
    return done(request, file)


def done(request: HttpRequest, file: File, made: Share | None = None) -> HttpResponse:
    """What follows an act: the dialog anew, or the page by a redirect, so that reloading it does not act again."""
    if not request.headers.get("HX-Request"):
        return redirect("files:share", file.key)
    return links(request, file, ShareForm(initial={"expires": "week"}), made)


def links(request: HttpRequest, file: File, form: ShareForm, made: Share | None = None) -> HttpResponse:
    """The links, and the form for one more, in the dialog or on a page."""
    in_a_dialog = bool(request.headers.get("HX-Request"))
    context = {
        "file": file,
        "form": form,
        "links": [
            (link, request.build_absolute_uri(reverse("files:shared", args=[link.token])))
            for link in shares.links_to(file.owner_id, file.key)
        ],
        "made": made and made.token,
        "in_a_dialog": in_a_dialog,
    }
    # HTMX swaps in what is no error alone, and a form with its errors is to be seen.
    status = HTTPStatus.BAD_REQUEST if form.errors and not in_a_dialog else HTTPStatus.OK
    return render(request, "files/_share.html" if in_a_dialog else "files/share.html", context, status=status)


# --- the visitor's ------------------------------------------------------------------------------------------------------


def for_visitors(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A page of whoever has the link. It is never kept, indexed or named to another site.

    No CSRF cookie: to make somebody open a link takes the link and its password, with which one opens it oneself. So all
    visitors get the same bytes.
    """

    @wraps(view)
    def wrapper(request: HttpRequest, token: str) -> HttpResponse:
        response = view(request, token)
        for name, value in FOR_NOBODY_ELSE.items():
            response.headers[name] = value
        return response

    return csrf_exempt(wrapper)


@require_http_methods(["GET", "HEAD", "POST"])
@for_visitors
def shared(request: HttpRequest, token: str) -> HttpResponse:
    """The file behind a link. A link with a password and one that is no more ask for a password alike."""
    link = shares.find(token)
    if link and is_open(request, link.share):
        # A preview is a download that nobody counts, so a link that counts them has none.
        left = max(1, int((link.share.expires_at - uploads.now()).total_seconds()))  # a preview ends with its link
        preview = None if link.share.limit else previews.preview_of(link.file, at_most=left)
        return render(request, "files/shared.html", {"link": link.share, "file": link.file, "preview": preview})
    if request.method != "POST":
        return render(request, "files/shared_locked.html")
    limits.spend_password(request, token)
    form = SharePasswordForm(request.POST)
    password = form.cleaned_data["password"] if form.is_valid() else ""
    if not shares.opens(link, password) or link is None:
        return render(request, "files/shared_locked.html", {"wrong": True}, status=HTTPStatus.FORBIDDEN)
    return opened(link.share)


@require_POST
@for_visitors
def download(request: HttpRequest, token: str) -> HttpResponse:
    """Count, and go to the bucket. By POST, so that whatever follows links by itself uses up none."""
    link = shares.find(token)
    url = shares.download_url(link) if link and is_open(request, link.share) else None
    return redirect(url or reverse("files:shared", args=[token]))


def opened(share: Share) -> HttpResponse:
    """Remember for an hour that this browser knew the password. Whether the link still lives is asked at each request."""
    here = reverse("files:shared", args=[share.token])
    response = redirect(here)
    response.set_signed_cookie(
        *(COOKIE, "open"),
        salt=_salt(share),
        max_age=COOKIE_LIVES,
        path=here,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


def is_open(request: HttpRequest, share: Share) -> bool:
    if share.password is None:
        return True
    return request.get_signed_cookie(COOKIE, None, salt=_salt(share), max_age=COOKIE_LIVES) is not None


def _salt(share: Share) -> str:
    """What a cookie is good for: this link, with this password."""
    return f"{share.token} {share.password}"
