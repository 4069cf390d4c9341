"""POST /api/uploads/sign"""

from django.contrib.auth.models import User
from django.test import Client

from files.documents import File, Status

from .conftest import post_json

WISH = {"filename": "report.pdf", "contentType": "application/pdf", "size": 5}


def test_the_owner_gets_a_url_and_a_pending_document(as_alice: Client, alice: User) -> None:
    answer = post_json(as_alice, "/api/uploads/sign", WISH)

    assert answer.status_code == 200
    body = answer.json()
    assert body["method"] == "PUT"
    assert body["headers"] == {"Content-Type": "application/pdf", "If-None-Match": "*"}
    file = File.objects.get(key=body["key"])
    assert (file.owner_id, file.status, file.size) == (str(alice.pk), Status.PENDING, 5)
