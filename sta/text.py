"""Text that others wrote, such as names of files: safe to print, without keys and signatures.

Names of files, labels of lists and messages of decoders may hold control characters, which drive a
terminal or forge a line of a log, and addresses with a signature or a password. `displayed` is what
a screen or a page may show of them. Tables may hold the exact text, unless `holds_secret` is true.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = "***"
"""What stands in place of a key, a signature or a password."""

# Parameters of an address, after ? & # or ; as they stand there or percent-encoded.
_PARAMETER = r"""
    [\w.-]{0,24} (?: signature | credential s? | token | secret | passw(?:or)?d | accessid
              | (?:api|access|secret|auth|private)[_-]?key(?:[_-]?id)? ) [\w.-]{0,24}
  | sig | sign | key | auth | pass | pwd | policy | hmac | jwt | key-pair-id | hdn(?:ts|ea|tl)
  | q-signature | session[_-]?(?:id|key)? | jsessionid
"""
# Names that are keys wherever they stand; `sign=` alone may be a folder of pictures of signs.
_ANYWHERE = r"""
    x-(?:amz|goog|oss)-(?:signature|credential|security-token) | (?:aws|oss)?access_?key_?id
  | (?:aws_)?(?:secret_)?access_key | secret_?key | api[_-]?key | client_secret
  | (?:access|auth|refresh|id)_?token | passw(?:or)?d
"""
_VALUE = rf"(?!{re.escape(HIDDEN)}) (?: (?! %26|&amp; ) [^\s&\#\"'<>`|] )+"

_PATTERNS = (
    # scheme://user:password@host; a password may contain a slash. Of s3:// also without an @, since
    # names of buckets have no colon.
    # abfss:// names a container and an account in this form.
    r"(?<=://) (?!\*\*\*@) (?! (?<=abfss://) [a-z0-9$-]{1,63}@[a-z0-9-]{1,63}\.(?:dfs|blob)\. )"
    r" (?: [^\s/?\#\"'<>]{1,128} | [^\s/?\#\"'@:]+:(?!\d+/)[^\s\"'@]{1,128} )"
    r" (?=@)",
    r"(?<=s3://) [^\s/?\#\"'@:*]+ : [^\s/\"']+ | (?<=s3[an]://) [^\s/?\#\"'@:*]+ : [^\s/\"']+",
    rf"(?: (?<=[?&\#;]) | (?<=%3F) | (?<=%26) | (?<=%23) ) (?P<mark>(?:{_PARAMETER})(?:=|%3D))"
    + _VALUE,
    rf"(?<![\w.-]) (?P<name>(?:{_ANYWHERE})(?:=|%3D)) {_VALUE}",
    r"(?<!\w) (?P<bearer>bearer\s+) [\w.~+/=-]{16,}",
    # Keys of well-known services by their shape: AWS, Google, GitHub, Hugging Face, Slack, OpenAI;
    # JSON web tokens; private keys.
    r"(?<![A-Za-z0-9]) (?-i: (?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9]) | AIza[\w-]{35}(?![\w-])"
    r" | gh[pousr]_[A-Za-z0-9]{36,255} | github_pat_\w{22,255} | hf_[A-Za-z0-9]{30,64}"
    r" | xox[abeprs]-[\w-]{10,255} | sk-(?:proj-|ant-)?[A-Za-z0-9]{32,255}"
    r" | eyJ[\w-]{8,200}\.eyJ[\w-]{8,4000}\.[\w-]{8,2000} )",
    r"-----BEGIN\ [A-Z\ ]*PRIVATE\ KEY-----.*",
)
# Times the characters that are shown: how much of a longer text is read for them.
_READ = 10

# Nearly all names hold none of these, and most of the time goes into saying so.
_HINT = re.compile(
    r"=|%3[Dd]|://[^@:]*[@:]|AKIA|ASIA|AIza|gh[pousr]_|github_pat_|hf_|xox|sk-|eyJ|EARER|earer|KEY-----"
)
_SECRET = re.compile("|".join(_PATTERNS), re.IGNORECASE | re.VERBOSE | re.DOTALL)

_NOT_ASCII = re.compile(r"[^ -~]")


def printable(text: str) -> str:
    """The text on one line: what a terminal does not print, such as a line break, as an escape."""
    return text if text.isprintable() else _NOT_ASCII.sub(_escaped, text)


def redacted(text: str) -> str:
    """The text with `***` for each key, signature and password that it seems to hold."""
    return _SECRET.sub(_hidden, text) if _HINT.search(text) else text


def holds_secret(text: str) -> bool:
    """Whether the text seems to hold a key, a signature or a password."""
    return _HINT.search(text) is not None and _SECRET.search(text) is not None


def displayed(text: str, *, longest: int | None = None) -> str:
    """The text as a screen or a page may show it: `printable` and `redacted`.

    Args:
        text: what others wrote.
        longest: characters that are shown; None for all.
    """
    if longest is not None:
        text = text[: _READ * longest]
    # A line break may stand before a key or within it, so the text is searched with and without.
    shown = redacted(printable(redacted(text)))
    return shown if longest is None or len(shown) <= longest else f"{shown[: longest - 1]}…"


def _escaped(found: re.Match[str]) -> str:
    letter = found[0]
    # Blanks of other widths are no danger, and are in numbers with their unit.
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode()


def _hidden(found: re.Match[str]) -> str:
    kept = found["mark"] or found["name"] or found["bearer"] or ""
    return f"{kept}{HIDDEN}"
