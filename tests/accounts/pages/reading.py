"""Reads our own pages as a person does: tables by their headings, figures by their names, links by their words."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """`tables`: rows of texts by the id of the section's heading; `hrefs`: the links of their cells; `figures`: values
    by name, with `parts` around them; `links`: (text, href). Of pictures `bars` and `lines`.
    """

    def __init__(self, response):
        super().__init__()
        self.tables, self.hrefs, self.figures, self.links, self.text = {}, {}, {}, [], []
        self.parts = {}
        """By the name of a figure: what else stands there, as {class: (text, href)}."""
        self.bars, self.lines, self.shares = [], {}, {}
        """(href or "", title, {class: height}) of each bar; points by class; the bars in tables, by section."""
        self._section, self._row, self._cell, self._link, self._term = "", None, None, None, None
        self._part = self._title = self._group = None
        self.feed(response.content.decode())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "section":
            self._section = given.get("aria-labelledby", "")
        elif tag == "tr":
            self._row = []
            self.tables.setdefault(self._section, []).append(self._row)
            self.hrefs.setdefault(self._section, []).append([])
        elif tag in ("td", "th") and self._row is not None:
            self._cell = []
            self.hrefs[self._section][-1].append("")
        elif tag == "a" and "href" in given:
            self._link = ([], given["href"])
            if self._cell is not None:
                self.hrefs[self._section][-1][-1] = given["href"]
        elif tag == "dt":
            self._term = []
        elif tag == "g":
            self._group = ([], "")
        elif tag in ("title", "rect", "polyline"):
            self._draw(tag, given)
        name = given.get("class", "").partition(" ")[0]
        if tag in ("a", "span") and name in ("value", "change", "small") and self._term is not None:
            self._part = (name, [], given.get("href", ""))

    def _draw(self, tag, given):
        name = given.get("class", "")
        if tag == "title" and (self._link or self._group):
            self._title = []
        elif tag == "polyline":
            self.lines.setdefault(name, []).append(given["points"])
        elif name.startswith("bar-"):
            self.bars[-1][2][name] = given["height"]
        elif tag == "rect" and not name and self._cell is not None:
            self.shares.setdefault(self._section, []).append(given["width"])

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._row is not None:
            self._row.append(" ".join("".join(self._cell).split()))
            self._cell = None
        elif tag == "title" and self._title is not None:
            self.bars.append(((self._link or self._group)[1], "".join(self._title), {}))
            self._title = None
        if tag in ("a", "span") and self._part:
            name, texts, href = self._part
            figure, told = "".join(self._term).strip(), "".join(texts).strip()
            self.parts.setdefault(figure, {})[name] = (told, href)
            if name == "value":
                self.figures[figure] = told
            self._part = None
        if tag == "g":
            self._group = None
        if tag == "a" and self._link:
            self.links.append(("".join(self._link[0]).strip(), self._link[1]))
            self._link = None

    def handle_data(self, data):
        self.text.append(data)
        for open_ in (self._cell, self._link and self._link[0], self._part and self._part[1], self._title):
            if open_ is not None:
                open_.append(data)
        if self._term is not None and not "".join(self._term).strip():
            self._term.append(data)

    def body(self, section):
        """The rows of a table below its head."""
        return self.tables.get(section, [])[1:]
