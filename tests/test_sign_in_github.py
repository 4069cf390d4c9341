"""Signing in with GitHub: the site in a process of its own, against a GitHub look-alike, over real HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount import urls as allauth_urls
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.github.views import GitHubOAuth2Adapter
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command

from files.documents import File

from .github import AUTHORIZE, CLIENT_ID, CLIENT_SECRET, EMAILS, TOKEN, USER, GitHub, Person
from .sites import WITHIN, Browser, running_site

pytestmark = pytest.mark.django_db(transaction=True)

LOGIN = "/accounts/github/login/"
CALLBACK = "/accounts/github/login/callback/"
CONNECTIONS = "/accounts/3rdparty/"

ALICE = Person(101, "alice", "Alice Liddell", "alice@example.com", ["alice@example.com", "alice@home.example"])
BOB = Person(202, "bob", "Bob Tables", None, ["bob@example.com"])
AT_WORK = Person(303, "alice-at-work", None, ALICE.email, ALICE.emails)


@pytest.fixture(scope="module")
def lookalike() -> Iterator[GitHub]:
    github = GitHub(visitor=ALICE)
    github.start()
    yield github
    github.stop()


@pytest.fixture(scope="module")
def site(lookalike: GitHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    client = {"GITHUB_CLIENT_ID": CLIENT_ID, "GITHUB_CLIENT_SECRET": CLIENT_SECRET}
    with running_site(tmp_path_factory.mktemp("site"), GITHUB_URL=lookalike.url, **client) as origin:
        lookalike.callback = origin + CALLBACK
        yield origin


@pytest.fixture
def github(lookalike: GitHub, site: str) -> Iterator[GitHub]:
    lookalike.visitor = ALICE
    yield lookalike
    lookalike.reset()


@pytest.fixture
def agent(site: str) -> Iterator[Browser]:
    with Browser(site) as agent:
        yield agent


@pytest.fixture
def other_agent(site: str) -> Iterator[Browser]:
    with Browser(site) as agent:
        yield agent


def start(agent: Browser, following: str = "") -> httpx.Response:
    """Press the button on the sign-in page: the answer that sends the browser to GitHub."""
    page = agent.get("/login", params={"next": following} if following else {})
    if page.is_redirect:  # signed in already, so that our page has no button; allauth's own has one
        return agent.submit(agent.get(LOGIN), LOGIN)
    return agent.submit(page, LOGIN)


def consent(agent: Browser, started: httpx.Response) -> str:
    """Say yes (or no) at GitHub: the address that it sends the browser back to."""
    assert started.status_code == 302, started.text
    return agent.get(started.headers["Location"]).headers["Location"]


def sign_in(agent: Browser, following: str = "") -> httpx.Response:
    return agent.get(consent(agent, start(agent, following)))


def query_of(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def refused(answer: httpx.Response) -> bool:
    return answer.status_code == 401 and "Signing in did not work" in answer.text


# --- the way in -----------------------------------------------------------------------------------------------------


def test_the_first_sign_in_makes_a_user_without_a_password(agent: Browser, github: GitHub) -> None:
    answer = sign_in(agent)

    assert (answer.status_code, answer.headers["Location"]) == (302, "/files/")
    alice = User.objects.get()
    assert (alice.username, alice.email, alice.get_full_name()) == ("alice", "alice@example.com", "Alice Liddell")
    assert not alice.has_usable_password()
    assert not (alice.is_staff or alice.is_superuser)
    assert agent.user() == alice
    assert "Alice Liddell" in agent.get("/files/").text


def test_a_later_sign_in_is_the_same_user_whatever_the_login_is_called_by_then(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    sign_in(agent)
    github.visitor = Person(ALICE.id, "alice-liddell", "Alice Hargreaves", None, ["alice@elsewhere.example"])

    sign_in(other_agent)

    assert other_agent.user() == agent.user() == User.objects.get()


def test_whoever_takes_over_a_login_that_became_free_is_somebody_else(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    sign_in(agent)
    github.visitor = Person(999, ALICE.login, "Another Alice", None, None)

    sign_in(other_agent)

    assert User.objects.count() == 2
    assert other_agent.user() != agent.user()


def test_the_owner_of_what_one_uploads_is_the_primary_key_of_the_user_as_text(agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    agent.get("/files/")

    wish = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}
    headers = {"Origin": agent.origin, "X-CSRFToken": agent.cookies["csrftoken"]}
    answer = agent.post("/api/uploads/sign", json=wish, headers=headers)

    assert answer.status_code == 200, answer.text
    assert File.objects.get(key=answer.json()["key"]).owner_id == str(User.objects.get().pk)


def test_the_token_is_read_as_json_and_as_a_form_which_github_sends_unasked(agent: Browser, github: GitHub) -> None:
    github.token_as_json = False

    assert sign_in(agent).status_code == 302
    assert agent.user() is not None


def test_somebody_who_shows_no_email_and_no_name_may_come_in(agent: Browser, github: GitHub) -> None:
    github.visitor = Person(404, "nobody")

    assert sign_in(agent).status_code == 302
    user = agent.user()
    assert user is not None
    assert (user.username, user.email) == ("nobody", "")
    assert "nobody" in agent.get("/files/").text


@pytest.mark.parametrize("name", ["Дарья 🦊 Иванова", "\N{RIGHT-TO-LEFT OVERRIDE}live", "<script>alert(1)</script>", "N" * 400])
def test_a_name_of_any_kind_is_no_obstacle_and_no_markup(name: str, agent: Browser, github: GitHub) -> None:
    github.visitor = Person(404, "daria", name, "daria@example.com", ["daria@example.com"])

    assert sign_in(agent).status_code == 302
    page = agent.get("/files/")
    assert page.status_code == 200
    assert "<script>alert" not in page.text


def test_the_real_github_has_its_api_on_a_host_of_its_own() -> None:
    # tests.servers sets no GITHUB_URL, so this is what production has.
    assert GitHubOAuth2Adapter.authorize_url == "https://github.com/login/oauth/authorize"
    assert GitHubOAuth2Adapter.profile_url == "https://api.github.com/user"
    assert GitHubOAuth2Adapter.emails_url == "https://api.github.com/user/emails"


# --- what is sent to GitHub -----------------------------------------------------------------------------------------


def test_github_is_asked_for_name_and_emails_only_with_a_state_and_a_challenge(agent: Browser, github: GitHub) -> None:
    started = start(agent)

    assert started.headers["Location"].startswith(github.url + AUTHORIZE)
    query = query_of(started.headers["Location"])
    assert set(query["scope"].split()) == {"read:user", "user:email"}
    assert query["redirect_uri"] == agent.origin + CALLBACK
    assert query["code_challenge_method"] == "S256"
    assert len(query["state"]) >= 16
    assert query["state"] != query_of(start(agent).headers["Location"])["state"]


def test_the_code_is_redeemed_with_the_verifier_and_the_secret_which_the_browser_never_sees(
    agent: Browser, github: GitHub
) -> None:
    started = start(agent)
    back = consent(agent, started)
    agent.get(back)

    redeemed = github.asked_for(TOKEN)[0].values
    assert redeemed["client_secret"] == CLIENT_SECRET
    assert len(redeemed["code_verifier"]) >= 43
    seen = started.headers["Location"] + back
    assert CLIENT_SECRET not in seen
    assert redeemed["code_verifier"] not in seen


def test_a_code_from_another_start_does_not_fit_the_verifier(agent: Browser, github: GitHub) -> None:
    stolen = query_of(consent(agent, start(agent)))["code"]
    own = query_of(consent(agent, start(agent)))

    answer = agent.get(CALLBACK, params={"code": stolen, "state": own["state"]})

    assert refused(answer)
    assert github.asked_for(TOKEN)[-1].values["code"] == stolen
    assert agent.user() is None


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_following_a_link_starts_no_sign_in(method: str, agent: Browser, github: GitHub) -> None:
    answer = agent.request(method, LOGIN)

    assert answer.status_code in (200, 405)
    assert not Session.objects.exists()


def test_a_form_on_another_site_starts_no_sign_in(agent: Browser, github: GitHub) -> None:
    agent.get("/login")

    assert agent.post(LOGIN, headers={"Origin": "https://evil.example"}).status_code == 403
    assert not Session.objects.exists()


def test_the_page_lets_its_form_go_to_github_and_to_nobody_else(agent: Browser, github: GitHub) -> None:
    """But the bucket, where the form of a shared link ends: every page has the same policy."""
    policy = agent.get("/login").headers["Content-Security-Policy"]

    directive = next(part for part in policy.split(";") if part.strip().startswith("form-action"))
    assert directive.split()[1:] == ["'self'", github.url, settings.R2_ENDPOINT_URL]


# --- who is not let in ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"state": "forged"}, {"state": ""}, {"state": None}, {"state": "\0"}, {"code": None}])
def test_a_way_back_that_was_tampered_with_is_refused(change: dict[str, str | None], agent: Browser, github: GitHub) -> None:
    query = {**query_of(consent(agent, start(agent))), **change}

    answer = agent.get(f"{CALLBACK}?{urlencode({name: value for name, value in query.items() if value is not None})}")

    assert refused(answer)
    assert agent.user() is None
    assert github.asked_for(TOKEN) == []
    assert not User.objects.exists()


def test_a_way_back_is_good_for_one_time(agent: Browser, github: GitHub) -> None:
    back = consent(agent, start(agent))
    agent.get(back)

    assert refused(agent.get(back))
    assert len(github.asked_for(TOKEN)) == 1
    assert agent.user() is not None, "the sign-in that worked must last"


def test_a_way_back_that_somebody_else_began_signs_nobody_in(agent: Browser, other_agent: Browser, github: GitHub) -> None:
    back = consent(agent, start(agent))
    start(other_agent)

    assert refused(other_agent.get(back))
    assert other_agent.user() is None


def test_a_sign_in_that_took_longer_than_ten_minutes_is_refused(agent: Browser, github: GitHub) -> None:
    back = consent(agent, start(agent))
    session = SessionStore(agent.cookies["sessionid"])
    states = session["socialaccount_states"]
    session["socialaccount_states"] = {key: [state, since - 601, *rest] for key, (state, since, *rest) in states.items()}
    session.save()

    assert refused(agent.get(back))
    assert agent.user() is None


def test_denied_consent_is_a_page_of_its_own_and_signs_nobody_in(agent: Browser, github: GitHub) -> None:
    github.consents = False

    answer = sign_in(agent)

    assert answer.is_redirect
    page = agent.get(answer.headers["Location"])
    assert page.status_code == 200
    assert "You are not signed in" in page.text
    assert agent.user() is None
    assert not User.objects.exists()
    assert github.asked_for(TOKEN) == []


def test_an_error_that_github_sends_the_browser_back_with_is_a_page(agent: Browser, github: GitHub) -> None:
    state = query_of(start(agent).headers["Location"])["state"]

    assert refused(agent.get(CALLBACK, params={"error": "server_error", "state": state}))


def test_a_closed_account_is_told_so_and_not_let_in(agent: Browser, other_agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    User.objects.update(is_active=False)

    answer = sign_in(other_agent)

    assert answer.is_redirect
    page = other_agent.get(answer.headers["Location"])
    assert page.status_code == 403
    assert "This account was closed" in page.text
    assert "_auth_user_id" not in SessionStore(other_agent.cookies.get("sessionid"))
    assert other_agent.get("/files/").is_redirect
    assert agent.get("/files/").is_redirect, "a session from before ends too"


# --- whose account --------------------------------------------------------------------------------------------------


def test_an_email_that_another_account_has_makes_a_separate_account(agent: Browser, github: GitHub) -> None:
    bob = User.objects.create_user("bob-the-elder", "bob@example.com", "a long enough password")
    EmailAddress.objects.create(user=bob, email="bob@example.com", verified=True, primary=True)
    github.visitor = BOB

    answer = sign_in(agent)

    assert (answer.status_code, answer.headers["Location"]) == (302, "/files/")
    newcomer = agent.user()
    assert newcomer is not None and newcomer != bob
    bob.refresh_from_db()
    assert bob.check_password("a long enough password")
    assert not SocialAccount.objects.filter(user=bob).exists()


def test_two_github_accounts_with_one_email_are_two_users(agent: Browser, other_agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    github.visitor = AT_WORK

    assert sign_in(other_agent).headers["Location"] == "/files/"
    assert User.objects.count() == 2
    assert other_agent.user() != agent.user()


@pytest.mark.parametrize("login", ["ops", "OPS"])
def test_the_name_and_email_of_an_administrator_open_nothing(login: str, agent: Browser, github: GitHub) -> None:
    call_command("createsuperuser", username="ops", email="ops@example.com", interactive=False, verbosity=0)
    ops = User.objects.get()
    github.visitor = Person(666, login, None, "ops@example.com", ["ops@example.com"])

    sign_in(agent)

    intruder = agent.user()
    assert intruder is not None and intruder != ops
    assert intruder.username.lower() != "ops"
    assert not (intruder.is_staff or intruder.is_superuser)
    assert agent.get("/admin/").status_code != 200
    assert not SocialAccount.objects.filter(user=ops).exists()


def test_signing_in_as_somebody_else_ends_the_session_before(agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    first = agent.cookies["sessionid"]
    github.visitor = BOB

    sign_in(agent)

    user = agent.user()
    assert user is not None and user.username == "bob"
    assert not Session.objects.filter(session_key=first).exists()


def test_signing_in_changes_the_session_and_the_csrf_secret(agent: Browser, github: GitHub) -> None:
    back = consent(agent, start(agent))
    before = dict(agent.cookies)

    agent.get(back)

    assert agent.cookies["sessionid"] != before["sessionid"]
    assert agent.cookies["csrftoken"] != before["csrftoken"]
    assert not Session.objects.filter(session_key=before["sessionid"]).exists(), "who knew the key before has nothing"


# --- where one goes afterwards --------------------------------------------------------------------------------------


def test_who_was_stopped_on_the_way_arrives_there_after_signing_in(agent: Browser, github: GitHub) -> None:
    stopped = agent.get("/files/?after=nowhere")
    assert stopped.is_redirect
    following = query_of(stopped.headers["Location"])["next"]

    assert sign_in(agent, following).headers["Location"] == "/files/?after=nowhere"


HOSTILE = [
    "//evil.example",
    "///evil.example",
    "https://evil.example/",
    "http:///evil.example",
    "https:evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    " //evil.example",
    "https://127.0.0.1@evil.example/",
    "https://evil.example\\@127.0.0.1/",
    "javascript:alert(1)",
    "data:text/html,evil",
]


@pytest.mark.parametrize("following", HOSTILE)
def test_another_site_is_not_followed_from_the_sign_in_page(following: str, agent: Browser, github: GitHub) -> None:
    assert sign_in(agent, following).headers["Location"] == "/files/"
    assert agent.get("/login", params={"next": following}).headers["Location"] == "/files/"


@pytest.mark.parametrize("following", HOSTILE)
def test_another_site_is_not_followed_from_the_providers_address(following: str, agent: Browser, github: GitHub) -> None:
    page = agent.get("/login")
    form = {"csrfmiddlewaretoken": agent.cookies["csrftoken"], "next": following}
    started = agent.post(LOGIN, params={"next": following}, data=form, headers={"Origin": agent.origin})

    assert page.status_code == 200
    assert agent.get(consent(agent, started)).headers["Location"] == "/files/"


def test_another_port_of_the_same_machine_is_another_site(agent: Browser, github: GitHub) -> None:
    assert sign_in(agent, github.url + "/evil").headers["Location"] == "/files/"


def test_signing_out_follows_no_other_site_either(agent: Browser, github: GitHub) -> None:
    sign_in(agent)

    answer = agent.submit(agent.get("/files/"), "/logout", next="https://evil.example/")

    assert answer.headers["Location"] == "/"
    assert agent.user() is None
    assert agent.get("/files/").is_redirect


# --- GitHub in trouble ----------------------------------------------------------------------------------------------

HTML = b"<!doctype html><title>Unicorn!</title>"

NO_TOKEN_NOR_PERSON: list[object] = [[], None, "no", 7, {}, {"id": None}]
NO_EMAILS: list[object] = [{"message": "no"}, [{}], ["no"], 7]
TROUBLE: list[tuple[str, int, object, str | None]] = [
    *((path, status, HTML, "text/html") for path in (TOKEN, USER, EMAILS) for status in (500, 502)),
    *((path, 200, HTML, "text/html") for path in (TOKEN, USER, EMAILS)),
    *((path, 200, b'{"access_token": "gho_', "application/json") for path in (TOKEN, USER, EMAILS)),
    *((path, 200, b"\xff\xfe\x00", "application/json") for path in (TOKEN, USER, EMAILS)),
    *((path, 200, body, "application/json") for path in (TOKEN, USER) for body in NO_TOKEN_NOR_PERSON),
    *((EMAILS, 200, body, "application/json") for body in NO_EMAILS),
    (TOKEN, 200, {"access_token": None}, "application/json"),
    (TOKEN, 200, {"error": "bad_verification_code"}, "application/json"),
    (TOKEN, 200, b"", None),
    (USER, 200, {"id": "1" * 300, "login": "long"}, "application/json"),
    (USER, 401, {"message": "Bad credentials"}, "application/json"),
    (USER, 403, {"message": "API rate limit exceeded"}, "application/json"),
]


def name_of(path: str, status: int, body: object, content_type: str | None) -> str:
    return f"{path.rpartition('/')[2]} {status} {str(body)[:24]}"


@pytest.mark.parametrize(("path", "status", "body", "content_type"), TROUBLE, ids=[name_of(*trouble) for trouble in TROUBLE])
def test_when_github_answers_nonsense_a_page_says_so_and_the_next_try_works(
    path: str, status: int, body: object, content_type: str | None, agent: Browser, github: GitHub
) -> None:
    github.answer(path, status, body, content_type)

    assert refused(sign_in(agent))

    assert github.asked_for(path), "the nonsense was never read"
    assert agent.user() is None
    assert not User.objects.exists()
    github.reset()
    assert sign_in(agent).headers["Location"] == "/files/"


def test_when_github_refuses_connections_a_page_says_so_and_the_next_try_works(agent: Browser, github: GitHub) -> None:
    back = consent(agent, start(agent))
    with github.down():
        assert refused(agent.get(back))
    assert agent.user() is None

    assert sign_in(agent).headers["Location"] == "/files/"


def test_when_github_does_not_answer_the_wait_ends_and_others_are_served_meanwhile(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    github.hold(TOKEN)
    began = time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sign_in, agent)
        while not github.asked_for(TOKEN):
            assert time.monotonic() - began < WITHIN
            time.sleep(0.01)
        assert other_agent.get("/login").status_code == 200
        assert not waiting.done(), "the other one was served only afterwards"

    assert refused(waiting.result())
    assert time.monotonic() - began < 15
    assert agent.user() is None


# --- allauth's other pages ------------------------------------------------------------------------------------------

PAGES = [CONNECTIONS + str(page.pattern) for page in allauth_urls.urlpatterns] + [LOGIN, CALLBACK]


@pytest.mark.parametrize("who", ["a stranger", "alice"])
@pytest.mark.parametrize("path", PAGES)
def test_allauths_pages_stand_whoever_asks_and_however(path: str, who: str, agent: Browser, github: GitHub) -> None:
    if who == "alice":
        sign_in(agent)
    agent.get("/login" if who == "a stranger" else "/files/")
    forms: list[dict[str, str]] = [{}, {"account": "0"}, {"account": "x"}, {"username": "alice", "email": "nonsense"}]

    answers = [agent.request(method, path) for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")]
    for form in forms:
        token = agent.cookies["csrftoken"]
        answers.append(agent.post(path, data={"csrfmiddlewaretoken": token, **form}, headers={"Origin": agent.origin}))

    assert {answer.status_code for answer in answers if answer.status_code not in (200, 302, 401, 403, 404, 405)} == set()
    assert all(urlsplit(answer.headers.get("Location", "/")).netloc in ("", urlsplit(github.url).netloc) for answer in answers)


def connect(agent: Browser) -> httpx.Response:
    """Add the visitor's GitHub account to the user who is signed in: the page that says what came of it."""
    page = agent.get(LOGIN, params={"process": "connect"})
    answer = agent.get(consent(agent, agent.submit(page, LOGIN)))
    return agent.get(answer.headers["Location"])


def ways_in(user: User | None) -> set[str]:
    return {account.uid for account in SocialAccount.objects.filter(user=user)}


def give_up(agent: Browser, uid: str) -> httpx.Response:
    account = SocialAccount.objects.get(uid=uid)
    return agent.submit(agent.get(CONNECTIONS), CONNECTIONS, account=str(account.pk))


def test_the_only_way_in_cannot_be_given_up(agent: Browser, github: GitHub) -> None:
    sign_in(agent)

    give_up(agent, "101")

    assert ways_in(agent.user()) == {"101"}


def test_who_tries_to_give_up_the_only_way_in_is_told_why_not(agent: Browser, github: GitHub) -> None:
    sign_in(agent)

    assert "cannot disconnect your last" in give_up(agent, "101").text


def test_a_second_way_in_shows_and_leads_to_the_same_user_until_it_is_given_up(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    sign_in(agent)
    github.visitor = AT_WORK

    page = connect(agent)

    assert page.text.count('name="account"') == 2
    assert ways_in(agent.user()) == {"101", "303"}
    sign_in(other_agent)
    assert other_agent.user() == agent.user()
    give_up(agent, "303")
    assert ways_in(agent.user()) == {"101"}


def test_a_way_in_of_somebody_else_cannot_be_given_up(agent: Browser, other_agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    github.visitor = AT_WORK
    connect(agent)
    github.visitor = BOB
    sign_in(other_agent)

    give_up(agent, "202")

    assert ways_in(other_agent.user()) == {"202"}


def test_the_github_account_of_another_user_stays_theirs(agent: Browser, other_agent: Browser, github: GitHub) -> None:
    sign_in(agent)
    github.visitor = BOB
    sign_in(other_agent)

    connect(agent)

    assert ways_in(other_agent.user()) == {"202"}
    assert ways_in(agent.user()) == {"101"}


def test_who_tries_to_connect_the_github_account_of_another_user_is_told_why_not(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    sign_in(agent)
    github.visitor = BOB
    sign_in(other_agent)

    assert "already connected to a different account" in connect(agent).text


def test_a_link_from_somebody_else_connects_nothing_to_whoever_follows_it(
    agent: Browser, other_agent: Browser, github: GitHub
) -> None:
    sign_in(agent)
    github.visitor = BOB
    trap = consent(other_agent, start(other_agent))

    assert refused(agent.get(trap))
    assert agent.get(LOGIN, params={"process": "connect"}).status_code == 200, "a link alone goes nowhere"
    assert ways_in(agent.user()) == {"101"}


@pytest.mark.parametrize("process", ["connect", "redirect"])
def test_a_stranger_who_asks_for_another_process_is_not_signed_in(process: str, agent: Browser, github: GitHub) -> None:
    page = agent.get(LOGIN, params={"process": process})

    answer = agent.get(consent(agent, agent.submit(page, LOGIN)))

    assert answer.is_redirect
    assert agent.user() is None
    assert not SocialAccount.objects.exists()
