import pytest
from pathlib import Path
from playwright.sync_api import expect
from . import pictures
from .pictures import list_files, looks, look
from files.documents import File
from files import documents, kinds
pictures.FOLDER = Path("/tmp/shots")

@pytest.mark.parametrize(("width","scheme"), [(1280,"light"),(360,"dark")])
def test_look(visit, alice, width, scheme):
    list_files(alice)
    File.fill_in()
    page = look(visit, alice, "/files/", width, scheme)
    page.screenshot(path=f"/tmp/shots/list-{width}.png")
    page.locator("#files [name=key]").nth(1).check()
    page.locator("#files [name=key]").nth(3).click(modifiers=["Shift"])
    page.screenshot(path=f"/tmp/shots/selected-{width}.png")
    page.locator("#selection").get_by_role("button", name="Delete").click()
    expect(page.locator("#toast")).to_contain_text("3 files")
    page.screenshot(path=f"/tmp/shots/toast-{width}.png")
    page.keyboard.press("Control+z")
    expect(page.locator("#toast")).to_contain_text("back")
    assert page.locator("#files > .file:visible").count() == 8
    page.locator("#files").get_by_role("link", name="Rename Floor").click()
    expect(page.locator(".rename [name=name]")).to_be_focused()
    page.screenshot(path=f"/tmp/shots/rename-{width}.png")
    page.keyboard.type("Ground plan")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Ground plan.pdf", exact=True)).to_be_visible()
    page.locator("[name=q]").fill("rech")
    expect(page.locator("#files > .file")).to_have_count(1)
    assert page.url.endswith("?q=rech")
    page.locator("[name=q]").fill("nothing at all")
    expect(page.locator("#files > .empty")).to_be_visible()
    page.screenshot(path=f"/tmp/shots/nothing-{width}.png")
    page.go_back()
    expect(page.locator("#files > .file")).to_have_count(1)
    expect(page.locator("[name=q]")).to_have_value("rech")
    page.go_back()
    expect(page.locator("#files > .file")).to_have_count(8)
