"""GNU Mailman's own test MTA, with what it accepted byte for byte.

Options: port, mode (smtp, starttls, smtps), cert, key, ca.
"""

import base64
import queue
import ssl

from jsonlines import OPTIONS, path_of, serve

from mailman.testing import mta

CONTROLLERS = {
    'smtp': mta.ConnectionCountingController,
    'starttls': mta.ConnectionCountingSTARTTLSController,
    'smtps': mta.ConnectionCountingSSLController,
}


def start():
    contexts = {}
    if OPTIONS['mode'] != 'smtp':
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        server.load_cert_chain(OPTIONS['cert'], OPTIONS['key'])
        # The controller is a client of its own server when it counts and resets.
        contexts = {
            'server_context': server,
            'client_context': ssl.create_default_context(cafile=OPTIONS['ca']),
        }
    controller = CONTROLLERS[OPTIONS['mode']](
        '127.0.0.1', int(OPTIONS['port']), **contexts)
    controller.start()
    return controller


def record_into(messages, handler):
    """Has the handler note each message as it came, before Mailman parses it."""
    prepare = handler.prepare_message

    def prepare_and_record(session, envelope):
        message = prepare(session, envelope)
        messages.append({
            'From': path_of(envelope.mail_from),
            'To': list(envelope.rcpt_tos),
            'Content': base64.b64encode(envelope.content).decode('ascii'),
            'Record': message.as_bytes().decode('utf-8', 'backslashreplace'),
        })
        return message

    handler.prepare_message = prepare_and_record


MESSAGES = []
CONTROLLER = start()
record_into(MESSAGES, CONTROLLER.handler)


def credentials(request):
    # The public method waits ten seconds for somebody to log in.
    try:
        return {'credentials': CONTROLLER._oob_queue.get_nowait()}
    except queue.Empty:
        return {'credentials': ''}


OPERATIONS = {
    'messages': lambda request: {'messages': list(MESSAGES)},
    'count': lambda request: {'count': CONTROLLER.get_connection_count()},
    'credentials': credentials,
    'reset': lambda request: CONTROLLER.reset(),
    'error': lambda request: CONTROLLER.err_queue.put(
        (request['command'], request['code'])),
}

serve(lambda request: OPERATIONS[request['op']](request) or {})
