"""The pages of one package: how to fetch it, versions, dependencies and files, and all of it as Markdown."""

from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views import View

from accounts.credentials import browser_sessions
from packages.presentation import PresentedPackage
from registry_site import paging, visitors
from registry_site.http.spelling import redirect_to_spelling


class PackagePage(View):
    """A page of a package."""

    http_method_names = ["get", "head"]
    template_name: ClassVar[str]
    tab: ClassVar[str] = ""

    def get(self, request: HttpRequest, namespace: str, name: str, version: str = "") -> HttpResponseBase:
        """Respond with the page, at the address that spells all names as they were published."""
        self.require_reader(request)
        package = PresentedPackage.get(browser_sessions.get_viewer(request), namespace, name, version)
        spelling = {"namespace": package.namespace.name, "name": package.name}
        if version:
            spelling["version"] = package.release.version
        if self.kwargs != spelling:
            return redirect_to_spelling(request, **spelling)
        return self.respond(request, package)

    def require_reader(self, request: HttpRequest) -> None:
        visitors.require_reader(request)

    def respond(self, request: HttpRequest, package: PresentedPackage) -> HttpResponse:
        context = {"package": package, "tab": self.tab, **self.context(request, package)}
        return render(request, self.template_name, context)

    def context(self, request: HttpRequest, package: PresentedPackage) -> dict[str, Any]:
        return {}


class Overview(PackagePage):
    """`GET /namespaces/{namespace}/packages/{name}[/versions/{version}]`"""

    template_name = "packages/package.html"
    tab = "overview"

    def context(self, request: HttpRequest, package: PresentedPackage) -> dict[str, Any]:
        return {"dependencies": package.list_dependencies(1)}


class Versions(PackagePage):
    """`GET /namespaces/{namespace}/packages/{name}/versions?page=`"""

    template_name = "packages/versions.html"
    tab = "versions"

    def context(self, request: HttpRequest, package: PresentedPackage) -> dict[str, Any]:
        return paging.part_of_list(request, package.list_versions)


class Dependencies(PackagePage):
    """`GET /namespaces/{namespace}/packages/{name}[/versions/{version}]/dependencies?page=`"""

    template_name = "packages/dependencies.html"
    tab = "dependencies"

    def context(self, request: HttpRequest, package: PresentedPackage) -> dict[str, Any]:
        return paging.part_of_list(request, package.list_dependencies)


class Files(PackagePage):
    """`GET /namespaces/{namespace}/packages/{name}[/versions/{version}]/files?page=`"""

    template_name = "packages/files.html"
    tab = "files"

    def context(self, request: HttpRequest, package: PresentedPackage) -> dict[str, Any]:
        return paging.part_of_list(request, package.list_files)


class Markdown(PackagePage):
    """The page for agents and terminals: `Accept: text/markdown`"""

    template_name = "packages/package.md"

    def respond(self, request: HttpRequest, package: PresentedPackage) -> HttpResponse:
        context = {
            "package": package,
            "dependencies": package.list_dependencies(1),
            "public_url": settings.PUBLIC_URL,
        }
        return render(request, self.template_name, context, content_type="text/markdown; charset=utf-8")
