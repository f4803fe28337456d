"""Settings of the tests: the product's, on a temporary data directory. Live servers in tests use the product's own."""

import atexit
import os
import tempfile

_data_dir = tempfile.TemporaryDirectory(prefix="entrepot-tests-")
atexit.register(_data_dir.cleanup)
os.environ["REGISTRY_DATA_DIR"] = _data_dir.name
os.environ["REGISTRY_PUBLIC_URL"] = "http://testserver"

from registry_site.settings import *  # noqa: E402, F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # Argon2id would take most of the time
MIRROR_UPSTREAM.clear()  # noqa: F405 - a publish asks upstream for its name, and no test asks crates.io
WHITENOISE_AUTOREFRESH = True  # or each of the many clients would read the names of all static files first
if DATABASES["default"]["ENGINE"] == "registry_site.sqlite":  # noqa: F405
    DATABASES["default"]["ENGINE"] = "django.db.backends.sqlite3"  # noqa: F405 - in memory, where nobody queues
