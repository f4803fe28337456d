"""A member of staff at the admin site, in a browser without JavaScript, who uses only what stands on the pages."""

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin
from xml.etree.ElementTree import Element, SubElement

from django.contrib.auth.models import Group
from django.test import Client

from accounts import registration
from accounts.models import User
from tests.support.cast import PASSWORD
from tests.support.page_forms import PAGE

VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
HEADINGS = {"h1", "h2", "h3", "caption", "summary"}
APART = {"td", "th", "dt", "dd", "li", "p", "div", "br", "option", "h1", "h2", "h3"}
MAX_CLICKS = 8  # of a task, with a look at its record: more are clumsy


class Tree(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.root = Element("page")
        self.open = [self.root]
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = SubElement(self.open[-1], tag, {name: value or "" for name, value in attrs})
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if any(element.tag == tag for element in self.open[1:]):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        parent = self.open[-1]
        if len(parent):
            parent[-1].tail = (parent[-1].tail or "") + data
        else:
            parent.text = (parent.text or "") + data


def text_of(element: Element) -> str:
    """Return the text of an element, or of a button, with single spaces."""
    return " ".join("".join(texts_of(element)).split()) or element.get("value", "")


def texts_of(element: Element) -> Iterator[str]:
    """Iterate over the texts of an element; what stands apart on the page is apart here, too."""
    gap = " " if element.tag in APART else ""
    yield gap + (element.text or "")
    for child in element:
        yield from texts_of(child)
        yield child.tail or ""
    yield gap


class Form:
    """A form with the values that its fields have. A field is filled in by its name; a choice is made by its label."""

    def __init__(self, page: Element, element: Element) -> None:
        self.element = element
        self.labels = {label.get("for"): text_of(label) for label in page.iter("label")}
        self.labels.update({field.get("id"): text_of(label) for label in page.iter("label") for field in label})
        self.values: dict[str, list[str]] = {}
        self.fields: dict[str, list[Element]] = {}
        for field in element.iter():
            if field.tag in ("input", "select", "textarea") and field.get("name"):
                self.fields.setdefault(field.get("name", ""), []).append(field)
        for name, fields in self.fields.items():
            self.values[name] = [value for field in fields for value in initial_values(field)]

    def button(self, text: str) -> Element | None:
        """Return the button with a text, if the form has it."""
        buttons = (e for e in self.element.iter() if e.tag == "button" or e.get("type") == "submit")
        return next((button for button in buttons if text_of(button) == text), None)

    def fill_in(self, name: str, value: Any) -> None:
        """Fill in a visible field: a text, True or False for a single box, the label or the labels of choices."""
        fields = [field for field in self.fields.get(name, ()) if field.get("type") != "hidden"]
        assert fields, f"no field {name}, but {', '.join(self.fields)}"
        if isinstance(value, bool):
            self.values[name] = [fields[0].get("value", "on")] if value else []
        elif choices := self.choices(fields):
            labels = [value] if isinstance(value, str) else value
            self.values[name] = [choices[of_label(choices, label)] for label in labels]
        else:
            self.values[name] = [value]

    def choices(self, fields: list[Element]) -> dict[str, str]:
        """Return the values that may be chosen, by their labels."""
        options = {text_of(option): option.get("value", "") for field in fields for option in field.iter("option")}
        boxes = [field for field in fields if field.get("type") in ("checkbox", "radio")]
        return {**options, **{self.labels[box.get("id")]: box.get("value", "on") for box in boxes}}


def of_label(choices: Mapping[str, str], text: str) -> str:
    """Return the label that a text is, or is the beginning of."""
    labels = [label for label in choices if label == text] or [label for label in choices if label.startswith(text)]
    assert len(labels) == 1, f"no choice {text}, but {', '.join(choices)}"
    return labels[0]


def initial_values(field: Element) -> list[str]:
    """Return what a browser sends for a field that nobody has touched."""
    if field.tag == "select":
        options = list(field.iter("option"))
        selected = [option for option in options if "selected" in option.attrib]
        default = [] if "multiple" in field.attrib else options[:1]
        return [option.get("value", "") for option in selected or default]
    if field.tag == "textarea":
        return ["".join(field.itertext()).removeprefix("\r\n").removeprefix("\n")]
    if field.get("type") in ("submit", "file") or "disabled" in field.attrib:
        return []
    if field.get("type") in ("checkbox", "radio"):
        return [field.get("value", "on")] if "checked" in field.attrib else []
    return [field.get("value", "")]


class Staff:
    """A member of staff on the front page of the admin site. `clicks` counts links and buttons."""

    def __init__(self, user: User) -> None:
        self.client = Client(enforce_csrf_checks=True, headers={**PAGE, "Origin": "http://testserver"})
        self.client.force_login(user)
        self.clicks = 0
        self.open("/admin/")

    @classmethod
    def of_rank(cls, rank: str) -> "Staff":
        """Return a new member of staff, named as the rank."""
        user = registration.register(rank, PASSWORD)
        user.groups.add(Group.objects.get(name=rank))
        User.objects.filter(pk=user.pk).update(is_staff=True)
        return cls(User.objects.get(pk=user.pk))

    # --- What the page says --------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """Return the text of the page without its frame."""
        return text_of(next(element for element in self.page.iter() if element.get("id") == "content"))

    @property
    def title(self) -> str:
        return next(text_of(heading) for heading in self.page.iter("h1"))

    def fact(self, label: str) -> str:
        """Return what stands beside a label: on the page of an object, or on the front page."""
        return text_of(self.value(label))

    def value(self, label: str) -> Element:
        values = [next(row.iter("dd")) for row in self.page.iter("div") for head in row if is_label(head, label)]
        assert values, f"no fact {label} on the page {self.title!r}: {self.text}"
        return values[0]

    def rows(self, under: str = "") -> list[list[str]]:
        """Return the texts of the rows of all tables, or of those under a heading."""
        return [
            [text_of(cell) for cell in row if cell.tag in ("td", "th")]
            for heading, row in self.below_headings("tr")
            if under in ("", heading)
        ]

    def row(self, text: str, under: str = "") -> str:
        """Return the first row that has a text."""
        return next(line for line in map(" ".join, self.rows(under)) if text in line)

    def list_column(self, title: str) -> list[str]:
        """Return the texts of one column of a list."""
        table = next(element for element in self.page.iter("table") if element.get("id") == "result_list")
        heads, *rows = [[text_of(cell) for cell in row] for row in table.iter("tr")]
        return [row[heads.index(title)] for row in rows]

    def below_headings(self, tag: str) -> Iterator[tuple[str, Element]]:
        """Iterate over elements, each with the heading that it stands below."""
        heading, title = "", Element("none")
        for element in self.page.iter():
            if element.tag in HEADINGS:
                heading, title = text_of(element), element
            elif element.tag == tag:
                yield "" if element in title.iter() else heading, element

    def history(self) -> str:
        """Open the History of the object that is open, or of the first one that a run has changed; return its text."""
        changes = [link.get("href", "") for heading, link in self.below_headings("a") if heading == "Changes"]
        if changes:
            self.visit(changes[0])
        return self.follow("History").text

    # --- What a person does --------------------------------------------------------------------------------------

    def open(self, path: str) -> "Staff":
        return self.show(self.client.get(path, follow=True), path)

    def follow(self, text: str, under: str = "") -> "Staff":
        """Follow the link with a text; the heading that it stands below tells it from others."""
        links = [(heading, link) for heading, link in self.below_headings("a") if link.get("href")]
        urls = {link.get("href", "") for heading, link in links if text_of(link) == text and under in ("", heading)}
        assert len(urls) == 1, (
            f"{len(urls)} links {text!r} on the page {self.title!r}: {[text_of(e) for _, e in links]}"
        )
        return self.visit(urls.pop())

    def visit(self, url: str) -> "Staff":
        self.click()
        return self.open(urljoin(self.path, url))

    def follow_fact(self, label: str) -> "Staff":
        """Follow the link beside a label."""
        return self.visit(next(self.value(label).iter("a")).get("href", ""))

    def search(self, text: str) -> "Staff":
        """Search everything, by the box in the header."""
        return self.submit("Search", q=text)

    def search_list(self, text: str) -> "Staff":
        """Search the list that is open, by the box above it."""
        form = next(Form(self.page, e) for e in self.page.iter("form") if e.get("id") == "changelist-search")
        form.fill_in("q", text)
        return self.press(form, "Search")

    def submit(self, button: str, **fields: Any) -> "Staff":
        """Fill in fields of the first form that has a button, and press it."""
        forms = [Form(self.page, element) for element in self.page.iter("form")]
        form = next((form for form in forms if form.button(button) is not None), None)
        assert form is not None, f"no button {button!r} on the page {self.title!r}"
        for name, value in fields.items():
            form.fill_in(name, value)
        return self.press(form, button)

    def choose(self, action: str, *rows: str) -> "Staff":
        """Tick the rows of a list that have these texts, choose an action in its menu, and go on."""
        form = next(Form(self.page, e) for e in self.page.iter("form") if e.get("id") == "changelist-form")
        boxes = {text: box for row in self.page.iter("tr") for box in boxes_of(row) for text in map(text_of, row)}
        form.values["_selected_action"] = [boxes[text].get("value", "") for text in rows]
        form.fill_in("action", action)
        return self.press(form, "Go")

    def click(self) -> None:
        self.clicks += 1
        assert self.clicks <= MAX_CLICKS

    def press(self, form: Form, text: str) -> "Staff":
        button = form.button(text)
        assert button is not None
        if button.get("name"):
            form.values[button.get("name", "")] = [button.get("value", "")]
        path = urljoin(self.path, button.get("formaction") or form.element.get("action") or "")
        self.click()
        if form.element.get("method", "get") == "post":
            return self.show(self.client.post(path, form.values, follow=True), path)
        return self.show(self.client.get(path.partition("?")[0], form.values, follow=True), path)

    def show(self, response: Any, path: str) -> "Staff":
        self.response, self.path = response, path
        if getattr(response, "redirect_chain", None):
            self.path = urljoin(path, response.redirect_chain[-1][0])
        if response.headers.get("Content-Type", "").startswith("text/html"):
            self.page = Tree(response.content.decode()).root
        assert response.status_code == 200, f"{response.status_code} at {self.path}: {self.text}"
        return self


def boxes_of(row: Element) -> list[Element]:
    """Return the boxes by which a row of a list is chosen."""
    return [box for box in row.iter("input") if box.get("name") == "_selected_action"]


def is_label(element: Element, text: str) -> bool:
    return element.tag == "dt" and text_of(element) == text
