package main

import "github.com/alecthomas/kong"

// flagHelp has the help texts of flags that are too long for a struct tag, by the names that tags have for them.
var flagHelp = kong.Vars{
	// Of several commands.
	"help_sender": `Set the envelope's sender, who gets the bounces; '<>' for none. Default: user@host, like sendmail.`,

	// How to reach the MTA.
	"help_config": `Read this configuration, in the format of mailman.cfg. Default: $POSTRIDER_CONFIG_FILE, ` +
		`$MAILMAN_CONFIG_FILE, ~/.mailman.cfg, /etc/mailman.cfg, /etc/mailman3/mailman.cfg.`,
	"help_server": `Send to this MTA: a host, unix:/path, or srv:DOMAIN for the servers that the domain publishes. ` +
		`Default port: 25, and 465 with smtps. May be repeated; the next server is used when those before it are down.`,
	"help_client_mode": `Use no TLS (smtp), TLS from the start (smtps), or STARTTLS, and never fall back to no TLS.`,
	"help_password_file": `Read the password from the first line of FILE. ` +
		`There is no flag for the password itself, which everybody on the machine could read.`,
	"help_password_command": `Read the password from the first line that this shell command prints.`,
	"help_auth_mechanisms": `Try these mechanisms, in this order: SCRAM-SHA-256-PLUS, PLAIN and so on. ` +
		`With XOAUTH2 or OAUTHBEARER the password is a token.`,
	"help_allow_plaintext_auth": `Send the password without TLS, even to a server that is not local.`,
	"help_ca_file":              `Trust these certificate authorities (PEM) instead of the system's.`,
	"help_pins":                 `Trust only a server whose certificate or key has one of these SHA-256 fingerprints.`,
	"help_client_cert":          `Present this certificate (PEM) to a server that asks for one.`,
	"help_client_key":           `Read the key of --client-cert from FILE, if it is in a file of its own.`,
	"help_server_name":          `Expect NAME in the server's certificate, instead of HOST.`,
	"help_verify_cert":          `Check the server's certificate (the default).`,
	"help_verify_hostname":      `Check the name in the server's certificate (the default).`,
	"help_max_transactions":     `Send at most N transactions over one TCP connection.`,
	"help_redirect": `Development mode: send to ADDRESS alone, once for each recipient; ` +
		`the recipients themselves get nothing.`,
	"help_set": `Set any other key of the configuration, like postrider.timeout_connect=5s. May be repeated.`,

	// send
	"help_read_recipients": `Take the recipients from the fields To, Cc and Bcc of the message (Resent-To, Resent-Cc ` +
		`and Resent-Bcc if it has any of these), and remove Bcc and Resent-Bcc from what is sent.`,
	"help_notify":   `Ask for delivery status notifications (DSN): never, or some of success,failure,delay.`,
	"help_verbose":  `Show the dialogue with the server on standard error, without passwords and content.`,
	"help_hold_for": `Ask the server to hold the message for TIME before it delivers it (FUTURERELEASE).`,
	"help_deliver_by": `Ask for delivery within TIME, and for a notice if the message is late, or with ",return" ` +
		`for the message itself (DELIVERBY).`,
	"help_priority": `Ask for a priority from -9 to 9, where 9 is the most urgent (MT-PRIORITY).`,
	"help_timeout":  `Give up after this time, like 30s or 5m. Default: never; each step has a limit of its own.`,

	// mail
	"help_recipients": `The file of recipients: an address per line, CSV, or JSON Lines.`,
	"help_format":     `Read the file of recipients in this format. Default: by its name; plain for any other name.`,
	"help_encoding": `Read recipients, --suppress and templates in this encoding if they are not UTF-8: ` +
		`windows-1252, iso-8859-2, shift_jis and so on. Default: refuse what is not UTF-8.`,
	"help_message":     `Send this message, header and body. With templates: its header, and what they do not replace.`,
	"help_field":       `Set a header field, made for each recipient. May be repeated.`,
	"help_suppress":    `Skip recipients listed in FILE: an address or @domain per line.`,
	"help_concurrency": `Send at most N messages at a time: at most this many are unknown after a crash.`,
	"help_retry": `Try deferred recipients again, for TIME: after one minute, two, four, up to half an hour. ` +
		`Default: leave them to the next run.`,
	"help_drain": `After Ctrl-C, wait up to TIME for the messages that are being sent.`,
	"help_journal": `Keep in FILE who has got the message. Default: the file of recipients with .journal after ` +
		`its name.`,
	"help_unknown": `Say what to do with recipients of an earlier run who may or may not have got the message. ` +
		`Default: ask.`,
	"help_dry_run": `Check everything and show the plan and the first messages, but open no connection.`,
	"help_force": `Overwrite FILE, although --journal, --table or --preview cannot tell that postrider wrote it. ` +
		`May be repeated.`,
	"help_plan": `Send in chunks by region of the world (bulk), in chunks by domain (domain), or one message ` +
		`for each recipient (individual). Default: individual if a flag makes the messages different, else bulk.`,
	"help_verp": `Give each recipient's message a sender of its own, like bounces+anne=example.com@example.org.`,
	"help_unsubscribe": `Set a URI of the field List-Unsubscribe, https or mailto, made for each recipient. May ` +
		`be repeated.`,
	"help_one_click": `Promise that a POST to the first https URI of --unsubscribe is enough (RFC 8058).`,

	// check
	"help_check_server": `Examine this MTA, like --server. Without a port, 465, 587 and 25 are tried too.`,
	"help_check_sender": `Try this envelope sender; '<>' for none. Default with --to: user@host.`,
	"help_idle": `In the end, wait this long, like 6m, for the server to close the connection, and report when ` +
		`it did.`,

	"help_patience": `Wait at most this long for each answer.`,

	// sink
	"help_listen": `Listen at this address: [HOST]:PORT or unix:/path. Without HOST only this machine can connect; ` +
		`port 0 picks a free one. Default: 127.0.0.1:2525.`,
	"help_sink_mode": `Use no TLS (smtp), TLS from the start (smtps), or STARTTLS. Default: smtp.`,
	"help_fault":     `Let something go wrong; see above. May be repeated.`,
	"help_ca_out": `Write the certificate authority to FILE (PEM), for the client's --ca-file. ` +
		`A new one is made each time; the certificate is for localhost, 127.0.0.1, ::1 and example.com.`,
	"help_sink_force": `Overwrite FILE, although --ca-out cannot tell that a sink wrote it.`,
	"help_sink_user": `Let NAME log in with the password in the environment's VARIABLE, or, written NAME:file:PATH, ` +
		`in the first line of a file. May be repeated.`,
	"help_save": `Keep every message, octet for octet, as DIR/000001.eml and so on. DIR is made ` +
		`if it does not exist; no file in it is overwritten.`,

	// demo
	"help_demo_mode":             `Use no TLS (smtp), TLS from the start (smtps), or STARTTLS. Default: starttls.`,
	"help_demo_max_transactions": `Change to a new TCP connection after N transactions; 0 is never. Default: 2.`,

	// bench
	"help_duration": `Stop after this time, like 30s or 5m, if not after --messages before.`,
	"help_goroutines": `Let N goroutines call Send, each waiting for its result. Default: stream with SendAll, ` +
		`without waiting.`,
	"help_window": `Let at most N transactions wait for an answer, if the server offers PIPELINING; ` +
		`1 sends one after the other. Default: the library's, 64.`,
	"help_size": `Send messages of this size, header included, like 500, 1k, 10M; ` +
		`several sizes take turns.`,
	"help_bench_sender":     `Set the envelope's sender. Default: '<>', so that nobody gets bounces.`,
	"help_bench_recipients": `Send each message to N recipients.`,
	"help_bench_to": `Send to this recipient; several are numbered, like bench1@example.com. ` +
		`Default: bench@example.com.`,
}
