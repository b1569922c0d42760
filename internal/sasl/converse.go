package sasl

import (
	"encoding/base64"
	"errors"
	"strings"
)

// mostSteps is how many answers a server may ask for: more than any mechanism has.
const mostSteps = 6

// Converse is the client's side of AUTH (RFC 4954 §4). say hands a line over, without its CRLF, and gives the code and
// the text of the reply; shown is the line as others may see it. What cannot be answered is taken back with "*", and a
// server that asks on and on is cut off.
//
// That the server refuses is no error by itself: its last reply says so. The error is that of say, or what x thinks.
func Converse(x Exchange, mechanism string, say func(line, shown string) (code int, text string, err error)) error {
	line, shown := "AUTH "+mechanism, "AUTH "+mechanism
	initial, has, err := x.Start()
	switch {
	case err != nil:
		return err
	case has && len(initial) == 0:
		line, shown = line+" =", shown+" =" // there is one, and it is empty
	case has:
		line, shown = line+" "+base64.StdEncoding.EncodeToString(initial), shown+" ********"
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
		line, shown = base64.StdEncoding.EncodeToString(response), "********"
	}
	_, _, _ = say("*", "*")
	return errors.New("the server asks for more and more")
}

// respond answers the challenge in the text of a 334.
func respond(x Exchange, text string) ([]byte, error) {
	challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the server's challenge is not base64")
	}
	return x.Next(challenge)
}
