package wire

// What a reply says, beside the first digit of its code (RFC 5321 §4.2.1).

// Positive reports a 2yz reply.
func (r Reply) Positive() bool { return r.Code/100 == 2 }

// Negative reports a 4yz or 5yz reply.
func (r Reply) Negative() bool { return r.Code >= 400 }

// DecidesNobody reports the replies that say something about the session, the server
// or the credentials, and nothing about the recipient or message at hand: closing
// down, commands in the wrong order, idle for too long, authentication or encryption
// wanted.
func (r Reply) DecidesNobody() bool {
	switch r.Code {
	case 421, 503, 530, 535, 538:
		return true
	case 451:
		return r.Enhanced() == [3]int{4, 4, 2}
	}
	return false
}

// EndsWire reports the replies after which a server closes.
func (r Reply) EndsWire() bool { return r.Code == 421 || r.Code == 451 && r.DecidesNobody() }

// TooManyRecipients reports that a RCPT was refused for its number only, so that
// it belongs into a next transaction. 552 meant that in RFC 821, and RFC 5321
// §4.5.3.1.10 has clients take it so; with an enhanced code other than x.5.3 it
// means a full mailbox.
func (r Reply) TooManyRecipients() bool {
	e := r.Enhanced()
	unsaid := e == [3]int{} || e[1] == 5 && e[2] == 3
	return (r.Code == 452 || r.Code == 552) && unsaid
}

// WireUsedUp reports the refusal of MAIL by which a server says that this connection
// has carried enough (OpenSMTPD after 100 transactions).
func (r Reply) WireUsedUp() bool { return r.Code == 452 && r.Enhanced() == [3]int{4, 5, 3} }

// NotUnderstood reports a reply about a command's form or place, which says
// nothing about the message (RFC 5321 §4.2.2).
func (r Reply) NotUnderstood() bool { return 500 <= r.Code && r.Code <= 504 }
