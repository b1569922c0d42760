// Package secure tests TLS and authentication: the three modes, certificates, pins, mechanisms and logins.
package secure
