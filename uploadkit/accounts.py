"""Who comes in, and how: GitHub through allauth, and on a laptop without a GitHub app by name alone."""

from __future__ import annotations

import contextlib
import getpass
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.text import get_text_list
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import allowed

logger = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]  # allauth's own types are not complete
    def add_message(self, request: HttpRequest, level: int, *args: Any, **kwargs: Any) -> None:
        """Say nothing but what went wrong: that one is signed in shows on the page."""
        if level >= messages.ERROR:
            super().add_message(request, level, *args, **kwargs)


class GitHubAdapter(GitHubOAuth2Adapter):  # type: ignore[misc]
    """GitHub, or what stands in its place: an answer of another shape than promised is a sign-in that failed, not a bug."""

    def get_access_token_data(self, *args: Any, **kwargs: Any) -> Any:
        with as_failed_sign_in():
            return super().get_access_token_data(*args, **kwargs)

    def complete_login(self, request: HttpRequest, app: Any, token: Any, **kwargs: Any) -> Any:
        """Who came back from GitHub. Nothing is written yet, be it a new user, one who was here before, or a second way in."""
        with as_failed_sign_in():
            login = super().complete_login(request, app, token, **kwargs)
        uid, name = login.account.uid, str(login.account.extra_data.get("login") or "")
        if not uid.isdecimal():  # str(None) would be one account for everybody
            raise OAuth2Error("GitHub named no user")
        if sentence := allowed.why_not(uid, name, lambda organisation: self.membership(organisation, token.token)):
            logger.info("GitHub's user %s, %r, may not sign in here", uid, name)
            raise ImmediateHttpResponse(not_allowed(request, sentence))
        return login

    def membership(self, organisation: str, token: str) -> allowed.Membership:
        headers = {"Authorization": f"token {token}"}
        with get_adapter().get_requests_session() as session:
            answer = session.get(f"{self.api_url}/user/memberships/orgs/{organisation}", headers=headers)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return allowed.Membership.NONE
        if answer.status_code == HTTPStatus.FORBIDDEN and not is_rate_limit(answer.headers):
            # The organisation has not approved our OAuth app, or wants its own sign-in first: GitHub says which.
            logger.warning("GitHub does not tell who is a member of %s: %r", organisation, answer.text[:500])
            return allowed.Membership.UNTOLD
        answer.raise_for_status()
        with as_failed_sign_in():
            return allowed.Membership(answer.json()["state"])


def is_rate_limit(headers: Mapping[str, str]) -> bool:
    return "Retry-After" in headers or headers.get("X-RateLimit-Remaining") == "0"


@contextlib.contextmanager
def as_failed_sign_in() -> Iterator[None]:
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ImproperlyConfigured) as error:
        raise OAuth2Error(f"GitHub's answer is not what it should be: {error!r}") from error


def with_github(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The view, by GET and POST alone: HEAD and OPTIONS pass the CSRF check and would start a sign-in."""

    @require_http_methods(["GET", "POST"])
    def guarded(request: HttpRequest) -> HttpResponse:
        if not github_is_set_up():
            raise Http404
        return view(request)

    return guarded


github_login = with_github(OAuth2LoginView.adapter_view(GitHubAdapter))
github_callback = with_github(OAuth2CallbackView.adapter_view(GitHubAdapter))


@require_safe
def landing(request: HttpRequest) -> HttpResponse:
    """What this is, at one glance. Asks no database, so that it stands when they are down."""
    return render(request, "landing.html")


@require_safe
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    following = local_path(request, request.GET.get("next", ""))
    if request.user.is_authenticated:
        return redirect(following or settings.LOGIN_REDIRECT_URL)
    context = {
        "next": following,
        "github": github_is_set_up(),
        "organisations": get_text_list(settings.GITHUB_ALLOWED_ORGS),
        "laptop_user": laptop_user(),
    }
    return render(request, "login.html", context)


@require_POST
def laptop_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by name alone, through allauth's dummy provider. Exists only where LAPTOP_SIGN_IN is on."""
    if not settings.LAPTOP_SIGN_IN:
        raise Http404
    name = request.POST.get("name") or laptop_user()
    if not re.fullmatch(r"[\w.@+-]{1,64}", name):
        return render(
            request,
            "login.html",
            {"error": _("A name has letters, digits and . @ + - _ only."), "laptop_user": laptop_user()},
            status=400,
        )
    provider = get_adapter().get_provider(request, "dummy")
    login = provider.sociallogin_from_response(request, {"id": name, "username": name})
    login.state = {"process": "login", "next": local_path(request, request.POST.get("next", "")) or None}
    response: HttpResponse = complete_social_login(request, login)
    return response


@require_safe
def inactive(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "error.html",
        {"heading": _("Closed"), "sentence": _("This account was closed. Ask whoever runs this site.")},
        status=403,
    )


def not_allowed(request: HttpRequest, sentence: str) -> HttpResponse:
    return render(request, "not_allowed.html", {"heading": _("Not let in"), "sentence": sentence}, status=403)


def local_path(request: HttpRequest, url: str) -> str:
    """`url` if it stays on this site, else nothing: a sign-in must not send people elsewhere."""
    safe = url_has_allowed_host_and_scheme(url, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return url if safe else ""


def github_is_set_up() -> bool:
    return bool(settings.GITHUB_CLIENT_ID)


def laptop_user() -> str:
    if not settings.LAPTOP_SIGN_IN:
        return ""
    try:
        return re.sub(r"[^\w.@+-]", "", getpass.getuser()) or "me"
    except (KeyError, OSError):  # a container's user that has no name
        return "me"
