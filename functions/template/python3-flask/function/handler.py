def handle(req):
    """Called with the body of each request as text; what it returns is the answer."""
    print("called with", req, flush=True)
    return req
