"""Audit events as sentences."""

import pytest

from registry_site.event_sentences import SENTENCES, sentence_of
from registry_site.models import Action, AuditEvent

pytestmark = pytest.mark.database_independent


def test_every_action_has_a_sentence() -> None:
    assert {action.value for action in Action} - set(SENTENCES) == set()
    events = [AuditEvent(action=action, target="target") for action in Action]
    assert [sentence_of(event) for event in events if not sentence_of(event).endswith(".")] == []


def test_sentence_has_target_and_detail() -> None:
    event = AuditEvent(action="user.rename", target="alicia", detail={"former": "alice"})
    assert sentence_of(event) == "The account alice is now called alicia."


def test_sentence_names_all_of_a_list() -> None:
    owners = AuditEvent(action="crate.add_owners", target="serde", detail={"users": ["bob", "dora"]})
    assert sentence_of(owners) == "The crate serde got owners: bob, dora."
    members = AuditEvent(action="namespace.add_members", target="harbour", detail={"members": {"bob": "OWNER"}})
    assert sentence_of(members) == "The namespace harbour got members: bob."


def test_first_address_came_after_none() -> None:
    event = AuditEvent(action="user.change_email", target="alice", detail={"former": "", "email": "a@example.org"})
    assert sentence_of(event) == "The e-mail address was changed from none to a@example.org."


def test_braces_in_an_event_are_text() -> None:
    event = AuditEvent(action="token.issue", target="x", detail={"token": "{target.__class__}"})
    assert sentence_of(event) == "The token {target.__class__} was made."
