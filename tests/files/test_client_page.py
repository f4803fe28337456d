"""The page of a machine in the admin site: each test is a task of staff."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client as Browser
from django.utils import timezone

from files import clients
from files.models import Client, ClientDownloads, FailedHandshakes, FetchedFile, File, Session
from registry_site.download_counts import today


@pytest.fixture
def receiver(db: None) -> Client:
    key = clients.generate_key()
    return clients.add_client("lantern-7", key, actor="operator", roots=(), description="<roof>")


def page_of(browser: Browser, client: Client, **changes: Any) -> str:
    Client.objects.filter(pk=client.pk).update(**changes)
    response = browser.get(f"/admin/files/client/{client.pk}/")
    assert response.status_code == 200
    return response.content.decode()


def test_see_when_a_machine_was_last_seen(as_root: Browser, receiver: Client) -> None:
    assert "It has had no session yet." in page_of(as_root, receiver)
    seen_at = timezone.now() - timedelta(days=9)
    page = page_of(as_root, receiver, last_seen_at=seen_at, last_seen_ip="192.0.2.7")
    assert "It was not seen for 9 days." in page
    assert f"{seen_at:%Y-%m-%d %H:%M} from 192.0.2.7" in page
    assert ">Works.</dd>" in page_of(as_root, receiver, last_seen_at=timezone.now())
    assert "It gets no session." in page_of(as_root, receiver, is_active=False)


def test_see_what_a_machine_fetched_and_failed(as_root: Browser, receiver: Client) -> None:
    FailedHandshakes.objects.create(client=receiver, day=today(), count=12)
    ClientDownloads.objects.create(client=receiver, day=today(), count=3456)
    ClientDownloads.objects.create(client=receiver, day=today() - timedelta(days=99), count=1000)
    page = page_of(as_root, receiver)
    assert f"<tr><td>{today():%Y-%m-%d}</td><td>3,456</td><td>12</td></tr>" in page
    assert ("12 in 7 days" in page, ">4,456</dd>" in page) == (True, True)


def test_see_which_files_a_machine_fetched(as_root: Browser, receiver: Client) -> None:
    now = timezone.now()
    columns = {"path": "/srv/a", "serve_path": "weather/today.txt", "size": 1234}
    file = File.objects.create(**columns, uploaded_at=now, modified_at=now)
    FetchedFile.objects.create(client=receiver, file=file, fetched_at=now)
    page = page_of(as_root, receiver)
    assert ">weather/today.txt</a></td><td>1.2 kB</td>" in page
    assert 'href="/admin/files/fetchedfile/?machine=lantern-7"' in page
    for name, number in (("lantern-7", 1), ("lantern", 0)):
        listed = as_root.get(f"/admin/files/fetchedfile/?machine={name}").context["cl"].result_list
        assert len(listed) == number, name


def test_see_rights_key_and_sessions_of_a_machine(as_root: Browser, receiver: Client) -> None:
    now = timezone.now()
    for number, end in enumerate((now + timedelta(hours=1), now - timedelta(hours=1))):
        Session.objects.create(client=receiver, digest=str(number), peer="192.0.2.7", expires_at=end)
    page = page_of(as_root, receiver)
    expected = ("read and write", "&lt;roof&gt;", "<td>256</td>", "<td>live</td>", "<td>expired</td>", "lantern-7")
    assert [text for text in expected if text not in page] == []
    assert receiver.keys.get().secret not in page
