"""READMEs as HTML, rendered after the publish was answered: highlighting their code takes longer than all the rest.

A row says that a README is due; it is written in the transaction of the publish. A thread of each worker renders, from
the first publish on, and looks once a minute for what a killed worker has left. Who reads such a README before renders
it for that answer, so each page is the same before and after.
"""

import html
import logging
import threading
import time
from typing import Any

from django.db import connections, transaction
from django.dispatch import receiver

from crates.models import UnrenderedReadme, VersionContents
from registry_site import file_locks, markdown
from registry_site.signals import minute_passed, purge_requested, server_loading
from registry_site.storage.stored_blobs import without_sync

START_AFTER_SECONDS = 1  # in which others may publish, too: their READMEs are stored together
LOCK_SECONDS = 60
# READMEs that are stored together: a commit keeps other writers of SQLite waiting, and fewer commits do so less often.
MAX_TOGETHER = 20
MAX_SECONDS_TOGETHER = 1

_log = logging.getLogger(__name__)


def add(contents: VersionContents, path: str) -> None:
    """Let a README be rendered, in the transaction that stores its text; `path` is that in the repository."""
    UnrenderedReadme.objects.create(contents=contents, path=path)
    transaction.on_commit(renderer.wake)


def work_off() -> int:
    """Render all that is due, and return how many READMEs that were."""
    number = 0
    while rendered := render_some():
        number += store(rendered)
    return number


def render_some() -> dict[int, str]:
    """Return the HTML of the READMEs that are due first, by the primary keys of their contents."""
    deadline = time.monotonic() + MAX_SECONDS_TOGETHER
    columns = ("pk", "path", "contents__readme_text", "contents__version__repository")
    rows = UnrenderedReadme.objects.order_by("pk").values_list(*columns)[:MAX_TOGETHER]
    rendered: dict[int, str] = {}
    for key, path, text, repository in rows:
        try:
            rendered[key] = markdown.render_readme(text, path, repository)
        except Exception:  # whatever it is, the others have their turn
            _log.exception("A README is shown as text")
            rendered[key] = f"<pre>{html.escape(text)}</pre>"
        if time.monotonic() > deadline:
            break
    return rendered


def store(rendered: dict[int, str]) -> int:
    """Store READMEs that are still due, and return their number. What a power cut takes back is rendered again."""
    number = 0
    with without_sync(), transaction.atomic():
        for key in sorted(rendered):
            deleted, _ = UnrenderedReadme.objects.filter(pk=key).delete()
            if deleted:  # it was not destroyed or read anew meanwhile
                number += VersionContents.objects.filter(pk=key).update(readme_html=rendered[key])
    return number


class Renderer:
    """The thread of a worker that renders READMEs. It is a daemon: the end of a worker does not wait for it."""

    def __init__(self) -> None:
        self.is_serving = False
        self.awake = threading.Event()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None

    def wake(self) -> None:
        """Let the thread look for work, in a process of the server. The first call starts it, and so a worker does."""
        if not self.is_serving:
            return
        self.awake.set()
        with self.lock:
            if self.thread is None:
                self.thread = threading.Thread(target=self.run, name="readmes", daemon=True)
                self.thread.start()

    def run(self) -> None:
        while True:
            self.awake.wait()
            time.sleep(START_AFTER_SECONDS)
            self.awake.clear()
            try:
                # Workers of a machine take turns, so that they do not render the same ones.
                with file_locks.file_lock("unrendered READMEs", LOCK_SECONDS) as is_locked:
                    if is_locked:
                        work_off()
            except Exception:  # whatever it is, the next minute tries again
                _log.exception("READMEs are not rendered yet")
            finally:
                connections.close_all()  # no request ends in this thread, so Django would leave them open


renderer = Renderer()


@receiver(server_loading)
def begin_serving(**kwargs: Any) -> None:
    renderer.is_serving = True


@receiver(minute_passed)
def look_for_work(**kwargs: Any) -> None:
    if UnrenderedReadme.objects.exists():
        renderer.wake()


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Render what is due, as after the end of a server that stays off."""
    return f"{work_off()} READMEs rendered."
