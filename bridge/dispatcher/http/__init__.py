"""A lean HTTP/1.1 client for one gateway: bytes and values in the middle, one pool of connections around them."""
