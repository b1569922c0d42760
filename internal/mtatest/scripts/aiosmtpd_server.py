"""An aiosmtpd server that keeps what it accepts and tells it on request.

Options: port, mode (smtp, starttls, smtps), cert, key, user, password, and in extra parameters of
aiosmtpd's SMTP class.
"""

import base64
import json
import ssl

from jsonlines import OPTIONS, path_of, serve

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

MESSAGES = []


class Keeper:
    """Keeps each message with its envelope, in the order of acceptance."""

    async def handle_DATA(self, server, session, envelope):
        record = {
            'helo': session.host_name,
            'tls': server.transport.get_extra_info('cipher'),
            'login': session.auth_data,
            'mail_options': envelope.mail_options,
            'rcpt_options': envelope.rcpt_options,
            'smtputf8': envelope.smtp_utf8,
        }
        MESSAGES.append({
            'From': path_of(envelope.mail_from),
            'To': list(envelope.rcpt_tos),
            'Content': base64.b64encode(envelope.original_content).decode('ascii'),
            'Record': json.dumps(record),
        })
        return '250 2.0.0 kept'


def authenticate(server, session, envelope, mechanism, data):
    right = (data.login == OPTIONS['user'].encode()
             and data.password == OPTIONS['password'].encode())
    # Not handled: the reply is aiosmtpd's. auth_data goes to the session and so to the record: the
    # name, never the password.
    return AuthResult(success=right, handled=False, auth_data=OPTIONS['user'])


def parameters():
    settings = dict(OPTIONS['extra'])
    if OPTIONS['user']:
        settings.update(
            authenticator=authenticate, auth_required=True,
            # It looks for STARTTLS only, so implicit TLS would not count.
            auth_require_tls=OPTIONS['mode'] == 'starttls')
    if OPTIONS['mode'] != 'smtp':
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(OPTIONS['cert'], OPTIONS['key'])
        if OPTIONS['mode'] == 'smtps':
            settings['ssl_context'] = tls
        else:
            settings.update(tls_context=tls, require_starttls=True)
    return settings


controller = Controller(
    Keeper(), hostname='127.0.0.1', port=int(OPTIONS['port']),
    server_hostname='aiosmtpd.test', **parameters())
controller.start()

OPERATIONS = {'messages': lambda request: {'messages': list(MESSAGES)}}
serve(lambda request: OPERATIONS[request['op']](request))
