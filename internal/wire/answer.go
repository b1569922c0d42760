package wire

// Command is what a reply is an answer to.
type Command int

// The commands of a conversation, and what else is answered.
const (
	Greeting Command = iota // nothing was said: the server begins (RFC 5321 §3.1)
	Hello                   // EHLO or HELO
	StartTLS
	Auth // AUTH, and each response to a challenge
	Mail
	Rcpt
	Data
	Content // the line with the dot, or BDAT … LAST with its octets
	Reset
	Quit
)

// success has the one code by which a command succeeds, where RFC 5321 §4.3.2, RFC
// 3207 §4 or RFC 4954 §4 leaves it no other.
var success = map[Command]int{Greeting: 220, Hello: 250, StartTLS: 220, Auth: 235, Reset: 250}

// goAhead has the one 3yz that a command can be answered with.
var goAhead = map[Command]int{Data: 354, Auth: 334}

// CanAnswer reports whether a server that is in step can have said code in answer to
// the command. What cannot be an answer belongs to another command, or to none: then
// replies and commands are out of step, and no reply on the connection proves anything
// any longer. Codes that the standard does not know are judged by their first digit
// (RFC 5321 §4.2).
func (c Command) CanAnswer(code int) bool {
	switch code / 100 {
	case 2:
		return c.canSucceed(code)
	case 3:
		return goAhead[c] == code
	}
	return true // every command can be refused
}

func (c Command) canSucceed(code int) bool {
	if only, one := success[c]; one {
		return code == only
	}
	switch code {
	case 211, 214, 220, 221, 235: // of HELP, the greeting and STARTTLS, QUIT, AUTH
		return c == Quit
	case 251, 252: // forwarding, and no promise but an attempt, are said of a recipient
		return c == Rcpt || c == Quit
	}
	return c != Data // whose success is 354
}
