"""The product's settings on a throw-away data directory; live servers in the tests use the product's own."""

import os
import tempfile

os.environ.setdefault("REGISTRY_DATA_DIR", tempfile.mkdtemp(prefix="entrepot-tests-"))
os.environ.setdefault("REGISTRY_PUBLIC_URL", "http://testserver")

from registry_site.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # Argon2id would take most of the time
