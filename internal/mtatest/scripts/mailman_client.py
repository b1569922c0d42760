"""GNU Mailman's own Connection as a client.

Options: host, port, mode (the words of smtp_secure_mode), ca, user, password, max_sessions,
verify_cert, verify_hostname.
"""

import base64
import email
import os
import socket

from jsonlines import OPTIONS, described, replies, serve

if OPTIONS['ca']:
    # Connection has no parameter for an authority; Python reads this when a context is made.
    os.environ['SSL_CERT_FILE'] = OPTIONS['ca']
# Mailman waits for ever; a test must not.
socket.setdefaulttimeout(30)

from mailman.config import config                                # noqa: E402
from mailman.core import initialize                              # noqa: E402

# Neither the machine's configuration nor its directories are touched.
config.create_paths = False
initialize.initialize_1(initialize.INHIBIT_CONFIG_FILE)

from mailman.email.message import Message                        # noqa: E402
from mailman.mta.connection import Connection, as_SecureMode     # noqa: E402

CONNECTION = Connection(
    OPTIONS['host'], int(OPTIONS['port']), OPTIONS['max_sessions'],
    OPTIONS['user'] or None, OPTIONS['password'] or None,
    as_SecureMode(OPTIONS['mode']),
    OPTIONS['verify_cert'], OPTIONS['verify_hostname'])


def content_of(request):
    content = base64.b64decode(request['Content'] or '')
    if request['As'] == 'str':
        return content.decode('utf-8')
    if request['As'] == 'message':
        return email.message_from_bytes(content, Message)
    return content


def send(request):
    refused = CONNECTION.sendmail(request['From'], request['To'], content_of(request))
    return {'Refused': replies(refused)}


OPERATIONS = {
    'send': send,
    'quit': lambda request: CONNECTION.quit(),
    'push': lambda request: config.push(request['Name'], request['Text']),
    'pop': lambda request: config.pop(request['Name']),
}


def answer(request):
    operation = OPERATIONS[request['Op']]
    try:
        result = operation(request) or {}
    except Exception as error:
        result = {'Err': described(error)}
    return dict(
        result, Open=CONNECTION._connection is not None,
        SessionsLeft=CONNECTION._session_count or 0)


serve(answer)
