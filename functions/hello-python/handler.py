"""Greets whoever's name is in the body.

The function to copy when you write your first own one. `event.body` is bytes, because a caller may send anything; text has
to be decoded, and a caller's mistake is answered with status 400 and a sentence that says what is wrong. An empty body is
no mistake here: then the world is greeted. The name of the machine in the answer shows which Pi has done the work.
"""


def handle(event, context):
    try:
        name = event.body.decode("utf-8").strip()
    except UnicodeDecodeError:
        return answer(400, "The name is not UTF-8 text.")
    if len(name) > 200:
        return answer(400, "The name is longer than 200 characters.")
    return answer(200, f"Hello, {name or 'world'}! This is {context.hostname}.")


def answer(status: int, line: str) -> dict:
    return {"statusCode": status, "body": line + "\n", "headers": {"Content-Type": "text/plain; charset=utf-8"}}
