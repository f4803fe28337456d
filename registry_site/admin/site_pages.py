"""Pages of the admin site that belong to no list of rows: each room registers its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

View = Callable[[HttpRequest], HttpResponse]


@dataclass(frozen=True)
class SitePage:
    """A page at a path below `/admin/`, for those who have a permission; without one for all staff."""

    path: str
    name: str
    permission: str
    view: View


registered: list[SitePage] = []


def page(path: str, name: str, permission: str = "") -> Callable[[View], View]:
    """Register the view of a page, whose URL is `admin:NAME`."""

    def register(view: View) -> View:
        registered.append(SitePage(path, name, permission, view))
        return view

    return register


def urls(site: admin.AdminSite) -> list[URLPattern]:
    """Return the URLs of all pages; the site admits only staff to them."""
    return [path(page.path, site.admin_view(guarded(page)), name=page.name) for page in registered]


def guarded(page: SitePage) -> View:
    """Return the view of a page that refuses who lacks its permission."""

    def view(request: HttpRequest) -> HttpResponse:
        if page.permission and not request.user.has_perm(page.permission):
            raise PermissionDenied
        return page.view(request)

    return view


def render(request: HttpRequest, template: str, title: str, status: int = 200, **context: Any) -> TemplateResponse:
    """Return a page with the frame of the admin site."""
    frame = admin.site.each_context(request)
    return TemplateResponse(request, template, {**frame, "title": title, **context}, status=status)
