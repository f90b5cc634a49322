"""What a person can do about a document that was not taken, or a source that fails. Why it was so is said by what refused it."""

from __future__ import annotations

import re
from typing import Final

# By words of the reason, the first that fit. Reasons that say what to do themselves need none.
REMEDIES: Final = tuple(
    (re.compile(words), remedy)
    for words, remedy in (
        (r"protected by a password|encrypted", "Save it without its password, and bring it in again."),
        (r"pip install", "Run that command where the server runs, restart it, and index this again."),
        (r"characters of text, .* limit", "Divide it, or raise ingest.characters."),
        (r"bytes, (and .* is|which is) the limit", "Divide it, or raise ingest.file_bytes."),
        (r"zip bomb", "Look at what it holds before you trust it; it will not be taken as it is."),
        (r"no whole PDF", "It may be cut short: bring it in whole, or print it into a new PDF."),
        (r"Word document|its XML", "Open it where it was written, save it as .docx, and bring it in again."),
        (r"only pictures", "Run text recognition (OCR) over it first."),
        (r"holds no text", "There is nothing to find in it: leave it out."),
        (r"binary", "It is no text: leave it out, or bring in a text of it."),
        (r"no line of it is JSON", "Write one JSON object a line, or name it .txt to take it as plain text."),
        (r"no table", "Save it as CSV with a line of column names, or name it .txt to take it as plain text."),
        (r"unpacking first", "Unpack it, and bring in what it holds."),
        (r"reader of office files", "Save it as .docx or PDF."),
        (r"nothing here reads", "Send it with the media type of a format that is read, or as plain text."),
        (
            r"took longer than .* s$|memory|broke its reader|has no end",
            "Divide it, or raise ingest.read_s and ingest.memory_bytes.",
        ),
        (r"another source brought it", "Let one source bring it; or delete it with the API key, and send it again."),
        (r"its time is over", "Give it a later expires, or its rule in ingest.ttl more time."),
        (r"holds no file now", "Mount or fill the folder again, or delete its documents here."),
        (r"no file or folder|neither a file nor a folder", "Create the folder, or correct its path in the settings."),
        (r"[Pp]ermission denied", "Let the user that the server runs as read it."),
        (r"is gone \(410\)", "It was taken out; take its address out of the settings."),
        (r"answered (401|403)", "Its host wants a login; only what is open to all can be fetched."),
        (r"no feed is in it", "Give the address of an RSS or Atom feed."),
        (r"answered 4\d\d|there is no host|no address|no http", "Check the address in the settings."),
        (
            r"answered 5\d\d|cannot be reached|took longer|redirects",
            "Nothing to do if it comes back by itself: it is tried again. Else check the address.",
        ),
    )
)


def remedy(why: str) -> str:
    """A sentence, or "" where nothing is known that helps."""
    return next((remedy for words, remedy in REMEDIES if words.search(why)), "")
