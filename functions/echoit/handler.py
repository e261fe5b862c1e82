"""Answers with what it was sent.

The shortest useful function: a function is a file `handler.py` with a `handle` in it. The server calls `handle` for each
request and gives it two things: the `event`, which is the request (`event.body` as bytes, `event.headers`, `event.method`,
`event.path`, `event.query`), and the `context`, which says where it runs. What `handle` returns is the answer: a dict with a
status code, a body and headers, all three of them optional. Use this one to see what really arrives at a function.
"""


def handle(event, context):
    content_type = event.headers.get("content-type", "text/plain; charset=utf-8")
    return {"statusCode": 200, "body": event.body, "headers": {"Content-Type": content_type}}
