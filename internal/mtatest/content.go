//go:build linux

package mtatest

import "bytes"

// wireForm turns a message as a queue file has it, lines ended by LF and the server's own Received
// field first, into what the client sent.
func wireForm(queued []byte) []byte {
	return bytes.ReplaceAll(cutReceived(queued), []byte("\n"), []byte("\r\n"))
}

// cutReceived cuts the first header field, with its folded lines (RFC 5322 §2.2.3), if it is Received.
func cutReceived(content []byte) []byte {
	if !bytes.HasPrefix(content, []byte("Received:")) {
		return content
	}
	for rest := content; ; {
		_, after, found := bytes.Cut(rest, []byte("\n"))
		if !found || len(after) == 0 || after[0] != ' ' && after[0] != '\t' {
			return after
		}
		rest = after
	}
}
