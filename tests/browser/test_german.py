"""The list in German on a small screen: its words are longer."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page, expect

from .conftest import Held, Visit, a_file, bucket, choose, row, status
from .test_checks import a_broken_picture, a_picture, check
from .test_page import LONG, fits

# What can be read or pressed and sticks out of the screen, or of the dialog that is open.
STICKS_OUT = """() => {
    const within = document.querySelector("dialog[open]");
    const { left, right } = within ? within.getBoundingClientRect() : { left: 0, right: innerWidth };
    return [...(within ?? document.body).querySelectorAll("a, button, input, label, p, select, h1")]
        .filter((it) => it.checkVisibility() && !it.matches(".visually-hidden, .skip, .visually-hidden *"))
        .filter((it) => it.getBoundingClientRect().left < left || it.getBoundingClientRect().right > right)
        .map((it) => it.outerHTML);
}"""


def expect_to_fit(page: Page) -> None:
    assert page.evaluate(STICKS_OUT) == []
    assert fits(page)


@pytest.mark.browser_context_args(locale="de-DE")
def test_the_list_an_upload_and_the_links_of_a_file_fit_a_small_screen_in_german(visit: Visit, alice: User, cast: Any) -> None:
    cast.upload(alice, filename=LONG)
    cast.upload(alice, filename="Bericht.pdf")
    page = visit(alice, viewport={"width": 360, "height": 740})
    held = Held(page, bucket())
    choose(page, *(a_file(f"Rechnung {number}.txt") for number in range(6)))
    held.wait_for(4)

    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(status(row(page, "Rechnung 0"))).to_have_text(re.compile(r"^\d+ %, \d+ Bytes/s"))
    expect(page.locator("#queue")).to_contain_text(re.compile(r"\d+ % · 0 von 6 · \d+ Bytes von 144 Bytes"))
    expect_to_fit(page)

    page.get_by_label("Alle gezeigten auswählen").check()
    expect(page.locator("#selection").get_by_text("2 ausgewählt")).to_be_visible()
    expect_to_fit(page)
    page.get_by_role("button", name="Aufheben").click()

    page.get_by_role("link", name="Bericht.pdf teilen").click()
    dialog = page.get_by_role("dialog", name="Bericht.pdf teilen")
    dialog.get_by_label("Passwort").fill("Sesam, öffne dich")
    dialog.get_by_label("Downloads").fill("1000")
    dialog.get_by_role("button", name="Link erstellen").click()
    expect(dialog.get_by_text("0 von 1000 Downloads")).to_be_visible()
    expect(dialog.get_by_text("Noch 6 Tage, 23 Stunden gültig")).to_be_visible()
    expect_to_fit(page)
    dialog.get_by_role("button", name="Schließen").click()

    page.get_by_role("link", name="Bericht.pdf löschen").click()
    expect(page.get_by_text("Die Datei ist gelöscht.")).to_be_visible()
    expect_to_fit(page)
    held.let_go()
    expect(page.locator("#files > .file:not([hidden])")).to_have_count(7)
    tops = row(page, LONG).locator(".actions > a").evaluate_all("(all) => all.map((it) => it.offsetTop)")
    assert len(tops) == 4
    assert len(set(tops)) == 1, "what can be done with a file takes more than a line"

    choose(page, a_picture("Garten.png"), a_broken_picture("Küche.png"))
    expect(row(page, "Garten.png")).to_contain_text("Das Bild wird angesehen")
    expect_to_fit(page)
    check()
    expect(row(page, "Küche.png")).to_contain_text("Das Bild ist beschädigt oder unvollständig.")
    expect(row(page, "Garten.png").locator("img.picture")).to_be_visible()
    expect_to_fit(page)
