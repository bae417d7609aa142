"""Dates, times and numbers as in English: what is a log's is not translated, and forms keep the seconds."""

from gateway_project.formats.en.formats import DATE_FORMAT as DATE_FORMAT
from gateway_project.formats.en.formats import DATETIME_FORMAT as DATETIME_FORMAT
from gateway_project.formats.en.formats import SHORT_DATE_FORMAT as SHORT_DATE_FORMAT
from gateway_project.formats.en.formats import SHORT_DATETIME_FORMAT as SHORT_DATETIME_FORMAT
from gateway_project.formats.en.formats import TIME_FORMAT as TIME_FORMAT

# What forms show is the first; Django's own for Chinese shows slashes, and times without seconds.
DATE_INPUT_FORMATS = ["%Y-%m-%d", "%Y/%m/%d", "%Y年%m月%d日"]
TIME_INPUT_FORMATS = ["%H:%M:%S", "%H:%M", "%H:%M:%S.%f"]
DATETIME_INPUT_FORMATS = [
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S.%f", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M",
]  # fmt: skip
THOUSAND_SEPARATOR, NUMBER_GROUPING = ",", 3
