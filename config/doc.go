// Package config reads a mailman.cfg, the configuration of GNU Mailman 3, and
// makes a [postrider.Config] of it. A file written for Mailman works unchanged;
// Postrider's own settings are in a section that Mailman ignores:
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
// A value is taken from the highest layer that sets it. From the lowest to the
// highest, the layers are the defaults, a file that the file extends ([meta]
// extends), the file, the environment, the caller's overrides (flags), and the
// overlays that [Config.Push] adds while the program runs, the last one on top:
// what a program pushes to be safe is not undone by its environment. [Config.Pop]
// removes an overlay again.
//
// The Redirect of [Config.MTA] reads the current layers at each call, so that a
// pushed [devmode] affects existing connections.
//
// # Keys
//
// In [mta], with Mailman's defaults:
//
//	smtp_host                     localhost; also unix:/path, and for a pool
//	                              srv:domain
//	smtp_port                     25; 0 is 25, or 465 with smtps
//	smtp_user, smtp_pass          empty; both or no authentication
//	smtp_secure_mode              smtp; smtp, smtps or starttls
//	smtp_verify_cert              yes
//	smtp_verify_hostname          yes; ignored if smtp_verify_cert is no
//	max_sessions_per_connection   0; transactions per connection; 0 is no limit
//	max_recipients                500; per transaction; 0 is no limit (10 in
//	                              Mailman since 3.3.9)
//	delivery_retry_period         5d
//	verp_format, verp_regexp      how an envelope sender names its recipient
//	verp_delimiter                +
//	verp_personalized_deliveries  no
//	verp_delivery_interval        0; 1 is every post, n every n-th
//
// In [devmode]:
//
//	enabled                       no; if yes, every recipient is replaced
//	recipient                     empty; the address that receives all mail
//
// In [postrider], Postrider's own section:
//
//	server_name                   empty; the name in the server's certificate,
//	                              if that is not smtp_host
//	pins                          empty; SHA-256 of the server's certificate or
//	                              key, separated by blanks
//	client_cert                   empty; the client's certificate (PEM), for a
//	                              server that asks for one
//	client_key                    empty; its key, if that is in another file
//	ca_file                       empty; certificate authorities (PEM) to trust
//	                              instead of the system's
//	auth_mechanisms               empty; in order of preference, such as
//	                              "PLAIN LOGIN"
//	allow_plaintext_auth          no; credentials without TLS to a server that
//	                              is not local
//	local_name                    empty; the client's name in EHLO
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
//	window, window_octets         0; how many transactions, and octets of
//	                              content, may be unanswered at a time; 0 is the
//	                              default, a window of 1 waits for each answer
//	probe_after                   0s; see [postrider.Config]; 0s is the default
//	auth_retry_after              0s; likewise
//	servers                       empty; servers to use while smtp_host and those
//	                              before are down, separated by blanks or commas: "host", "host:port", "unix:/path",
//	                              "srv:domain"; see [Config.Pool]
//	connections                   0; how many connections a pool may open; 0 is
//	                              the default
//	rate                          0; messages a second for a pool; 0 is no limit
//
// An empty value in [postrider] selects the default of package postrider. A
// relative file name is relative to the directory of the file that contains it.
// Sections that only Mailman needs are kept without checks. Booleans, numbers and
// durations are written as in Mailman: yes, 25, 1d12h ([Config.Duration]).
//
// # Environment
//
// The variable that sets a key is POSTRIDER_, the section, an underscore and the
// key, in capitals: POSTRIDER_MTA_SMTP_HOST, POSTRIDER_DEVMODE_ENABLED. The
// section postrider is left out: POSTRIDER_SERVER_NAME. A dot becomes an
// underscore: POSTRIDER_LOGGING_SMTP_EVERY.
//
// # Mistakes
//
// A file with a syntax error is an error, and so is a value that does not convert,
// when it is needed. Unknown sections, keys and POSTRIDER_ variables, and values
// that will not convert, are [Config.Warnings], each with its file and line, and
// with the nearest known name. No error, log or format verb shows a password.
package config
