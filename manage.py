#!/usr/bin/env python
"""The operator's tool: `manage.py help` lists what it can do."""

import gc
import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "registry_site.settings")
    gc.disable()  # what is imported stays; looking for garbage in it takes a sixth of the start
    import django
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        django.setup()  # so that a wrong setting is told in one line
    except ImproperlyConfigured as error:
        sys.exit(f"Cannot start: {error}")
    gc.freeze()
    gc.enable()
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
