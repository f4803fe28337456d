"""The one list of pages: tests of accessibility, of queries, of weight and of snapshots walk over it.

Add each new page. Its path names things that `tests.support.sample_registry` makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page: the name of its snapshot, its path, the signed-in visitor if it needs one, and its status."""

    name: str
    path: str
    visitor: str = ""
    status: int = 200


PAGES: Sequence[Page] = (
    Page("home", "/"),
    Page("home-signed-in", "/", "alice"),
    Page("search", "/search?q=harbour"),
    Page("search-all", "/search"),
    Page("search-keyword", "/search?keyword=shipping&sort=new"),
    Page("search-nothing", "/search?q=nothing-of-this-name"),
    Page("search-refused", "/search?q=harbour&page=0", status=400),
    Page("search-mirror", "/search?source=mirror&q=serde"),
    Page("search-packages", "/search?source=packages"),
    Page("search-namespaces", "/search?source=namespaces"),
    Page("crate-version", "/crates/manifest-parser/0.3.0"),
    Page("sign-in", "/sign-in"),
    Page("sign-up", "/sign-up"),
    Page("sign-out", "/sign-out", "alice"),
    Page("password-reset", "/password-reset"),
    Page("password-link-ended", "/password-reset/none", status=400),
    Page("account", "/account", "alice"),
    Page("account-name", "/account/name", "alice"),
    Page("account-email", "/account/email", "alice"),
    Page("account-avatar", "/account/avatar", "alice"),
    Page("account-password", "/account/password", "alice"),
    Page("account-close", "/account/close", "alice"),
    Page("account-sessions", "/account/sessions", "alice"),
    Page("account-notifications", "/account/notifications", "alice"),
    Page("account-events", "/account/events", "alice"),
    Page("account-tokens", "/account/tokens", "alice"),
    Page("account-new-token", "/account/tokens/new?preset=ci&crate=harbour-core", "alice"),
    Page("account-identities", "/account/identities", "alice"),
    Page("account-security", "/account/security", "alice"),
    Page("account-security-on", "/account/security", "charlie"),
    Page("account-new-app", "/account/security/app", "alice"),
    Page("account-new-passkey", "/account/security/passkey", "alice"),
    Page("account-recovery-codes", "/account/security/recovery-codes", "charlie"),
    Page("account-confirm", "/account/confirm", "charlie"),
    Page("account-app-keys", "/account/app-keys", "alice"),
    Page("crate", "/crates/harbour-core"),
    Page("crate-of-many-parts", "/crates/dispatch-cli?features=serde"),
    Page("yanked-version", "/crates/crane-protocol/0.1.1"),
    Page("versions", "/crates/crane-protocol/versions"),
    Page("dependencies", "/crates/manifest-parser/dependencies"),
    Page("dependents", "/crates/harbour-core/dependents"),
    Page("crate-settings", "/crates/harbour-core/settings", "alice"),
    Page("versions-of-owner", "/crates/crane-protocol/versions", "alice"),
    Page("yank", "/crates/crane-protocol/0.2.0/yank", "alice"),
    Page("unyank", "/crates/crane-protocol/0.1.1/unyank", "alice"),
    Page("source", "/crates/harbour-core/source"),
    Page("source-file", "/crates/harbour-core/source/src/lib.rs"),
    Page("diff", "/crates/crane-protocol/diff/0.1.1...0.2.0"),
    Page("diff-of-a-file", "/crates/crane-protocol/diff/0.1.1...0.2.0?path=src/lib.rs"),
    Page("diff-form", "/crates/crane-protocol/diff"),
    Page("mirrored-diff", "/mirror/crates/serde_json/diff/1.0.145...1.0.146"),
    Page("mirrored-crate", "/mirror/crates/serde_json"),
    Page("mirrored-versions", "/mirror/crates/serde_json/versions"),
    Page("mirrored-dependents", "/mirror/crates/serde_json/dependents"),
    Page("mirrored-source", "/mirror/crates/serde_json/source/src"),
    Page("keywords", "/keywords"),
    Page("keyword", "/keywords/shipping"),
    Page("categories", "/categories"),
    Page("category", "/categories/data-structures"),
    Page("person", "/people/alice"),
    Page("namespace", "/namespaces/harbour"),
    Page("namespace-as-manager", "/namespaces/harbour?sort=downloads", "alice"),
    Page("personal-namespace", "/namespaces/alice"),
    Page("package", "/namespaces/harbour/packages/tide-widget"),
    Page("package-version", "/namespaces/harbour/packages/tide-widget/versions/1.0.0", "bob"),
    Page("private-package", "/namespaces/harbour/packages/gate-keys", "alice"),
    Page("deprecated-package", "/namespaces/harbour/packages/yard-dashboard"),
    Page("package-versions", "/namespaces/harbour/packages/berth-report/versions"),
    Page("package-dependencies", "/namespaces/harbour/packages/tide-widget/dependencies"),
    Page("package-files", "/namespaces/harbour/packages/tide-widget/files"),
    Page("members", "/namespaces/harbour/members"),
    Page("members-as-manager", "/namespaces/harbour/members", "alice"),
    Page("member", "/namespaces/harbour/members/bob", "alice"),
    Page("leave-namespace", "/namespaces/harbour/members/bob", "bob"),
    Page("collaborators", "/namespaces/harbour/packages/gate-keys/collaborators", "alice"),
    Page("collaborator", "/namespaces/harbour/packages/gate-keys/collaborators/charlie", "alice"),
    Page("account-namespaces", "/account/namespaces", "bob"),
    Page("account-invitations", "/account/invitations", "charlie"),
    Page("package-settings", "/namespaces/harbour/packages/berth-report/settings", "alice"),
    Page("package-removal", "/namespaces/harbour/packages/tide-widget/remove", "alice"),
    Page("package-refused", "/namespaces/harbour/packages/tide-widget/remove", "bob", status=403),
    Page("missing-package", "/namespaces/harbour/packages/gate-keys", status=404),
    Page("missing-crate", "/crates/none", status=404),
    Page("unknown-path", "/nothing-at-this-path", status=404),
)
