"""Characters that turn texts around, on the pages of staff."""

from collections.abc import Iterator

from django.test import Client

from files import sessions
from files.models import Client as Machine
from registry_site.bidirectional import mark_page
from registry_site.models import StaffRun
from tests.support.admin import open_action, run_action
from tests.support.staff_browser import Tree, text_of

MACHINES, RUNS = "/admin/files/client/", "/admin/registry_site/staffrun/"
NAME = "harwich\u202e"
SIGN = '<mark title="changes the order of the text">U+202E</mark>'


def pages(client: Client) -> Iterator[tuple[str, str]]:
    """Iterate over pages of the admin site that show a machine, or a run by somebody, of this name."""
    machine = Machine.objects.create(name=NAME)
    token = sessions.create_session(machine, 60)
    yield "action", open_action(client, MACHINES, "disable", machine)
    yield "shown once", run_action(client, MACHINES, "rotate", machine, reason="lost")
    run_action(client, MACHINES, "disable", machine, reason=NAME)
    StaffRun.objects.update(actor_name=NAME, label=NAME)
    paths = {
        "front page": "/admin/",
        "list": MACHINES,
        "page": f"{MACHINES}{machine.pk}/",
        "form": f"{MACHINES}{machine.pk}/change/",
        "history": f"{MACHINES}{machine.pk}/history/",
        "run": f"{RUNS}{StaffRun.objects.all()[0].pk}/",
        "search": "/admin/search/?q=harwich",
        "missing": f"{MACHINES}{NAME}/",
    }
    for name, path in paths.items():
        yield name, client.get(path).content.decode()
    yield "token", client.post("/admin/whose-token/", {"text": token}).content.decode()


def test_pages_of_staff_name_the_characters(as_root: Client) -> None:
    texts = {name: text_of(Tree(page).root) for name, page in pages(as_root)}
    assert [name for name, text in texts.items() if "harwichU+202E" not in text or "\u202e" in text] == []


def test_attributes_and_data_of_forms_stay() -> None:
    cases = {
        NAME: f"harwich{SIGN}",
        f'<a title="{NAME}">&lt;{NAME}&gt;</a>': f'<a title="{NAME}">&lt;harwich{SIGN}&gt;</a>',
        f'<input value="{NAME}">': f'<input value="{NAME}">',
        f"<textarea\nname=x>\n{NAME}</textarea>{NAME}": f"<textarea\nname=x>\n{NAME}</textarea>harwich{SIGN}",
        f'<option value="{NAME}" selected>{NAME}</option>': f'<option value="{NAME}" selected>harwichU+202E</option>',
        f"<title>{NAME}</title>": "<title>harwichU+202E</title>",
        f"<titles>{NAME}</titles>": f"<titles>harwich{SIGN}</titles>",
    }
    assert {html: mark_page(html) for html in cases} == cases
