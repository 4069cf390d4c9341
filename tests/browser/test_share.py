"""A link, from its making in the dialog to its end, as the owner and a visitor without an account see it."""

from pathlib import Path

from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from files.documents import Share

from .conftest import Visit, Watch, a_file, choose, download, finished, refuse
from .test_keyboard import tab_to


def open_dialog(page: Page, name: str = "report.txt") -> None:
    page.get_by_role("link", name=f"Share {name}").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name=f"Share {name}")).to_be_visible()


def test_a_link_from_its_making_to_its_end(visit: Visit, alice: User, watch: Watch, tmp_path: Path) -> None:
    watch.foresee("403")
    page = visit(alice, permissions=["clipboard-read", "clipboard-write"])
    sent = a_file()
    choose(page, sent)
    expect(finished(page, "report.txt")).to_be_visible()

    # The owner makes it, by keyboard alone.
    open_dialog(page)
    expect(page.get_by_label("Good for")).to_be_focused()
    tab_to(page, "#share-password")
    page.keyboard.type("short")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="The password is too short")).to_be_visible()
    expect(page.get_by_label("Password")).to_be_focused()
    page.keyboard.type("open sesame")
    tab_to(page, "#share-limit")
    page.keyboard.type("2")
    page.keyboard.press("Enter")
    link = page.get_by_role("dialog").get_by_label("Link", exact=True)
    expect(link).to_be_focused()
    expect(page.get_by_text("0 of 2 downloads")).to_be_visible()
    tab_to(page, "[data-do=copy]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    address = page.evaluate("() => navigator.clipboard.readText()")
    assert address == link.input_value()

    # A visitor without a session opens it and gets what was sent.
    visitor = visit(None, address)
    locked = visitor.content()
    visitor.get_by_label("Password").fill("a wrong guess")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("alert")).to_contain_text("That does not open it.")
    visitor.get_by_label("Password").fill("open sesame")
    visitor.keyboard.press("Enter")
    expect(visitor.get_by_role("heading", name="report.txt")).to_be_visible()
    expect(visitor).to_have_url(address)
    assert download(visitor, visitor.get_by_role("button", name="Download"), tmp_path) == ("report.txt", sent["buffer"])

    # The owner sees the count, and ends it.
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Share report.txt")).to_be_focused()
    open_dialog(page)
    expect(page.get_by_text("1 of 2 downloads")).to_be_visible()
    tab_to(page, ".links form button")
    page.keyboard.press("Enter")
    expect(link).to_have_count(0)
    expect(page.get_by_label("Good for")).to_be_focused()
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_role("link", name="Share report.txt")).to_be_focused()

    # For the visitor it is as if there never had been one.
    visitor.get_by_role("button", name="Download").click()
    expect(visitor.get_by_role("heading", name="This link needs a password, or it has ended")).to_be_visible()
    assert visitor.content() == locked
    visitor.goto("/s/AAAAAAAAAAAAAAAAAAAAAA")
    assert visitor.content() == locked


def test_what_goes_wrong_in_the_dialog_is_said_there(page: Page, watch: Watch) -> None:
    watch.foresee("503")
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    open_dialog(page)
    refuse(page, "**/share", 503, "MongoDB does not answer.")

    page.get_by_role("button", name="Make a link").click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_have_text("MongoDB does not answer.")
    page.get_by_role("button", name="Make a link").click()

    expect(page.get_by_role("dialog").get_by_label("Link", exact=True)).to_be_visible()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_be_hidden()


def test_without_javascript_a_page_does_the_same(visit: Visit, alice: User, watch: Watch, page: Page) -> None:
    watch.foresee("400")
    choose(page, a_file())
    expect(finished(page, "report.txt")).to_be_visible()
    plain = visit(alice, java_script_enabled=False)

    plain.get_by_role("link", name="Share report.txt").click()
    plain.get_by_label("Password").fill("short")
    plain.get_by_role("button", name="Make a link").click()
    expect(plain.get_by_role("alert").filter(has_text="too short")).to_be_visible()
    plain.get_by_label("Good for").select_option("30 days")
    plain.get_by_role("button", name="Make a link").click()
    link = plain.get_by_label("Link", exact=True)
    expect(link).to_have_value(f"{plain.url.partition('/files')[0]}/s/{Share.objects.get().token}")
    expect(plain.get_by_text("Ends in 4")).to_be_visible()
    plain.get_by_role("button", name="Revoke").click()
    expect(link).to_have_count(0)
    plain.get_by_role("link", name="Back to your files").click()
    expect(plain).to_have_url("/files/")
