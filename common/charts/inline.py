"""From matplotlib's SVG to an element of a page: in the page's theme, and in a fraction of the bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from emofuse.common.charts.palette import THEMED

FEWEST_MARKERS = 6
"""Fewer equal markers in a row stay as they are."""
_NAMESPACE = re.compile(r"\{[^}]*\}")
_NUMBER = re.compile(r"-?\d*\.\d+(?:e-?\d+)?")
_REFERENCE = re.compile(r"^(#|url\(#)([^)]+)")
_COLOURS = {getattr(THEMED, field.name): f"var(--{field.name})" for field in fields(THEMED)}


def page_svg(svg: str, name: str, titles_of: Mapping[str, Sequence[str]] = MappingProxyType({})) -> str:
    """An SVG file of matplotlib as an element of a page.

    Its colours follow the page's theme, its letters the page's font.

    Args:
        svg: The file; its texts are texts (`svg.fonttype` none).
        name: Unique in the page: it starts every id and every class in the element.
        titles_of: Id of a group of markers -> what a browser shows of each marker that is pointed at.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        element.tag = _NAMESPACE.sub("", element.tag)
        element.attrib = {_NAMESPACE.sub("", key): value for key, value in element.attrib.items()}
        element.text, element.tail = (element.text if element.tag == "text" else None), None
    for group in root.iter("g"):
        for use, title in zip(group.iter("use"), titles_of.get(group.get("id", ""), ()), strict=False):
            ElementTree.SubElement(use, "title").text = title
    _join_markers(root)
    for element in root.iter():
        _shorten(element)
    _name_ids(root, name)
    _drop_empty(root)
    _share_styles(root, name)
    width, height = (float(root.attrib[side].removesuffix("pt")) * 96 / 72 for side in ("width", "height"))
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}", "viewBox": root.attrib["viewBox"]}
    root.attrib = {"aria-hidden": "true", "focusable": "false", **size, "style": f"--width:{width:.0f}px"}
    return ElementTree.tostring(root, encoding="unicode")


def _shorten(element: Element) -> None:
    """Two digits after the point, no turn by nothing, no font of matplotlib, the colours of the theme."""
    for key in ("d", "x", "y", "width", "height", "transform", "style"):
        if key in element.attrib:
            value = _NUMBER.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), element.attrib[key])
            element.set(key, " ".join(value.split()))
    if element.get("transform", "").startswith(("rotate(-0 ", "rotate(0 ")):
        del element.attrib["transform"]
    if "style" in element.attrib:
        style = re.sub(r"font: (?:(\d+) |\w+ )*([\d.]+)px [^;]*", _font, element.attrib["style"])
        style = re.sub(r"font-family: [^;]*;? ?", "", style)
        for colour, variable in _COLOURS.items():
            style = style.replace(colour, variable)
        element.set("style", style.replace(": ", ":").replace("; ", ";"))


def _font(match: re.Match[str]) -> str:
    """`font: 700 7.5px 'DejaVu Sans'` as its size, and its weight where it has one."""
    return f"font-size: {match[2]}px" + (f"; font-weight: {match[1]}" if match[1] else "")


def _join_markers(root: Element) -> None:
    """Equal markers in a row become one invisible line with a marker at each of its points."""
    for parent in [*root.iter("g")]:
        for run in [*_runs(parent)]:
            target, style = _look(run[0])
            marker = Element(
                "marker", id=f"{target[1:]}-{len(parent)}", overflow="visible", markerUnits="userSpaceOnUse"
            )
            marker.append(Element("use", href=target, style=style))
            points = " ".join(f"{float(use.get('x', 0)):.1f},{float(use.get('y', 0)):.1f}" for use in run)
            line = Element("polyline", points=points, fill="none")
            line.attrib |= {f"marker-{end}": f"url(#{marker.get('id')})" for end in ("start", "mid", "end")}
            place = list(parent).index(run[0])
            parent[place : place + len(run)] = [marker, line]


def _runs(parent: Element) -> Iterator[list[Element]]:
    """Equal markers without titles that stand one after the other."""
    run: list[Element] = []
    for element in [*parent, Element("end")]:
        joins = element.tag == "use" and not len(element)
        if run and not (joins and _look(element) == _look(run[0])):
            if len(run) >= FEWEST_MARKERS:
                yield run
            run = []
        if joins:
            run.append(element)


def _look(use: Element) -> tuple[str, str]:
    return use.get("href", ""), use.get("style", "")


def _name_ids(root: Element, name: str) -> None:
    """Ids that something refers to become short and begin with the chart's name; the others go."""
    names: dict[str, str] = {}
    for element in root.iter():
        for key, value in element.items():
            if key != "d" and (found := _REFERENCE.match(value)):
                short = names.setdefault(found[2], f"{name}-{len(names) + 1}")
                element.set(key, value.replace(found[2], short))
    for element in root.iter():
        if short := names.get(element.attrib.pop("id", ""), ""):
            element.set("id", short)


def _drop_empty(parent: Element) -> None:
    """Groups without attributes give way to what is in them; shapes without colour go, and so does matplotlib's style.

    The page's stylesheet has the joins of lines that this style has.
    """
    kept: list[Element] = []
    for child in parent:
        _drop_empty(child)
        if child.tag == "g" and not child.attrib:
            kept += child
        elif (
            child.tag not in ("style", "metadata")
            and child.get("style") != "fill:none"
            and (child.tag != "defs" or len(child))
        ):
            kept.append(child)
    parent[:] = kept


def _share_styles(root: Element, name: str) -> None:
    """Styles of several elements become classes of the page."""
    counts = Counter(element.get("style", "") for element in root.iter())
    classes = {style: f"{name}-s{n}" for n, (style, count) in enumerate(counts.items()) if style and count > 1}
    for element in root.iter():
        if element.get("style") in classes:
            element.set("class", classes[element.attrib.pop("style")])
    if classes:
        sheet = Element("style")
        sheet.text = "".join(f".{class_}{{{style}}}" for style, class_ in classes.items())
        root.insert(0, sheet)
