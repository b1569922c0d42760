"""What the scripts of mtatest share: JSON lines in and out, and SMTP's replies as JSON.

A script gets its options as one JSON object in its first argument. It prints {"ready": true} when it
is ready, and then answers each JSON line on standard input with one on standard output, until
standard input ends. {"failed": text} is the answer to what it could not do.
"""

import json
import smtplib
import sys

OPTIONS = json.loads(sys.argv[1])


def say(answer):
    print(json.dumps(answer), flush=True)


def serve(answer_to):
    """Answers every request by what answer_to(request) returns."""
    say({'ready': True})
    for line in sys.stdin:
        try:
            answer = answer_to(json.loads(line))
        except Exception as error:
            answer = {'failed': repr(error)}
        say(answer)


def path_of(mail_from):
    """The reverse-path without its brackets, which aiosmtpd leaves on the null path."""
    return '' if mail_from in (None, '<>') else mail_from


def text_of(value):
    return value.decode('utf-8', 'backslashreplace') if isinstance(value, bytes) else str(value)


def replies(refused):
    """smtplib's {recipient: (code, text)}."""
    return {address: {'Code': code, 'Text': text_of(text)}
            for address, (code, text) in refused.items()}


def described(error):
    """An exception of smtplib or of anything below it."""
    answer = {'Type': type(error).__name__, 'Text': str(error)}
    if isinstance(error, smtplib.SMTPResponseException):
        answer.update(Code=error.smtp_code, Text=text_of(error.smtp_error))
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        answer['Recipients'] = replies(error.recipients)
    return answer
