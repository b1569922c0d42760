// Package config reads a mailman.cfg, the configuration of GNU Mailman 3, and
// makes a [postrider.Config] of it. A file that Mailman reads works unchanged;
// what Postrider adds stands in a section of its own, which Mailman ignores:
//
//	[mta]
//	smtp_host: mail.example.com
//	smtp_port: 587
//	smtp_secure_mode: starttls
//	smtp_user: lists
//
//	[devmode]
//	enabled: yes
//	recipient: anne@example.com
//
//	[postrider]
//	smtp_pass_file: smtp.password
//
// # Layers
//
// A value is taken from the highest layer that has it: defaults, a file that
// the file extends ([meta] extends), the file, the environment, the caller's
// overrides (flags), and the overlays that [Config.Push] lays on top while the
// program runs. Pushed last means heard first: what a program pushes to be safe
// is not undone by its environment. [Config.Pop] takes an overlay off again.
//
// The Redirect of [Config.MTA] reads the layers as they are at that moment, so
// that a pushed [devmode] reaches connections that exist already.
//
// # Keys
//
// [mta], which hold Mailman's defaults:
//
//	smtp_host                     localhost; also unix:/path, and of a pool
//	                              srv:domain
//	smtp_port                     25; 0 is 25, or 465 with smtps
//	smtp_user, smtp_pass          empty; both or no authentication
//	smtp_secure_mode              smtp; smtp, smtps or starttls
//	smtp_verify_cert              yes
//	smtp_verify_hostname          yes; without effect unless smtp_verify_cert
//	max_sessions_per_connection   0; transactions per connection, 0 is no limit
//	max_recipients                500; per transaction, 0 is no limit (10 in
//	                              Mailman since 3.3.9)
//	delivery_retry_period         5d
//	verp_format, verp_regexp      how an envelope sender names its recipient
//	verp_delimiter                +
//	verp_personalized_deliveries  no
//	verp_delivery_interval        0; 1 is always, n every n-th post
//
// [devmode]:
//
//	enabled                       no; every recipient is replaced
//	recipient                     empty; the address that gets it all
//
// The section postrider, which is ours:
//
//	server_name                   empty; the name in the server's certificate,
//	                              where that is not smtp_host
//	pins                          empty; SHA-256 of the server's certificate or key, divided by blanks
//	client_cert                   empty; our own certificate (PEM), for a server that asks
//	client_key                    empty; its key, where that is in another file
//	ca_file                       empty; certificate authorities (PEM) to trust
//	                              instead of the system's
//	auth_mechanisms               empty; in order of preference, such as
//	                              "PLAIN LOGIN"
//	allow_plaintext_auth          no; credentials without TLS to a server that
//	                              is not local
//	local_name                    empty; what EHLO says
//	smtp_pass_file                empty; the password is this file's first line
//	smtp_pass_command             empty; the password is the first line that
//	                              this shell command prints within 30 seconds;
//	                              an OAuth token's is run again when the server
//	                              has refused the token
//	timeout_connect, timeout_greeting, timeout_hello, timeout_tls, timeout_auth,
//	timeout_mail, timeout_rcpt, timeout_data, timeout_block, timeout_final,
//	timeout_quit                  empty; see [postrider.Timeouts]
//	idle_timeout                  empty; 0s is no limit
//	max_age                       0s; 0s is no limit
//	window, window_octets         0; transactions, and octets of content, that
//	                              may be underway unanswered; 0 is the default,
//	                              a window of 1 the classic dialogue
//	probe_after                   0s; see [postrider.Config]; 0s is the default
//	auth_retry_after              0s; likewise
//	servers                       empty; servers besides smtp_host, for when
//	                              those before are down, divided by blanks or
//	                              commas: "host", "host:port", "unix:/path",
//	                              "srv:domain"; see [Config.Pool]
//	connections                   0; how many may be open, of a pool; 0 is the
//	                              default
//	rate                          0; messages a second, of a pool; 0 is no limit
//
// An empty value there leaves the choice to package postrider. A
// relative file name is looked for beside the file that says it. Sections that
// only Mailman needs are kept without judgement. Booleans, numbers and times
// are written as Mailman writes them: yes, 25, 1d12h ([Config.Duration]).
//
// # Environment
//
// POSTRIDER_, the section, an underscore and the key, in capitals, set a value
// for any key above: POSTRIDER_MTA_SMTP_HOST, POSTRIDER_DEVMODE_ENABLED. The
// section postrider is left out: POSTRIDER_SERVER_NAME. A dot becomes an
// underscore: POSTRIDER_LOGGING_SMTP_EVERY.
//
// # Mistakes
//
// A file that cannot be read line by line is an error, and so is a value that
// does not convert, when it is asked for. Unknown sections, keys and POSTRIDER_
// variables, and values that will not convert, are [Config.Warnings]: each with
// its file, line and the nearest name that is known. No error, log or format
// verb shows a password.
package config
