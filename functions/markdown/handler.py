"""Turns Markdown into HTML.

An example of a function with a library: what is in `requirements.txt` beside this file is installed into its image. The
library is set up once, when the file is imported, not for each request. Callers are not trusted: HTML within the Markdown
is escaped instead of passed on, and links to `javascript:` and the like are not made into links. `curl --data-binary
@README.md` sends a file with its line breaks (`-d` would remove them).
"""

from markdown_it import MarkdownIt

markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def handle(event, context):
    try:
        text = event.body.decode("utf-8")
    except UnicodeDecodeError:
        return {
            "statusCode": 400,
            "body": "The body is not UTF-8 text.\n",
            "headers": {"Content-Type": "text/plain; charset=utf-8"},
        }
    return {
        "statusCode": 200,
        "body": markdown.render(text),
        "headers": {"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff"},
    }
