"""The tests start the registry many times; to compile it each time would take longer than all that they ask of it."""

import os
import sys

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
