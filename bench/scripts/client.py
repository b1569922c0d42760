"""A client's process for smtplib and for GNU Mailman's Connection: a job a line in, a tally a line out.

The job and the tally are those of job.go. Argument: smtplib, mailman (the content as octets) or
mailman-message (as a Message object, as Mailman's own delivery gives it), or mailman-verp (Mailman's
individual delivery itself, with a list that is made up, and without decoration).
"""

import json
import os
import resource
import smtplib
import ssl
import sys
import tempfile
import threading
import time

KIND = sys.argv[1]
FROM = 'anne@example.com'
HEADER = (b'From: anne@example.com\r\nTo: recipients@example.com\r\n'
          b'Subject: a message of the benchmark\r\n\r\n')
USER, PASSWORD = 'bench', 'bench-password'

if KIND != 'smtplib':
    import email

    from mailman.config import config
    from mailman.core import initialize

    # Neither the machine's configuration nor its directories are touched.
    config.create_paths = False
    initialize.initialize_1(initialize.INHIBIT_CONFIG_FILE)

    from mailman.email.message import Message
    from mailman.mta.connection import Connection, SecureMode

if KIND == 'mailman-verp':
    from mailman.interfaces.mailinglist import Personalization
    from mailman.mta.deliver import Deliver

    class NoHandler:
        def process(self, mlist, msg, msgdata):
            pass

    config.handlers['decorate'] = config.handlers['arc-sign'] = NoHandler()

    class NoRoster:
        def get_member(self, address):
            return None

    class List:
        """What individual delivery asks of a list. (Personalization would ask the database for names.)"""

        def __getattr__(self, name):
            return ''  # what templates may ask for

        class preferred_language:
            code = 'en'

        fqdn_listname = 'test@example.com'
        bounces_address = FROM
        members = NoRoster()
        personalize = Personalization.none


def recipients(job):
    return ['recipient%03d@example.com' % i for i in range(job['Recipients'])]


def content(job):
    line = b'0123456789' * 7 + b'\r\n'
    text = HEADER + line * (job['Size'] // len(line) + 1)
    return text[:job['Size'] - 2] + b'\r\n'


class Smtplib:
    """One connection of smtplib."""

    def __init__(self, job):
        self.job, self.smtp, self.content = job, None, content(job)

    def connect(self):
        host, _, port = self.job['Address'].rpartition(':')
        self.smtp = smtplib.SMTP(host, int(port), 'bench.example')
        if self.job['Secure']:
            # The name is checked against the certificate, which has this address too.
            self.smtp.starttls(context=ssl.create_default_context(cafile=self.job['CAFile']))
            self.smtp.login(USER, PASSWORD)

    def send(self, to):
        if self.smtp is None:
            self.connect()
        self.smtp.sendmail(FROM, to, self.content)
        if self.job['Secure']:
            self.quit()

    def quit(self):
        if self.smtp is not None:
            self.smtp.quit()
            self.smtp = None


class Mailman:
    """One Connection of Mailman. It keeps no more messages on a wire than it is told."""

    def __init__(self, job):
        host, _, port = job['Address'].rpartition(':')
        account = (USER, PASSWORD) if job['Secure'] else (None, None)
        mode = SecureMode.STARTTLS if job['Secure'] else SecureMode.INSECURE
        self.connection = Connection(
            host, int(port), 1 if job['Secure'] else 0, *account, mode)
        self.content = content(job)

    def send(self, to):
        message = self.content
        if KIND == 'mailman-message':
            message = email.message_from_bytes(message, Message)
        self.connection.sendmail(FROM, to, message)

    def quit(self):
        self.connection.quit()


class MailmanVERP:
    """Mailman's individual delivery: a batch of recipients at a time, over one connection."""

    batch = ['recipient%05d@example.com' % i for i in range(500)]

    def __init__(self, job):
        host, _, port = job['Address'].rpartition(':')
        config.push('job', '[mta]\nsmtp_host: %s\nsmtp_port: %s\nmax_sessions_per_connection: 0\n' % (host, port))
        self.agent = Deliver()
        config.pop('job')
        self.message = email.message_from_bytes(content(job), Message)

    def send(self, to):
        refused = self.agent.deliver(List(), self.message, dict(recipients=set(to), verp=True))
        if refused:
            raise RuntimeError(repr(refused))

    def quit(self):
        self.agent._connection.quit()


KINDS = {'smtplib': Smtplib, 'mailman-verp': MailmanVERP}


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Run:
    """What the connections of one job share."""

    def __init__(self, job):
        self.job, self.sent, self.error = job, 0, None
        self.lock = threading.Lock()

    def more(self, messages):
        with self.lock:
            if self.error or (self.sent and time.monotonic() >= self.end):
                return False
            self.sent += messages
            return True

    def loop(self, client):
        to, messages = recipients(self.job), 1
        if KIND == 'mailman-verp':
            to, messages = client.batch, len(client.batch)
        try:
            while self.more(messages):
                client.send(to)
        except Exception as error:
            self.error = repr(error)

    def perform(self):
        job = self.job
        clients = [KINDS.get(KIND, Mailman)(job) for _ in range(job['Connections'])]
        first = 0
        if not job['Secure']:
            for client in clients:
                client.send(recipients(job)[:1])
                first += 1
        threads = [threading.Thread(target=self.loop, args=(client,)) for client in clients]
        used, start = cpu(), time.monotonic()
        self.end = start + job['Seconds']
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tally = dict(First=first, Messages=self.sent, Seconds=time.monotonic() - start, CPU=cpu() - used)
        for client in clients:
            client.quit()
        return dict(tally, Error=self.error or '')


def perform(job):
    with tempfile.NamedTemporaryFile('w', suffix='.pem') as ca:
        ca.write(job['CA'])
        ca.flush()
        job['CAFile'] = ca.name
        # Connection has no parameter for an authority; Python reads this when a context is made.
        os.environ['SSL_CERT_FILE'] = ca.name
        try:
            return Run(job).perform()
        except Exception as error:
            return dict(Error=repr(error))


print('{}', flush=True)
for request in sys.stdin:
    print(json.dumps(perform(json.loads(request))), flush=True)
