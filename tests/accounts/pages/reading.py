"""Reads our own pages as a person does: tables by their headings, figures by their names, links by their words."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """`tables`: rows of texts by the id of the section's heading; `figures`: values by name; `links`: (text, href)."""

    def __init__(self, response):
        super().__init__()
        self.tables, self.figures, self.links, self.text = {}, {}, [], []
        self._section, self._row, self._cell, self._link, self._term, self._value = "", None, None, None, None, None
        self.feed(response.content.decode())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "section":
            self._section = given.get("aria-labelledby", "")
        elif tag == "tr":
            self._row = []
            self.tables.setdefault(self._section, []).append(self._row)
        elif tag in ("td", "th"):
            self._cell = []
        elif tag == "a" and "href" in given:
            self._link = ([], given["href"])
        elif tag == "dt":
            self._term = []
        if given.get("class") == "value":
            self._value = []

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._row is not None:
            self._row.append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag == "a" and self._link:
            self.links.append(("".join(self._link[0]).strip(), self._link[1]))
            if self._value is not None:
                self.figures["".join(self._term).strip()] = "".join(self._value).strip()
            self._link = self._value = None

    def handle_data(self, data):
        self.text.append(data)
        for open_ in (self._cell, self._link and self._link[0], self._value):
            if open_ is not None:
                open_.append(data)
        if self._term is not None and not "".join(self._term).strip():
            self._term.append(data)

    def body(self, section):
        """The rows of a table below its head."""
        return self.tables.get(section, [])[1:]
