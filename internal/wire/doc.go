// Package wire is SMTP as bytes: replies read, commands and content written,
// addresses and parameters checked. It knows no network, no clock and no log, and
// it bounds what it reads.
package wire
