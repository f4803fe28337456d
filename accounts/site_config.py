"""Django's admin app, with the site of this registry."""

from django.contrib.admin.apps import AdminConfig


class RegistryAdminConfig(AdminConfig):
    default_site = "accounts.admin_site.RegistryAdminSite"
