"""What holds for every page: where it loads from, what it forbids, and that it can be read on any screen."""

import gzip
import re
from typing import Any, Literal

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from .conftest import Site, Visit, Watch, a_file, choose, finished
from .test_failures import fail_once

LONG = "a-name-without-a-single-space-" * 7 + ".pdf"
PAGES = ["/", "/login", "/files/", "/files/nothing-here"]

# The lowest contrast of any text with what is behind it (WCAG 2.2, success criterion 1.4.3), and what that text is.
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = color;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = (color) => {
        const linear = (it) => it <= .04045 ? it / 12.92 : ((it + .055) / 1.055) ** 2.4;
        const [r, g, b] = rgba(color).map((it) => linear(it / 255));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const behind = (element) => {
        for (let it = element; it; it = it.parentElement) {
            const color = getComputedStyle(it).backgroundColor;
            if (rgba(color)[3] === 255) return color;
        }
        return "canvas";
    };
    let lowest = [21, ""];
    for (const element of document.body.querySelectorAll("*")) {
        const text = [...element.childNodes].filter((it) => it.nodeType === 3).map((it) => it.data).join("").trim();
        if (!text || !element.checkVisibility() || element.closest("noscript")) continue;
        const [low, high] = [light(getComputedStyle(element).color), light(behind(element))].sort((a, b) => a - b);
        const ratio = (high + .05) / (low + .05);
        if (ratio < lowest[0]) lowest = [ratio, text];
    }
    return lowest;
}"""


def fits(page: Page) -> bool:
    return bool(page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth"))


def test_the_policy_allows_no_inline_script_and_names_the_bucket(page: Page) -> None:
    answer = page.request.get("/files/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";") if part.strip())

    assert "unsafe" not in answer.headers["content-security-policy"]
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"].split() == ["'self'", settings.R2_ENDPOINT_URL]
    bucket = f"{settings.R2_ENDPOINT_URL}/{settings.R2_BUCKET}/"
    assert policy["img-src"].split() == ["'self'", "data:", bucket]
    assert policy["media-src"] == policy["frame-src"] == bucket
    assert policy["object-src"] == "'none'"


def test_the_browser_holds_to_the_policy(page: Page, watch: Watch) -> None:
    watch.foresee("Content Security Policy")
    page.evaluate("""() => {
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.body.append(script);
        return fetch("https://elsewhere.invalid/").catch(() => {});
    }""")

    assert page.evaluate("() => window.ran") is None
    assert len([error for error in watch.errors if "Content Security Policy" in error]) >= 2


def test_nothing_is_asked_of_anybody_but_the_site_and_the_bucket(page: Page, watch: Watch, open_site: Site) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    for path in PAGES:
        watch.foresee("404")
        page.goto(path)

    assert watch.hosts() == {open_site.origin, settings.R2_ENDPOINT_URL}
    assert all("/static/" in request.url for request in watch.requests if request.resource_type in ("script", "stylesheet"))


def test_the_list_with_all_that_it_loads_is_light(page: Page, watch: Watch) -> None:
    """The page, its style sheet, htmx and our script, as a server that compresses sends them."""
    loaded = {request.url for request in watch.requests if request.resource_type in ("document", "script", "stylesheet")}

    weights = {url: len(gzip.compress(page.request.get(url).body(), 6)) for url in loaded}
    assert len(weights) == 4
    assert sum(weights.values()) < 45_000, weights


def test_bytes_never_pass_through_the_site(page: Page, watch: Watch, open_site: Site) -> None:
    choose(page, a_file("large.bin", 500_000))
    expect(finished(page, "large.bin")).to_be_visible()

    to_the_site = [request for request in watch.requests if request.url.startswith(open_site.origin)]
    assert max(len(request.post_data_buffer or b"") for request in to_the_site) < 1000
    (put,) = watch.sent("PUT", "")
    assert put.url.startswith(settings.R2_ENDPOINT_URL)


def test_the_bucket_is_not_told_who_asks(page: Page, watch: Watch) -> None:
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()

    (put,) = watch.sent("PUT", "")
    headers = put.all_headers()
    assert "cookie" not in headers
    assert "referer" not in headers
    assert "x-csrftoken" not in headers


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_fit_a_small_screen_and_stand_out(
    visit: Visit, alice: User, cast: Any, watch: Watch, path: str, scheme: Literal["light", "dark"]
) -> None:
    watch.foresee("404")
    cast.upload(alice, filename=LONG)
    cast.upload(alice, filename="مرحبا بالعالم.pdf")
    page = visit(None if path == "/login" else alice, path, viewport={"width": 360, "height": 740}, color_scheme=scheme)

    assert fits(page)
    ratio, text = page.evaluate(CONTRAST)
    assert ratio >= 4.5, text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_upload_that_failed_fits_a_small_screen_and_stands_out(
    page: Page, watch: Watch, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 740})
    fail_once(page, watch, LONG.replace(".pdf", ".txt"))

    assert fits(page)
    for act in ("retry", "remove"):
        expect(page.locator(f"[data-act={act}]")).to_be_in_viewport(ratio=1)
    ratio, text = page.evaluate(CONTRAST)
    assert ratio >= 4.5, text


def test_the_page_to_delete_fits_a_small_screen(visit: Visit, alice: User, cast: Any) -> None:
    file = cast.upload(alice, filename=LONG)
    page = visit(alice, f"/files/{file.key}/delete", viewport={"width": 360, "height": 740})

    expect(page.get_by_role("heading")).to_have_text(re.compile("^Delete a-name"))
    assert fits(page)


@pytest.mark.parametrize("path", ["/", "/login", "/files/"])
def test_every_page_has_one_heading_a_language_and_a_title(visit: Visit, alice: User, path: str) -> None:
    page = visit(None if path == "/login" else alice, path)

    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page).to_have_title(re.compile("uploadkit"))
    unnamed = page.locator("button, a, input:not([type=hidden])").evaluate_all(
        "(all) => all.filter((it) => !(it.ariaLabel || it.textContent || it.labels?.[0]?.textContent).trim()).length"
    )
    assert unnamed == 0
