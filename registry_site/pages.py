"""The home page and the search, out of the sections that the rooms register."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from registry_site import sections
from registry_site.cargo_config import REGISTRY_NAME, cargo_config, mirror_config
from registry_site.forms import render_form
from registry_site.http.negotiation import View
from registry_site.search_form import SearchForm
from registry_site.visitors import may_read, require_reader


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """`GET /` of a browser"""
    context = {
        "cargo_config": cargo_config(),
        "mirror_config": mirror_config(),
        "registry": REGISTRY_NAME,
        "overview": sections.overview() if may_read(request) else None,
    }
    return render(request, "registry_site/home.html", context)


@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """`GET /search`"""
    require_reader(request)
    form = SearchForm(request.GET)
    form.submit()
    return render_form(request, "registry_site/search.html", form)


def to_search(source: str) -> View:
    """Return a view that leads from a list of an API, and its `?query=`, to the search of people."""

    @require_safe
    def view(request: HttpRequest) -> HttpResponse:
        require_reader(request)
        fields = {"q": request.GET.get("query", ""), "source": source, "page": request.GET.get("page", "")}
        return HttpResponseRedirect(f"/search?{urlencode({name: value for name, value in fields.items() if value})}")

    return view
