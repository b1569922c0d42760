package sasl

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// mostSteps is how many answers a server may ask for: more than any mechanism has.
const mostSteps = 6

// The longest lines of AUTH, CRLF included (RFC 4954 §4): the command has the limit of all commands (RFC 5321
// §4.5.3.1.4); what answers a challenge may be as long as servers are known to take.
const (
	maxCommand  = 512
	maxResponse = 12288
)

// ErrTooLong is behind the error of a response that no server need take.
var ErrTooLong = errors.New("the password or token is too long")

// Converse is the client's side of AUTH (RFC 4954 §4). say hands a line over, without its CRLF, and returns the code
// and the text of the reply; shown is the line as others may see it. An initial response that makes the command too
// long waits for the server to ask for it. What cannot be answered is taken back with "*", and a server that asks on
// and on is cut off.
//
// A refusal is not an error: the last reply shows it. The error is that of say or of x.
func Converse(x Exchange, mechanism string, say func(line, shown string) (code int, text string, err error)) error {
	line, shown, err := begin(x, mechanism)
	if err != nil {
		return err
	}
	for range mostSteps {
		code, text, err := say(line, shown)
		switch {
		case err != nil:
			return err
		case code != 334:
			return x.Verdict(code == 235)
		}
		response, err := respond(x, text)
		if err != nil {
			_, _, _ = say("*", "*")
			return err
		}
		line, shown = response, "********"
	}
	_, _, _ = say("*", "*")
	return errors.New("the server asks for more and more")
}

// begin is the AUTH command. A response that no server need take is found here, before anything is said.
func begin(x Exchange, mechanism string) (line, shown string, err error) {
	line, shown = "AUTH "+mechanism, "AUTH "+mechanism
	initial, has, err := x.Start()
	if err != nil || !has {
		return line, shown, err
	}
	response, err := encode(initial)
	switch {
	case err != nil:
		return "", "", err
	case response == "":
		return line + " =", shown + " =", nil // there is one, and it is empty
	case len(line)+len(" "+response+"\r\n") > maxCommand:
		return line, shown, nil
	}
	return line + " " + response, shown + " ********", nil
}

// respond answers the challenge in the text of a 334.
func respond(x Exchange, text string) (string, error) {
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return "", errors.New("the server's challenge is not base64")
	}
	response, err := x.Next(challenge)
	if err != nil {
		return "", err
	}
	return encode(response)
}

// encode makes a line of a response.
func encode(response []byte) (string, error) {
	line := base64.StdEncoding.EncodeToString(response)
	if n := len(line + "\r\n"); n > maxResponse {
		return "", fmt.Errorf("%w: its line would have %d octets, and servers take %d (RFC 4954 §4)",
			ErrTooLong, n, maxResponse)
	}
	return line, nil
}
