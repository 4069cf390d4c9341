"""Everything by keyboard alone, with the focus where somebody looks for it."""

from django.contrib.auth.models import User
from playwright.sync_api import FileChooser, Page, expect

from .conftest import Held, Visit, Watch, a_file, bucket, button, choose, finished, row, until
from .test_failures import fail_once
from .test_list import ready

# The outline of what has the focus, or of what shows it in its place: a chooser of files is not to be seen.
OUTLINE = """(shown) => {
    const active = document.activeElement;
    const style = getComputedStyle(shown ? document.querySelector(shown) : active);
    return [active.tagName, style.outlineStyle, parseFloat(style.outlineWidth)];
}"""


def tab_to(page: Page, wanted: str, shown: str | None = None) -> None:
    """Press Tab until the focus is on what the selector names, which must then be seen to have it; or `shown` in its place."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
            break
    else:
        raise AssertionError(f"{wanted} cannot be reached")
    _, style, width = page.evaluate(OUTLINE, shown)
    assert (style, width >= 2) == ("solid", True)


def focus_is_on_something(page: Page) -> None:
    assert page.evaluate(OUTLINE)[0] not in ("BODY", "HTML"), "the focus was lost"


def test_the_content_is_one_key_away(page: Page) -> None:
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    expect(page.get_by_role("link", name="Skip to the content")).to_be_in_viewport()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#chooser")).to_be_focused()


def test_choosing_files(page: Page) -> None:
    opened: list[FileChooser] = []

    def keep(chooser: FileChooser) -> None:
        opened.append(chooser)

    # Before the tabbing: Chromium takes a moment until it hands its dialog over.
    page.on("filechooser", keep)
    tab_to(page, "#chooser", ".drop")
    page.keyboard.press("Space")

    until(page, lambda: opened)
    assert opened[0].is_multiple()
    opened[0].set_files([a_file()])
    expect(finished(page, "report.txt")).to_be_visible()


def test_cancelling(page: Page) -> None:
    puts = Held(page, bucket())
    choose(page, a_file())
    puts.wait_for()

    tab_to(page, "[data-act=cancel]")
    page.keyboard.press("Enter")

    expect(row(page, "report.txt")).to_have_count(0)
    expect(page.locator("#chooser")).to_be_focused()


def test_trying_again(page: Page, watch: Watch) -> None:
    fail_once(page, watch, "report.txt")
    tab_to(page, "[data-act=retry]")
    page.keyboard.press("Enter")

    expect(finished(page, "report.txt")).to_be_visible()


def test_removing_leads_to_the_next_row(page: Page, watch: Watch) -> None:
    fail_once(page, watch, "one.txt", "two.txt")
    tab_to(page, "[data-act=remove]")
    page.keyboard.press("Enter")

    expect(page.locator("[data-upload]")).to_have_count(1)
    expect(button(page.locator("[data-upload]"), "Try again")).to_be_focused()


def test_an_upload_that_fails_under_the_focus_puts_it_on_the_way_on(page: Page, watch: Watch) -> None:
    watch.foresee("413")
    signing = Held(page, "**/api/uploads/sign", "POST")
    choose(page, a_file())
    signing.wait_for()
    tab_to(page, "[data-act=cancel]")

    signing.waiting.pop().fulfill(status=413, json={"error": "The file is too large.", "code": "too_large"})

    expect(button(row(page, "report.txt"), "Try again")).to_be_focused()


def test_an_upload_that_ends_under_the_focus_does_not_lose_it(page: Page) -> None:
    puts = Held(page, bucket())
    choose(page, a_file())
    puts.wait_for()
    tab_to(page, "[data-act=cancel]")

    puts.let_go()

    expect(finished(page, "report.txt")).to_be_visible()
    focus_is_on_something(page)


def test_deleting_leads_to_the_next_file(visit: Visit, alice: User) -> None:
    ready(alice, 3)
    page = visit(alice)
    files = page.locator("#files > .file:visible")

    tab_to(page, "[data-do=trash]")
    page.keyboard.press("Enter")
    expect(files).to_have_count(2)
    focus_is_on_something(page)


def test_showing_more_files_leads_to_the_first_of_them(visit: Visit, alice: User) -> None:
    ready(alice, 60)
    page = visit(alice)
    page.get_by_role("link", name="Show more files").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#files > .file")).to_have_count(60)
    expect(page.locator("#files > .file").nth(50).locator("a.name")).to_be_focused()
