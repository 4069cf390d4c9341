"""{% uploader %}: what a policy takes, said on the page that has it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import engines
from django.utils.translation import override

from files import uploads
from files.documents import File
from files.policies import Policy
from files.templatetags.uploader import accept, limits

MB = 1024 * 1024


def policy(**said: Any) -> Policy:
    return Policy(**{"max_size": 5 * MB, "content_types": ("*/*",), "pending_lives": timedelta(hours=1), "scan": False, **said})


def page(name: str) -> str:
    return engines["django"].from_string(f'{{% load uploader %}}{{% uploader "{name}" %}}').render({})


@pytest.mark.parametrize(
    ("said", "words", "offered"),
    [
        ({}, "As many as you like, up to 5.0\xa0MB each", ""),
        ({"max_files": 1}, "Up to 5.0\xa0MB each, 1 a day at most", ""),
        ({"content_types": ("image/*",), "max_files": 100}, "Images up to 5.0\xa0MB each, 100 a day at most", "image/*"),
        (
            {"content_types": ("image/*", "application/pdf", "font/*", "application/x-unheard-of")},
            "Images, PDF, font/*, application/x-unheard-of up to 5.0\xa0MB each",
            "image/*,application/pdf,font/*,application/x-unheard-of",
        ),
        # By the endings, where there are some: a browser would offer whatever has one or the other.
        ({"content_types": ("image/*",), "extensions": ("jpg", "png")}, "JPG, PNG up to 5.0\xa0MB each", ".jpg,.png"),
        ({"extensions": ("jp*",)}, "As many as you like, up to 5.0\xa0MB each", ""),
    ],
)
def test_limits_are_in_words_and_the_browser_offers_what_is_taken(said: dict[str, Any], words: str, offered: str) -> None:
    assert limits(policy(**said)) == words
    assert accept(policy(**said)) == offered


def test_the_page_names_its_policy_and_has_a_list_for_what_is_uploaded() -> None:
    html = page("avatars")

    assert 'data-policy="avatars"' in html
    assert 'accept="image/*"' in html
    assert html.count('id="files"') == html.count('id="dialog"') == html.count('id="toast"') == 1


def test_a_policy_that_changes_changes_the_page(settings: Any) -> None:
    """What costs the most of it is kept: by policy, by what that says, and by language."""
    assert "Images up to 5.0\xa0MB each, 100 a day at most" in page("avatars")
    assert "As many as you like" in page("default")
    settings.UPLOAD_POLICIES = {"default": {}, "avatars": {"max_size": MB}}
    assert "As many as you like, up to 1.0\xa0MB each" in page("avatars")
    with override("de"):
        assert "1,0\xa0MB" in page("avatars")


def test_a_policy_that_the_settings_do_not_have_is_named() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"'avatar' .* UPLOAD_POLICIES has default, avatars"):
        page("avatar")


# --- how a row under its checks asks ----------------------------------------------------------------------------------------

HTMX = {"HX-Request": "true"}
NOT_A_PICTURE_YET = b"\x89PNG\r\n\x1a\n"


def in_checking(cast: Any, owner: Any) -> File:
    signed = cast.sign(owner, filename="cat.png", content_type="image/png", size=len(NOT_A_PICTURE_YET))
    cast.put(signed, NOT_A_PICTURE_YET)
    return uploads.confirm(str(owner.pk), signed.key)


def test_a_row_that_shows_how_it_stands_is_left_alone(as_alice: Any, as_bob: Any, alice: Any, cast: Any) -> None:
    file = in_checking(cast, alice)
    row = f"/files/{file.key}/row"

    assert as_alice.get(f"{row}?seen=image", headers=HTMX).status_code == 204
    assert "Looking at the picture" in as_alice.get(f"{row}?seen=scan", headers=HTMX).content.decode()
    assert as_bob.get(f"{row}?seen=image", headers=HTMX).status_code == 404

    File._get_collection().update_one({}, {"$set": {"trail.$[].at": uploads.now() - timedelta(seconds=21)}})
    assert "Its check takes a while" in as_alice.get(f"{row}?seen=image", headers=HTMX).content.decode()
    assert as_alice.get(f"{row}?seen=slow-image", headers=HTMX).status_code == 204

    cast.checked(File.objects.get())
    rejected = as_alice.get(f"{row}?seen=slow-image", headers=HTMX).content.decode()
    assert "The picture is damaged or incomplete." in rejected
    assert f'action="/files/{file.key}/dismiss"' in rejected
