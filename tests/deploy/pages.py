"""The pages of deploy/, read as text: their blocks, their commands, their links, what they call panels and alerts.

Used by test_pages.py and test_runbook.py. It reads files and never runs what it finds.
"""

import re
import shlex

from stage import DEPLOY

PAGES = sorted(DEPLOY.rglob("*.md"))
RUNBOOK = DEPLOY / "runbook.md"

FENCE = re.compile(r"^ *```(\w*)\n(.*?)\n *```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ITALIC = re.compile(r"(?<![*\w])\*([^*]+)\*(?!\*)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
# Where a command begins: a line, what joins two, or what runs one elsewhere; there by its whole path.
BEGIN = re.compile(r"(?:^|[;&|(]|\$\()\s*(?:\w+=\S* +)*crossfade (?=[a-z-])|/usr/local/bin/crossfade (?=[a-z-])")
# What ends one, outside quotes.
END = {";", "&", "&&", "|", ")", ">", "done"}


def blocks(text, language):
    """What stands in fenced blocks of a language, without their indentation."""
    for found, block in FENCE.findall(text):
        if found == language:
            deep = min(len(line) - len(line.lstrip()) for line in block.splitlines() if line.strip())
            yield "\n".join(line[deep:] for line in block.splitlines())


def prose(text):
    """The page without its fenced blocks."""
    return FENCE.sub("", text)


def words(command):
    """The words of one command of ours, up to what ends it."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=";&|()>")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    found = []
    for word in lexer:
        if word in END:
            break
        found.append(word)
    return found


def of_line(line):
    """Each command of ours on a line of shell."""
    for begin in BEGIN.finditer(line):
        rest = line[begin.end():]
        # Within the quotes of what runs it elsewhere it ends where they do.
        quoted = line[: begin.start()].count('"') % 2
        yield words(rest.split('"')[0] if quoted else rest)


def commands(text):
    """Each command of ours on a page, in blocks and within sentences, in the page's order."""
    places = []
    for found in FENCE.finditer(text):
        if found[1] == "sh":
            block = found[2].replace("\\\n", " ")
            places += [(found.start(), one) for line in block.splitlines() for one in of_line(line.strip())]
    # Blanked, not taken out: places stay what they are.
    plain = FENCE.sub(lambda found: " " * len(found[0]), text)
    for found in CODE.finditer(plain):
        places += [(found.start(), one) for one in of_line(" ".join(found[1].split()))]
    return [command for _, command in sorted(places, key=lambda place: place[0])]


def headings(text):
    return [heading for heading in HEADING.findall(FENCE.sub("", text))]


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def section(text, heading):
    """What stands under a heading, up to the next one of its level or above."""
    begin = re.search(rf"^(#+) +{re.escape(heading)}$", text, re.MULTILINE)
    assert begin, f"no heading {heading!r}"
    rest = text[begin.end():]
    end = re.search(rf"^#{{1,{len(begin[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def panels(text):
    """What is in italics: titles of panels and dashboards."""
    plain = CODE.sub("", prose(text).replace("**", ""))
    return {" ".join(title.split()) for title in ITALIC.findall(plain)}
