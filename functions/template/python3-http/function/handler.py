import json


def handle(event, context):
    """Called with each request; what it returns is the answer."""
    sent = json.loads(event.body or b"{}")
    data = sent.get("data", sent)  # a mapping sends a CloudEvent unless it says `payload: data`
    print("called with", data, flush=True)
    return {"statusCode": 200, "body": {"seen": data}}
