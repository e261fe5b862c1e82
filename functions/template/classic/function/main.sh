# The body of the request comes in, the answer goes out; what stands in Http_... is the rest of the request.
echo "called with ${Http_Method} ${Http_Path}" >&2
cat
