"""What a pod runs to ask the gateway something, by the standard library alone; prints the answer as JSON.

Arguments: method, path, and a token; without one the pod's own is shown.
"""

import http.client
import json
import os
import ssl
import sys
import urllib.parse


def main(method, path, token=""):
    """Ask once."""
    place = urllib.parse.urlsplit(os.environ["BROCH_DOOR_URL"])
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    with open(os.environ["BROCH_DOOR_TOKEN_FILE"]) as file:  # noqa: PTH123 - as plain as it can be
        token = token or file.read().strip()
    connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=20, context=context)
    connection.request(method, path, headers={"Authorization": "Bearer " + token})
    answer = connection.getresponse()
    sys.stdout.write(json.dumps({"status": answer.status, "body": json.loads(answer.read())}))


main(*sys.argv[1:])
