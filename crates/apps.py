"""The app of crates."""

from django.apps import AppConfig


class CratesConfig(AppConfig):
    name = "crates"
    verbose_name = "Crates"
