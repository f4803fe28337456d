"""Paths of files in archives, whose names anybody may have chosen."""

from django import template

from registry_site.bidirectional import mark_in_text

register = template.Library()
register.filter("path", mark_in_text)
