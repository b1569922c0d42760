"""Python's smtplib as a client. Options: host, port, mode (smtp, starttls, smtps), ca, user, password."""

import base64
import smtplib
import ssl

from jsonlines import OPTIONS, described, replies, serve, text_of

TIMEOUT = 30


class Client:
    def __init__(self):
        self.smtp = None

    def connect(self):
        address = (OPTIONS['host'], int(OPTIONS['port']))
        if OPTIONS['mode'] == 'smtp':
            return smtplib.SMTP(*address, timeout=TIMEOUT)
        tls = ssl.create_default_context(cafile=OPTIONS['ca'] or None)
        if OPTIONS['mode'] == 'smtps':
            return smtplib.SMTP_SSL(*address, timeout=TIMEOUT, context=tls)
        smtp = smtplib.SMTP(*address, timeout=TIMEOUT)
        smtp.starttls(context=tls)
        return smtp

    def send(self, request):
        if self.smtp is None:
            smtp = self.connect()
            if OPTIONS['user']:
                smtp.login(OPTIONS['user'], OPTIONS['password'])
            self.smtp = smtp
        refused = self.smtp.sendmail(
            request['From'], request['To'], base64.b64decode(request['Content'] or ''),
            request['MailOptions'] or (), request['RcptOptions'] or ())
        return {'Refused': replies(refused)}

    def quit(self, request):
        if self.smtp is not None:
            smtp, self.smtp = self.smtp, None
            smtp.quit()
        return {}

    def command(self, request):
        if self.smtp is None:
            self.smtp = self.connect()
        code, text = self.smtp.docmd(request['Line'])
        return {'Reply': {'Code': code, 'Text': text_of(text)}}

    def answer(self, request):
        operations = {'send': self.send, 'quit': self.quit, 'command': self.command}
        try:
            answer = operations[request['Op']](request)
        except (OSError, ValueError) as error:   # SMTPException is an OSError
            answer = {'Err': described(error)}
        if self.smtp is not None and self.smtp.sock is None:
            self.smtp = None
        answer['Open'] = self.smtp is not None
        return answer


serve(Client().answer)
