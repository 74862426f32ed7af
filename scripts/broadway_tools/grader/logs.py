"""The grader's log on stderr: lines for people, or a JSON object per line."""

import json
import logging
import sys
from datetime import datetime, timezone

from broadway_tools.grader.masks import log_masks

FORMATS = ("text", "json")


class JsonFormatter(logging.Formatter):
    """One object per line: time (UTC), level, message, and the traceback if there is one."""

    def format(self, record):
        """The line of a record."""
        time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line = {"time": time.replace("+00:00", "Z"), "level": record.levelname, "message": record.getMessage()}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps({key: log_masks.text(text) for key, text in line.items()})


class TextFormatter(logging.Formatter):
    """A line for people."""

    def format(self, record):
        """The line of a record."""
        return log_masks.text(super().format(record))


def start_log(log_format):
    """From now on, the log goes to stderr in one of FORMATS."""
    handler = logging.StreamHandler(sys.stderr)
    text = TextFormatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(JsonFormatter() if log_format == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
