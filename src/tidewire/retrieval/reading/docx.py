"""Word documents (.docx): a zip of XML, read by the standard library and defusedxml. Only in a process of its own (`reader.py`).

Two parts of the zip are unpacked, never to disk: the text and its description. Each is refused by the size it declares,
and again while it is unpacked, since a zip may declare anything. Hidden text and deleted text are left out.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, Final

from tidewire.retrieval.reading.dates import seconds
from tidewire.retrieval.reading.page import NotRead, Page

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

KIND: Final = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PART: Final = 64 << 20  # bytes of one part of the zip, unpacked
RATIO: Final = 200  # times that a part may grow as it is unpacked; XML grows some 10 times
SMALL: Final = 1 << 20  # bytes below which the ratio says nothing
W: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_OLE: Final = b"\xd0\xcf\x11\xe0"  # what Word makes of a document with a password: no zip at all


def read(raw: bytes, most: int) -> Page:
    """most: characters of text. Raises NotRead for one that is protected, broken, or a zip bomb."""
    if raw.startswith(_OLE):
        raise NotRead("not read: it is protected by a password, or an older Word document")
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            body = _parsed(_part(packed, "word/document.xml", len(raw)))
            described = "docProps/core.xml" in packed.namelist()
            about = _parsed(_part(packed, "docProps/core.xml", len(raw))) if described else None
    except KeyError:
        raise NotRead("not read: a zip without word/document.xml is no Word document") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise NotRead(f"not read: no whole Word document ({type(error).__name__})") from error
    paragraphs: list[str] = []
    size = 0
    for element in body.iter():
        if element.tag == f"{W}p":
            paragraphs.append(_paragraph(element))
            size += len(paragraphs[-1])
            if size > most:
                raise NotRead(f"not read: more than {most:,} characters of text, which is the limit")
    title, published = _about(about)
    return Page(title, "\n\n".join(filter(None, paragraphs)), KIND, published)


def _part(packed: zipfile.ZipFile, name: str, whole: int) -> bytes:
    """whole: bytes of the zip."""
    entry = packed.getinfo(name)
    if entry.flag_bits & 1:
        raise NotRead("not read: it is protected by a password")
    if entry.file_size > PART or (entry.file_size > SMALL and entry.file_size > RATIO * max(1, entry.compress_size)):
        raise NotRead(f"not read: a zip bomb ({name} says that it unpacks to {entry.file_size:,} bytes)")
    out = bytearray()
    with packed.open(entry) as source:
        while piece := source.read(65536):
            out += piece
            if len(out) > min(PART, max(SMALL, RATIO * whole)):
                raise NotRead(f"not read: a zip bomb ({name} unpacks to more than {len(out):,} bytes)")
    return bytes(out)


def _parsed(xml: bytes) -> Any:
    try:
        from defusedxml.common import DefusedXmlException  # noqa: PLC0415 - of the extra "documents"
        from defusedxml.ElementTree import ParseError, fromstring  # noqa: PLC0415
    except ImportError:
        raise NotRead("not read: .docx needs pip install 'tidewire[documents]'") from None
    try:
        return fromstring(xml)
    except DefusedXmlException as error:
        raise NotRead(f"not read: its XML has entities of its own ({type(error).__name__})") from error
    except ParseError as error:
        raise NotRead(f"not read: its XML is broken ({error})") from error


def _paragraph(element: Element) -> str:
    """As Markdown: a heading by its style, an item of a list, or plain words."""
    text = "".join(_run(run) for run in element.iter(f"{W}r")).strip()
    if not text:
        return ""
    style = element.find(f"{W}pPr/{W}pStyle")
    name = (style.get(f"{W}val", "") if style is not None else "").lower().replace(" ", "")
    if name == "title":
        return f"# {text}"
    if name.startswith("heading") and name[7:].isdigit():
        return f"{'#' * max(1, min(6, int(name[7:])))} {text}"
    return f"- {text}" if element.find(f"{W}pPr/{W}numPr") is not None else text


def _run(run: Element) -> str:
    hidden = run.find(f"{W}rPr/{W}vanish")
    if hidden is not None and hidden.get(f"{W}val", "true") not in ("0", "false"):
        return ""
    out = []
    for part in run:
        if part.tag == f"{W}t":
            out.append(part.text or "")
        elif part.tag in (f"{W}tab", f"{W}br", f"{W}cr"):
            out.append("\t" if part.tag == f"{W}tab" else "\n")
    return "".join(out)


def _about(core: Any) -> tuple[str, float | None]:
    """Title and date, as docProps/core.xml says them."""
    if core is None:
        return "", None
    said = {element.tag.rpartition("}")[2]: element.text or "" for element in core.iter()}
    return said.get("title", "").strip()[:200], seconds(said.get("modified")) or seconds(said.get("created"))
